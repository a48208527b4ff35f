"""Whom the regular check takes for stuck: who takes nothing, not who takes little at a time."""

from collections.abc import Sequence
from typing import cast

import pytest

from synckairos.principal import Principal
from synckairos.realtime.connection import STUCK_AFTER_S, DialectCloseCodes, SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.watcher import Subscription

TOO_SLOW = 4001


class Watching(SocketConnection):
    """A client of no dialect."""

    codes = DialectCloseCodes(going_away=4000, too_slow=TOO_SLOW, silent=4002, too_many_messages=1008)


class FullSocket:
    """A socket whose client has taken all but `left` bytes."""

    ready = False
    heard_at = 0.0

    def __init__(self, left: int) -> None:
        self.left = left
        self.closed_with: int | None = None

    def write(self, frame: bytes, /) -> None:
        self.ready = False

    def waiting(self) -> int:
        return self.left

    def close(self, code: int, reason: str, last: Sequence[bytes] = ()) -> None:
        self.closed_with = code

    def abort(self) -> None: ...


class Nobody:
    """A hub that nobody watches."""

    def leave(self, subscriptions: list[Subscription]) -> None:
        assert not subscriptions


@pytest.fixture
def socket() -> FullSocket:
    return FullSocket(1_000)


@pytest.fixture
def connection(socket: FullSocket) -> SocketConnection:
    return Watching(cast(Hub, Nobody()), socket, Principal())


def test_who_takes_nothing_is_cut_after_a_while(connection: SocketConnection, socket: FullSocket) -> None:
    connection.check(1.0)
    connection.check(1.0 + STUCK_AFTER_S)
    assert socket.closed_with is None
    connection.check(1.1 + STUCK_AFTER_S)
    assert socket.closed_with == TOO_SLOW


def test_who_took_a_byte_has_as_long_again(connection: SocketConnection, socket: FullSocket) -> None:
    connection.check(1.0)
    socket.left -= 1
    connection.check(1.0 + STUCK_AFTER_S)
    connection.check(1.0 + 2 * STUCK_AFTER_S)
    assert socket.closed_with is None
    connection.check(1.1 + 2 * STUCK_AFTER_S)
    assert socket.closed_with == TOO_SLOW


def test_who_took_a_frame_and_has_as_much_before_them_again_is_not_stuck(
    connection: SocketConnection, socket: FullSocket
) -> None:
    for at in range(1, 200, 5):
        connection.tell(b"one more")
        connection.check(float(at))
        socket.ready = True
        connection.resumed()
        assert not socket.ready
    assert socket.closed_with is None
