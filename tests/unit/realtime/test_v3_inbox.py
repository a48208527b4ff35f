"""Inbox of a v3 connection: the limit of the characters of its requests."""

from collections.abc import Coroutine, Sequence
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest

from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.principal import Principal
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.hub import Hub
from synckairos.realtime.sign_in import SignIns
from synckairos.realtime.v3_connection import V3Connection
from synckairos.realtime.v3_inbox import MAX_INBOX_CHARACTERS
from synckairos.realtime.watcher_interface import Subscription

TOO_MANY = 1008


class Socket:
    """A socket that keeps the code of its close frame."""

    ready = True
    last_received_s = 0.0
    closed_with: int | None = None

    def write(self, frame: bytes, /) -> None: ...

    def unsent_bytes(self) -> int:
        return 0

    def close(self, code: int, reason: str, last_frames: Sequence[bytes] = ()) -> None:
        self.closed_with = code

    def abort(self) -> None: ...

    def pause_reading(self, seconds: float) -> None: ...


class IdleHub:
    """A hub that never handles a request."""

    def __init__(self) -> None:
        self.work = ClientWorkLimits()

    def now_ms(self) -> int:
        return 0

    def spawn_request_task(self, request: Coroutine[Any, Any, None]) -> None:
        request.close()

    def unsubscribe(self, subscriptions: list[Subscription]) -> None:
        assert not subscriptions


def command(size: int) -> str:
    """Return the text of a command with `size` characters."""
    message = {"type": "COMMAND", "id": "a", "session_id": str(uuid4()), "command": "start", "args": {"filling": ""}}
    empty = orjson.dumps(message).decode()
    return empty.replace('""', f'"{"x" * (size - len(empty))}"')


@pytest.mark.parametrize("size", [1 << 15, 1 << 16])
def test_connection_is_closed_when_its_inbox_has_too_much_text(size: int) -> None:
    socket = Socket()
    hub, commands = cast(Hub, IdleHub()), cast(CommandHandler, None)
    connection = V3Connection(hub, socket, Principal.anonymous_admin(), commands, SignIns(None))
    for _ in range(MAX_INBOX_CHARACTERS // size):
        connection.text_received(command(size))
    assert socket.closed_with is None
    connection.text_received(command(200))
    assert socket.closed_with == TOO_MANY
