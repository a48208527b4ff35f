"""Copies a running store to another Redis, and lets instances and workers continue there.

The store serves while it is copied. Redis tells which keys change meanwhile, and they are copied again until few are
left. Then fences stop the commits of all partitions, the last changes follow, and one script records the move if the
fences still exist. A fence ends by itself, so a killed copy stops commits for `FENCE_MS` at most and moves nothing.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterable

from msgspec import Struct
from redis.asyncio import Redis

from synckairos.errors import StoreMisconfigured
from synckairos.store.connect import check_eviction_policy
from synckairos.store.copy.changed_keys import ChangedKeys
from synckairos.store.copy.outbox_copy import OutboxCopy
from synckairos.store.copy.session_copy import SessionCopy
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.move_record import COPYING_FIELD, MoveRecord, complete_copy
from synckairos.store.presence import follows_moves, read_living_instances
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe, parse_time_ms
from synckairos.store.store_format import CHOSEN_TAGS_FORMAT, FORMAT_FIELD
from synckairos.store.store_generation import Generations

FENCE_MS = 1_500
"""Milliseconds after which a fence ends, if the store has not moved until then."""

LEASE_MS = 3_000
"""Milliseconds that the lease on the copy of a store lasts. It is renewed while the copy runs."""

FEW_CHANGES = 500
"""Number of changed keys with which the fences are set. They are copied in a fraction of `FENCE_MS`."""

MAX_CATCH_UPS = 100
"""Maximum number of repetitions of the copy of changed keys, before the fences are set."""

MAX_ATTEMPTS = 10
"""Maximum number of attempts to copy the last changes before the fences end."""

MAX_SKEW_MS = 1_000
"""Maximum difference in ms of the clocks of both Redis. Running clocks would jump by it."""

LAST_CHANGES = "copying the last changes"
"""Text of the progress while the fences stop commits."""

_SCAN_COUNT = 500
_PAUSE_S = 2.0


class CopyResult(Struct, frozen=True):
    """Result of a copy: number of copied sessions, and the ms for which commits were stopped."""

    sessions: int
    fenced_ms: int


class StoreCopy:
    """The copy of one store to an empty Redis. `run` raises StoreUnavailable if a Redis does not answer."""

    def __init__(
        self,
        source: RedisPipe,
        source_keys: Keys,
        redis: Redis,
        target: RedisPipe,
        target_keys: Keys,
        *,
        target_url: str,
        min_entry_bytes: int,
        report: Callable[[str], None],
    ) -> None:
        """Prepare the copy. `redis` is a client of the source. `target_url` is the URL for the instances.

        `min_entry_bytes` is that of the outbox limits of the target. `report` gets texts about the progress.
        """
        self._source = source
        self._source_keys = source_keys
        self._redis = redis
        self._target = target
        self._target_keys = target_keys
        self._report = report
        self._token = secrets.token_hex(8)
        self._record = MoveRecord(target_url, target_keys.partitions, self._token)
        self._sessions = SessionCopy(source, source_keys, target, target_keys)
        self._outbox = OutboxCopy(source, source_keys, target, target_keys, min_entry_bytes)
        self._move_script = LuaScript("store_move")
        kinds = "session|history|commands|reserved"
        self._key = re.compile(rf"{re.escape(source_keys.prefix)}:\{{[0-9]+\}}:({kinds}):(.*)".encode(), re.DOTALL)

    async def run(self) -> CopyResult:
        """Copy the store, and record the move.

        Raises: StoreMisconfigured if the target is not empty, if another copy or a server of an earlier release runs,
        or if the clocks of both Redis differ.
        """
        await self._acquire_lease()
        renewal = asyncio.create_task(self._renew_lease())
        try:
            await self._check_instances_and_clocks()
            await self._prepare_target()
            async with ChangedKeys(self._redis, self._source_keys.prefix) as changed:
                count = await self._copy_all()
                fenced_ms = await self._move(changed)
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
        await complete_copy(self._target, self._target_keys, self._token)
        await disconnect_clients(self._source)
        return CopyResult(count, fenced_ms)

    # -- before the copy ----------------------------------------------------------------------------------------------

    async def _acquire_lease(self) -> None:
        key = self._source_keys.copy_lease
        for _ in range(LEASE_MS // 500 + 2):
            with translated_errors():
                if await self._source.call("SET", key, self._token, "NX", "PX", LEASE_MS):
                    return
            self._report("waiting for the end of another copy")
            await asyncio.sleep(0.5)
        raise StoreMisconfigured("Another `synckairos store copy` of this store runs; wait for its end, or end it")

    async def _renew_lease(self) -> None:
        while True:
            await asyncio.sleep(LEASE_MS / 3_000)
            await self._source.call("PEXPIRE", self._source_keys.copy_lease, LEASE_MS)

    async def _check_instances_and_clocks(self) -> None:
        with translated_errors():
            # A copy ends with this command. It must be permitted, and no client has this id.
            await self._source.call("CLIENT", "KILL", "ID", 2**62)
            here, there = await asyncio.gather(self._source.call("TIME"), self._target.call("TIME"))
        skew_ms = abs(parse_time_ms(here) - parse_time_ms(there))
        if skew_ms > MAX_SKEW_MS:
            raise StoreMisconfigured(f"The clocks of both Redis differ by {skew_ms} ms; synchronize them with NTP")
        if not all(map(follows_moves, await read_living_instances(self._source, self._source_keys))):
            raise StoreMisconfigured("A server of an earlier release runs, which would not follow; upgrade it first")

    async def _prepare_target(self) -> None:
        """Remove the keys of an earlier copy that was not completed, and mark the target as an incomplete copy."""
        keys = self._target_keys
        await check_eviction_policy(self._target)
        with translated_errors():
            is_copy = await self._target.call("HEXISTS", keys.fixed_settings, COPYING_FIELD)
            if not is_copy and await self._scan(self._target, first_only=True):
                raise StoreMisconfigured(
                    f"The new Redis already has keys that begin with `{keys.prefix}:`; use an empty one"
                )
            fields: list[str | int] = [COPYING_FIELD, self._token, "partitions", keys.partitions]
            # Earlier releases refuse this format, and this release refuses a store with the token.
            fields += [FORMAT_FIELD, CHOSEN_TAGS_FORMAT]
            if keys.partitions > 1:
                fields += ["tags", " ".join(keys.tags)]
            await self._target.call("HSET", keys.fixed_settings, *fields)
            if is_copy:
                for name in await self._scan(self._target):
                    if name != keys.fixed_settings.encode():
                        await self._target.call("UNLINK", name)
        generations = Generations(self._source, self._source_keys)
        for partition in range(keys.partitions):
            generation = await generations.load_or_create(min(partition, self._source_keys.partitions - 1))
            with translated_errors():
                await self._target.call("SET", keys.generation(partition), generation)

    async def _scan(self, pipe: RedisPipe, *, first_only: bool = False) -> set[bytes]:
        found = set[bytes]()
        async for names in pipe.scan(f"{self._target_keys.prefix}:*", _SCAN_COUNT):
            found.update(names)
            if found and first_only:
                break
        return found

    # -- the copy -----------------------------------------------------------------------------------------------------

    async def _copy_all(self) -> int:
        """Copy all sessions once, and return their number."""
        copied, others = set[str](), set[str]()
        async for names in self._source.scan(f"{self._source_keys.prefix}:*", _SCAN_COUNT):
            sessions, rest, reserved = self._sort(names)
            copied |= sessions
            others |= rest
            await self._sessions.copy(sorted(sessions))
            await self._copy_reserved(reserved)
            self._report(f"{len(copied):,} sessions copied")
        await self._sessions.copy(sorted(others - copied))
        await self._copy_participants()
        return len(copied)

    def _sort(self, names: Iterable[bytes]) -> tuple[set[str], set[str], set[str]]:
        """Return the sessions by their own keys, the sessions by other keys, and the reserved command ids."""
        sessions, rest, reserved = set[str](), set[str](), set[str]()
        for match in filter(None, map(self._key.fullmatch, names)):
            kind, text = match[1], match[2].decode(errors="surrogateescape")
            (sessions if kind == b"session" else reserved if kind == b"reserved" else rest).add(text)
        return sessions, rest, reserved

    async def _copy_reserved(self, texts: Iterable[str]) -> None:
        source, target = self._source_keys, self._target_keys
        for text in texts:
            name = source.reserved_command_id(text)
            with translated_errors():
                value, ttl_ms = await self._source.call_many([("GET", name), ("PTTL", name)])
                if value is not None and ttl_ms > 0:
                    await self._target.call("SET", target.reserved_command_id(text), value, "PX", ttl_ms)

    async def _copy_participants(self) -> None:
        """Copy the index of participants once. Sessions that change later add their participants themselves."""
        for partition in range(self._source_keys.partitions):
            after = "-"
            while True:
                with translated_errors():
                    found = await self._source.call(
                        *("ZRANGE", self._source_keys.outbox_participants(partition), after, "+"),
                        *("BYLEX", "LIMIT", 0, 1_000),
                    )
                    commands: list[RedisCommand] = []
                    for member in found:
                        at = self._target_keys.partition_of(member.decode().partition(" ")[2])
                        commands.append(("ZADD", self._target_keys.outbox_participants(at), 0, member))
                    await self._target.call_many(commands)
                if len(found) < 1_000:
                    break
                after = "(" + found[-1].decode()

    async def _copy_changes(self, changed: ChangedKeys) -> int:
        """Copy what changed since the last call, and return the number of changed keys of sessions."""
        sessions, rest, reserved = self._sort(await changed.take())
        await self._sessions.copy(sorted(sessions | rest))
        await self._copy_reserved(reserved)
        return len(sessions) + len(rest) + len(reserved)

    # -- the move -----------------------------------------------------------------------------------------------------

    async def _move(self, changed: ChangedKeys) -> int:
        """Copy the last changes behind fences, and record the move. Return the ms for which commits were stopped."""
        for _ in range(MAX_ATTEMPTS):
            for _ in range(MAX_CATCH_UPS):
                await self._outbox.copy_new_entries()
                if await self._copy_changes(changed) <= FEW_CHANGES:
                    break
            began_s = asyncio.get_running_loop().time()
            if await self._try_move(changed):
                return round((asyncio.get_running_loop().time() - began_s) * 1_000)
            self._report("the last changes took too long; trying again")
            await asyncio.sleep(_PAUSE_S)
        raise StoreMisconfigured(
            f"The store changes too fast: its last changes were not copied within {FENCE_MS} ms. It still serves from "
            "the former Redis; run the copy again when there are fewer changes"
        )

    async def _try_move(self, changed: ChangedKeys) -> bool:
        keys = self._source_keys
        fences = [*(keys.fence(partition) for partition in range(keys.partitions)), keys.control_fence]
        with translated_errors():
            await self._source.call_many([("SET", each, self._token, "PX", FENCE_MS) for each in fences])
        try:
            self._report(LAST_CHANGES)
            # Drains go on. A session must not be newer in the target than the entries of the outbox: a session that is
            # marked as audited, with its entries, is drained again. A session with neither would never get a TTL.
            await self._outbox.copy_new_entries()
            await self._outbox.complete()
            await self._copy_whole_store()
            await self._copy_changes(changed)
            with translated_errors():
                names = [keys.fixed_settings, keys.copy_lease, *fences]
                return bool(await self._move_script(self._source, names, [self._token, self._record.render()]))
        finally:
            await self._remove_fences(fences)

    async def _remove_fences(self, fences: list[str]) -> None:
        """Remove the fences, unless the store has moved."""
        with translated_errors():
            if not await self._source.call("HEXISTS", self._source_keys.fixed_settings, "moved"):
                await self._source.call_many([("DEL", each) for each in fences])

    async def _copy_whole_store(self) -> None:
        """Copy the keys that belong to no session: the control channel, the tenants, and marks."""
        source, target = self._source_keys, self._target_keys
        with translated_errors():
            position, entries, tenants, older_ms = await self._source.call_many(
                [
                    ("HGETALL", source.control_position),
                    ("ZRANGE", source.control_entries, 0, -1, "WITHSCORES"),
                    ("ZRANGE", source.tenants_with_sessions, 0, -1),
                    ("PTTL", source.older_instances_seen),
                ]
            )
            marks = [source.index_rebuild_mark(partition) for partition in range(source.partitions)]
            is_rebuild_due = any(await self._source.call_many([("EXISTS", each) for each in marks]))
            commands: list[RedisCommand] = [("UNLINK", target.control_position, target.control_entries)]
            if position:
                commands.append(("HSET", target.control_position, *position))
            for entry, number in zip(entries[::2], entries[1::2], strict=True):
                commands.append(("ZADD", target.control_entries, number, entry))
            commands += [("ZADD", target.tenants_with_sessions, 0, each) for each in tenants]
            if older_ms > 0:
                commands.append(("SET", target.older_instances_seen, "1", "PX", older_ms))
            if is_rebuild_due:
                partitions = range(target.partitions)
                commands += [("SET", target.index_rebuild_mark(partition), "1") for partition in partitions]
            await self._target.call_many(commands)


async def disconnect_clients(pipe: RedisPipe) -> None:
    """Close the connections of all other clients of a Redis whose store has moved.

    When they connect again, they find the record of the move before their first command.

    Raises: StoreUnavailable if Redis does not answer, or if the user lacks the permission for CLIENT KILL.
    """
    with translated_errors():
        for kind in ("normal", "pubsub"):
            await pipe.call("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
