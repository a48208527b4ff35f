"""Liveness check of a connection: a client is stuck if it receives no byte. A few bytes are enough."""

from collections.abc import Sequence
from typing import cast

import pytest

from synckairos.principal import Principal
from synckairos.realtime.connection import DialectCloseCodes, SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.timings import DEFAULT_TIMINGS
from synckairos.realtime.watcher_interface import Subscription

TOO_SLOW = 4001
STUCK_AFTER_S = DEFAULT_TIMINGS.stuck_after_s


class PlainConnection(SocketConnection):
    """A connection without a dialect."""

    codes = DialectCloseCodes(
        going_away=4000, too_slow=TOO_SLOW, silent=4002, too_many_messages=1008, credential_ends={}
    )


class FullSocket:
    """A socket that is not ready and has `left` unsent bytes."""

    ready = False
    last_received_s = 0.0

    def __init__(self, left: int) -> None:
        self.left = left
        self.closed_with: int | None = None

    def write(self, frame: bytes, /) -> None:
        self.ready = False

    def unsent_bytes(self) -> int:
        return self.left

    def close(self, code: int, reason: str, last_frames: Sequence[bytes] = ()) -> None:
        self.closed_with = code

    def abort(self) -> None: ...

    def pause_reading(self, seconds: float) -> None: ...


class EmptyHub:
    """A hub without subscriptions."""

    timings = DEFAULT_TIMINGS

    def unsubscribe(self, subscriptions: list[Subscription]) -> None:
        assert not subscriptions


@pytest.fixture
def socket() -> FullSocket:
    return FullSocket(1_000)


@pytest.fixture
def connection(socket: FullSocket) -> SocketConnection:
    return PlainConnection(cast(Hub, EmptyHub()), socket, Principal.anonymous_admin())


def test_client_that_takes_no_byte_is_closed_after_stuck_after_s(
    connection: SocketConnection, socket: FullSocket
) -> None:
    connection.check_liveness(1.0)
    connection.check_liveness(1.0 + STUCK_AFTER_S)
    assert socket.closed_with is None
    connection.check_liveness(1.1 + STUCK_AFTER_S)
    assert socket.closed_with == TOO_SLOW


def test_client_that_takes_a_byte_gets_the_full_time_again(connection: SocketConnection, socket: FullSocket) -> None:
    connection.check_liveness(1.0)
    socket.left -= 1
    connection.check_liveness(1.0 + STUCK_AFTER_S)
    connection.check_liveness(1.0 + 2 * STUCK_AFTER_S)
    assert socket.closed_with is None
    connection.check_liveness(1.1 + 2 * STUCK_AFTER_S)
    assert socket.closed_with == TOO_SLOW


def test_client_that_takes_a_frame_is_not_stuck_although_as_much_is_unsent(
    connection: SocketConnection, socket: FullSocket
) -> None:
    for at in range(1, 200, 5):
        connection.send_or_queue(b"one more")
        connection.check_liveness(float(at))
        socket.ready = True
        connection.write_resumed()
        assert not socket.ready
    assert socket.closed_with is None
