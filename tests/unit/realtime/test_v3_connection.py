"""How much of what one client asks may wait for what it asked before."""

from collections.abc import Coroutine, Sequence
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest

from synckairos.principal import Principal
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.hub import Hub
from synckairos.realtime.v3_connection import WAITING_CHARACTERS, V3Connection
from synckairos.realtime.watcher import Subscription

TOO_MANY = 1008


class Socket:
    """A socket that keeps what it was closed with."""

    ready = True
    heard_at = 0.0
    closed_with: int | None = None

    def write(self, frame: bytes, /) -> None: ...

    def waiting(self) -> int:
        return 0

    def close(self, code: int, reason: str, last: Sequence[bytes] = ()) -> None:
        self.closed_with = code

    def abort(self) -> None: ...


class Idle:
    """A hub where nothing is ever done."""

    def now_ms(self) -> int:
        return 0

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        work.close()

    def leave(self, subscriptions: list[Subscription]) -> None:
        assert not subscriptions


def command(size: int) -> str:
    """Return a command's text of so many characters."""
    asked = {"type": "COMMAND", "id": "a", "session_id": str(uuid4()), "command": "start", "args": {"filling": ""}}
    empty = orjson.dumps(asked).decode()
    return empty.replace('""', f'"{"x" * (size - len(empty))}"')


@pytest.mark.parametrize("size", [1 << 15, 1 << 16])
def test_so_much_text_may_wait_and_no_more(size: int) -> None:
    socket = Socket()
    connection = V3Connection(cast(Hub, Idle()), socket, Principal(), cast(CommandHandler, None))
    for _ in range(WAITING_CHARACTERS // size):
        connection.received(command(size))
    assert socket.closed_with is None
    connection.received(command(200))
    assert socket.closed_with == TOO_MANY
