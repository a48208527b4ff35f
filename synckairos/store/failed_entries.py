"""Failed entries: outbox entries that Postgres rejected. They are moved out of the stream and retried.

If all retries fail, the entry is set aside until the operator retries it. A failed entry is never dropped. It is a hash
with the fields of the outbox entry. A sorted set has the ids of failed entries by the instants of their next attempts.
"""

from typing import Any

from msgspec import Struct

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe, parse_time_ms, raise_if_invalid_data
from synckairos.store.stream_entry import StreamEntry
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_dropped_keys, report_invalid_data

_DESCRIBING_FIELDS = (b"session_id", b"epoch", b"version", b":tries", b":error", b":first_failed_at_ms")
"""Fields of the hash of a failed entry that describe the entry: its version and its attempts."""


class FailedEntry(Struct, frozen=True):
    """A failed entry: the outbox entry, the number of retries, the last error, and the instant of the next attempt.

    `next_attempt_at_ms` is None if the entry is set aside.
    """

    partition: int
    entry: StreamEntry
    retries: int
    error: str
    first_failed_at_ms: int
    next_attempt_at_ms: int | None


class FailedEntries:
    """The failed entries of all partitions. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._fail_script = LuaScript("outbox_entry_fail", allow_oom=True)
        self._retry_script = LuaScript("failed_entry_retry_now", allow_oom=True)

    async def record_failure(
        self,
        partition: int,
        entry_id: str,
        *,
        retries: int,
        error: str,
        next_attempt_in_ms: int | None,
        document: bytes = b"",
        min_entry_bytes: int = 0,
    ) -> None:
        """Move an outbox entry out of the stream, or save another failure of a failed entry. Atomic, one round trip.

        `retries` is the number of retries until now, and `error` is the text of this failure. The next attempt is due
        after `next_attempt_in_ms` milliseconds. If `next_attempt_in_ms` is None, the entry is set aside. If neither the
        stream nor the failed entries have the entry, nothing changes. `document` is the document of the entry. It
        replaces the splices of an entry in the stream. If it is empty, the entry keeps its splices.
        `min_entry_bytes` is described in `OutboxLimits`.
        """
        names = [
            self._keys.outbox(partition),
            self._keys.failed_entries(partition),
            self._keys.failed_entry(partition, entry_id),
            self._keys.drain_tally(partition),
            self._keys.outbox_bytes(partition),
            self._keys.failed_entry_versions(partition),
            self._keys.indexed_outbox_entries(partition),
            self._keys.outbox_tenants(partition),
        ]
        next_attempt = "" if next_attempt_in_ms is None else next_attempt_in_ms
        args: list[Any] = [entry_id, next_attempt, retries, error, min_entry_bytes, document]
        with translated_errors():
            report_dropped_keys(await self._fail_script(self._pipe, names, args))

    async def load_entry(self, partition: int, entry_id: str) -> StreamEntry | None:
        """Return a failed entry without its attempts, None if there is no failed entry with this id. One round trip."""
        found = await self._load(partition, [(entry_id, None)])
        return found[0].entry if found else None

    async def load_due(self, partition: int, count: int) -> list[FailedEntry]:
        """Return at most `count` failed entries of a partition whose next attempt is due, the longest overdue first.

        Two round trips, one if no entry is due. Entries that are set aside are never due.
        """
        name = self._keys.failed_entries(partition)
        with translated_errors():
            time, found = await self._pipe.call_many(
                [("TIME",), ("ZRANGE", name, "-inf", "(inf", "BYSCORE", "LIMIT", 0, count, "WITHSCORES")]
            )
        now_ms = parse_time_ms(time)
        pairs = [
            (found[at].decode(errors="backslashreplace"), int(max(-(2.0**53), float(found[at + 1]))))
            for at in range(0, len(found), 2)
        ]
        return await self._load(partition, [(entry_id, at_ms) for entry_id, at_ms in pairs if at_ms <= now_ms])

    async def load_all(self, partition: int, *, set_aside_only: bool = False) -> list[FailedEntry]:
        """Return all failed entries of a partition in the order of their next attempts, in two round trips.

        Entries that are set aside are last. If `set_aside_only` is True, the result has only these entries.
        """
        low = "inf" if set_aside_only else "-inf"
        with translated_errors():
            found: list[bytes] = await self._pipe.call(
                "ZRANGE", self._keys.failed_entries(partition), low, "inf", "BYSCORE", "WITHSCORES"
            )
        scores = [
            (found[at].decode(errors="backslashreplace"), max(-(2.0**53), float(found[at + 1])))
            for at in range(0, len(found), 2)
        ]
        return await self._load(partition, [(i, None if score == float("inf") else int(score)) for i, score in scores])

    async def load_set_aside_entries(self) -> list[FailedEntry]:
        """Return the set-aside entries of all partitions, the oldest first failure first."""
        found = [each for at in range(self._keys.partitions) for each in await self.load_all(at, set_aside_only=True)]
        return sorted(found, key=lambda each: each.first_failed_at_ms)

    async def read_set_aside(self, limit: int) -> tuple[list[FailedEntry], int]:
        """Return at most `limit` set-aside entries, the oldest version first, and the number of all set-aside entries.

        The entries have the fields that name their version, and not their documents. Two round trips.
        """
        names = [self._keys.failed_entries(at) for at in range(self._keys.partitions)]
        with translated_errors():
            found = await self._pipe.call_many_independent(
                [
                    *(("ZRANGE", name, "inf", "inf", "BYSCORE", "LIMIT", 0, limit) for name in names),
                    *(("ZCOUNT", name, "inf", "inf") for name in names),
                ]
            )
            ids, counts = found[: len(names)], found[len(names) :]
            wanted = [
                (partition, entry_id.decode(errors="backslashreplace"))
                for partition, in_partition in enumerate(ids)
                for entry_id in raise_if_invalid_data(in_partition)
            ]
            wanted = sorted(wanted, key=lambda each: _stream_position(each[1]))[:limit]
            rows = await self._pipe.call_many_independent(
                [("HMGET", self._keys.failed_entry(*each), *_DESCRIBING_FIELDS) for each in wanted]
            )
        entries = [
            _parse_failed_entry(*each, None, _flat_fields(raise_if_invalid_data(row)))
            for each, row in zip(wanted, rows, strict=True)
        ]
        return entries, sum(raise_if_invalid_data(each) for each in counts)

    async def retry_set_aside_entry(self, entry_id: str) -> bool:
        """Make a set-aside entry due. Return False if no entry with this id is set aside. Two round trips."""
        with translated_errors():
            scores = await self._pipe.call_many_independent(
                [("ZSCORE", self._keys.failed_entries(at), entry_id) for at in range(self._keys.partitions)]
            )
        found = [at for at, score in enumerate(scores) if raise_if_invalid_data(score) in (b"inf", b"Infinity")]
        return any([await self.retry(at, entry_id) for at in found])

    async def retry(self, partition: int, entry_id: str) -> bool:
        """Make the next attempt of a failed entry due now, and set its number of retries to 0. Atomic, one round trip.

        The call does not write the entry to Postgres; a worker does that later. Return False if there is no failed
        entry with this id, otherwise True.
        """
        names = [self._keys.failed_entries(partition), self._keys.failed_entry(partition, entry_id)]
        with translated_errors():
            return bool(await self._retry_script(self._pipe, names, [entry_id]))

    async def retry_set_aside(self, entry_id: str | None = None) -> int:
        """Make set-aside entries due, so that the next sweep of a worker retries the entries.

        If `entry_id` is None, all set-aside entries become due, otherwise only the set-aside entry with this id. Return
        the number of entries that became due.
        """
        retried = 0
        for each in await self.load_set_aside_entries():
            if entry_id in (None, each.entry.entry_id):
                retried += await self.retry(each.partition, each.entry.entry_id)
        return retried

    async def remove_version_gap(self, partition: int, entry: StreamEntry) -> None:
        """Remove the gap that a failed entry caused. Postgres must already have the version of the entry.

        One round trip. Call this method before `Outbox.remove_written` for the same session, then call `remove`. This
        method does not remove the failed entry.
        """
        fields = entry.fields
        gap = b" ".join(fields.get(name, b"") for name in (b"session_id", b"epoch", b"version"))
        with translated_errors():
            await self._pipe.call("ZREM", self._keys.failed_entry_versions(partition), gap)

    async def remove(self, partition: int, entry_id: str) -> None:
        """Remove a failed entry. Postgres must already have the version of the entry. One round trip."""
        with translated_errors():
            await self._pipe.call_many(
                [
                    ("ZREM", self._keys.failed_entries(partition), entry_id),
                    ("DEL", self._keys.failed_entry(partition, entry_id)),
                ]
            )

    async def _load(self, partition: int, wanted: list[tuple[str, int | None]]) -> list[FailedEntry]:
        if not wanted:
            return []
        with translated_errors():
            hashes = await self._pipe.call_many_independent(
                [("HGETALL", self._keys.failed_entry(partition, entry_id)) for entry_id, _ in wanted]
            )
        entries, damaged = [], []
        for (entry_id, next_ms), found in zip(wanted, hashes, strict=True):
            try:
                if raise_if_invalid_data(found):
                    entries.append(_parse_failed_entry(partition, entry_id, next_ms, found))
            except PARSE_ERRORS as error:
                report_invalid_data(self._keys.failed_entry(partition, entry_id), error)
                damaged.append(entry_id)
        if damaged:
            # The data of these failed entries cannot be read. Their hashes stay, so that the operator can inspect them.
            with translated_errors():
                await self._pipe.call("ZREM", self._keys.failed_entries(partition), *damaged)
        return entries


def _stream_position(entry_id: str) -> tuple[int, int]:
    """Return the milliseconds and the number of the id of a stream entry, such as `1700000000000-0`."""
    ms, _, number = entry_id.partition("-")
    return _number(ms.encode()), _number(number.encode())


def _flat_fields(values: list[bytes | None]) -> list[bytes]:
    """Return the names and values of `_DESCRIBING_FIELDS` that a hash has, one after the other."""
    return [
        part
        for name, value in zip(_DESCRIBING_FIELDS, values, strict=True)
        if value is not None
        for part in (name, value)
    ]


def _parse_failed_entry(partition: int, entry_id: str, next_ms: int | None, flat: list[bytes]) -> FailedEntry:
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    fields = {name: value for name, value in found.items() if not name.startswith(b":")}
    return FailedEntry(
        partition=partition,
        entry=StreamEntry(entry_id, fields),
        retries=_number(found.get(b":tries")),
        error=found.get(b":error", b"").decode(errors="replace"),
        first_failed_at_ms=_number(found.get(b":first_failed_at_ms")),
        next_attempt_at_ms=next_ms,
    )


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) < 20 else 0
