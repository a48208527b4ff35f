"""Copies sessions from one Redis to another: hash, version history, idempotency records, and their entries in sets.

A copy replaces what the target has of a session. It is exact if the session did not change meanwhile. Otherwise the
session is among the changed keys, and is copied again.
"""

import re
from collections.abc import Sequence
from typing import Any

from synckairos.session_names import split_session_name
from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe

BATCH_SIZE = 50
"""Number of sessions that one round trip reads."""

_PARTICIPANT = re.compile(rb'"participant_id":"([0-9a-f-]+)"')
_EACH = 7


class SessionCopy:
    """Copies sessions by their names. All methods raise StoreUnavailable if a Redis does not answer."""

    def __init__(self, source: RedisPipe, source_keys: Keys, target: RedisPipe, target_keys: Keys) -> None:
        self._source = source
        self._source_keys = source_keys
        self._target = target
        self._target_keys = target_keys

    async def copy(self, names: Sequence[str]) -> None:
        """Copy sessions. Two round trips for each `BATCH_SIZE` sessions."""
        for first in range(0, len(names), BATCH_SIZE):
            await self._copy_batch(names[first : first + BATCH_SIZE])

    async def _copy_batch(self, names: Sequence[str]) -> None:
        commands = [command for name in names for command in self._reads(name)]
        with translated_errors():
            replies = await self._source.call_many_independent(commands)
            writes: list[RedisCommand] = []
            for at, name in enumerate(names):
                # A key with invalid data is not copied: no release can use it.
                found = [None if isinstance(each, Exception) else each for each in replies[at * _EACH :][:_EACH]]
                writes += self._writes(name, found)
            await self._target.call_many(writes)

    def _reads(self, name: str) -> list[RedisCommand]:
        keys = self._source_keys
        live = keys.live_sessions(keys.partition_of(name), split_session_name(name)[0])
        return [
            ("HGETALL", keys.session(name)),
            ("PTTL", keys.session(name)),
            ("LRANGE", keys.history(name), 0, -1),
            ("PTTL", keys.history(name)),
            ("HGETALL", keys.idempotency_records(name)),
            ("PTTL", keys.idempotency_records(name)),
            ("ZSCORE", live, name),
        ]

    def _writes(self, name: str, found: Sequence[Any]) -> list[RedisCommand]:
        keys, (fields, ttl_ms, history, history_ttl_ms, records, records_ttl_ms, live_since_ms) = (
            self._target_keys,
            found,
        )
        partition = keys.partition_of(name)
        live = keys.live_sessions(partition, split_session_name(name)[0])
        names = (keys.session(name), keys.history(name), keys.idempotency_records(name))
        commands: list[RedisCommand] = [
            ("UNLINK", *names),
            ("ZREM", keys.deadlines(partition), name),
            ("ZREM", live, name),
        ]
        if fields:
            commands.append(("HSET", names[0], *fields))
        if history:
            commands.append(("RPUSH", names[1], *history))
        if records:
            commands.append(("HSET", names[2], *records))
        for key, milliseconds in zip(names, (ttl_ms, history_ttl_ms, records_ttl_ms), strict=True):
            if milliseconds is not None and milliseconds > 0:
                commands.append(("PEXPIRE", key, milliseconds))
        if fields:
            stored = dict(zip(fields[::2], fields[1::2], strict=True))
            if due := stored.get(b"due"):
                commands.append(("ZADD", keys.deadlines(partition), due, name))
            if live_since_ms is not None:
                commands.append(("ZADD", live, live_since_ms, name))
            if stored.get(b"indexed") and (stored.get(b"status") == b"running" or stored.get(b"entry")):
                commands += self._index(name, partition, stored.get(b"state", b""))
        return commands

    def _index(self, name: str, partition: int, document: bytes) -> list[RedisCommand]:
        """Return the command that adds the participants of a document to their index, as `lua/commit.lua` does."""
        tenant = name[: name.rfind("/") + 1]
        members: list[str | int] = []
        for found in _PARTICIPANT.findall(document):
            members += [0, f"{tenant}{found.decode()} {name}"]
        return [("ZADD", self._target_keys.outbox_participants(partition), *members)] if members else []
