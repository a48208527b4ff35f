"""Counter of the round trips to Redis for requests about one session."""

from collections.abc import Iterable
from typing import Any

import pytest

from synckairos.store.shared_connection import RedisCommand, RedisPipe


class RoundTrips:
    """The round trips that a shared connection makes with commands that name a session; heartbeats do not count."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pipe: RedisPipe, session_id: str) -> None:
        self.count = 0
        call_many = pipe.call_many

        async def counted(commands: Iterable[RedisCommand]) -> list[Any]:
            sent = list(commands)
            self.count += any(session_id in str(argument) for command in sent for argument in command)
            return await call_many(sent)

        monkeypatch.setattr(pipe, "call_many", counted)
