"""The outbox in Redis: streams of the committed versions that Postgres does not have yet.

The outbox is the audit's source of truth for a version until Postgres has that version. Only `lua/commit.lua` writes
outbox entries. This module reads the entries and removes them when Postgres has them. The package `audit` converts them
to rows.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from synckairos.errors import StoreUnavailable
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.outbox_limits import UNLIMITED, OutboxLimits
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe, parse_time_ms
from synckairos.store.stream_entry import StreamEntry, build_document
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_dropped_keys, report_invalid_data
from synckairos.wire.outbox_entry import OutboxEntry

MIN_STAY_AFTER_DEADLINE_MS = 3_600_000
"""Milliseconds: minimum duration that a session stays in Redis after its next deadline."""

_FIRST_PAGE = 16  # entries can be large, so the sizes of the first entries determine the size of the next page
_MAX_PAGE = 200
_MAX_ENTRIES = 5_000
_MAX_BYTES = 32 << 20  # maximum total size of the entries of one session that are read
_MAX_SCANNED_BYTES = (
    8 << 20
)  # maximum total size of scanned entries, because Redis handles no other command during a scan
_MAX_SESSIONS = 1_000
_PRUNED_AT_ONCE = 200

SETTLED_PER_CALL = 1_000
"""Number of sessions in one call of the settle script. The number is bounded so that other callers do not wait long."""

_TALLY_FIELDS = ("drained", "conflicts", "isolated", "batches", "busy_us")


FindDocument = Callable[[str, str, int], Awaitable[bytes | None]]
"""A function that returns the document of a session name, an epoch and a version from another store.

It returns None if the other store does not have the document.
"""


class WrittenVersion(Struct, frozen=True):
    """The newest version of one session in a batch of outbox entries. Postgres already has the batch."""

    session_name: str
    epoch: str
    version: int


class DrainTally(Struct, frozen=True):
    """Totals of all drains since the store was created.

    `drained`, `conflicts` and `isolated` are numbers of outbox entries; `isolated` counts failed entries. `batches` is
    the number of batches. `busy_us` is the duration of all batches in µs. The totals are in Redis. So every instance
    reports the same totals, and a restart of an instance loses no total.
    """

    drained: int = 0
    conflicts: int = 0
    isolated: int = 0
    batches: int = 0
    busy_us: int = 0


class OutboxBacklog(Struct, frozen=True):
    """The content of the outbox and the number of failed entries, over all partitions.

    `entries` is the number of outbox entries, without failed entries. `oldest_age_ms` is the age of the oldest entry in
    ms, 0 if there are no entries. `retrying` is the number of failed entries that will be retried. `set_aside` is the
    number of failed entries that the operator must handle. `bytes` is the number of bytes in the entries. `fullness` is
    the largest used share of a limit in any partition; 1 means that the limit is reached.
    """

    entries: int
    oldest_age_ms: int
    retrying: int
    set_aside: int
    tally: DrainTally = DrainTally()
    bytes: int = 0
    fullness: float = 0.0


class Outbox:
    """The outbox streams, one for each partition. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(
        self,
        pipe: RedisPipe,
        keys: Keys,
        limits: OutboxLimits = UNLIMITED,
        *,
        settled_per_call: int = SETTLED_PER_CALL,
        find_document: FindDocument | None = None,
    ) -> None:
        """Create the outbox for the connection `pipe`.

        `limits` are the limits of one partition. `find_document` finds the documents of versions that were drained,
        for `read_session_entries`. It can raise StoreUnavailable.
        """
        self._pipe = pipe
        self._find_document = find_document
        self._settled_per_call = settled_per_call
        self.keys = keys
        self.limits = limits
        self._settle_script = LuaScript("outbox_finish_batch", allow_oom=True)
        self._session_script = LuaScript("outbox_entries_of_session")
        self._participant_script = LuaScript("outbox_sessions_of_participant")
        self._prune_script = LuaScript("outbox_participants_prune", allow_oom=True)

    async def read(
        self, partition: int, max_entries: int, max_bytes: int, after: str | None = None
    ) -> list[StreamEntry]:
        """Return the oldest entries of the stream, or the oldest entries after the entry id `after`, oldest first.

        The entries stay in the stream. The result has at most `max_entries` entries. The entries are read in pages,
        until the total size of the entries with their documents reaches `max_bytes`. So the result can be larger than
        `max_bytes`. An empty result means that the stream has no entries after `after`.
        """
        name = self.keys.outbox(partition)
        found: list[StreamEntry] = []
        size, page = 0, _FIRST_PAGE
        while len(found) < max_entries and size < max_bytes:
            page = min(page, max_entries - len(found))
            start = "-" if after is None else f"({after}"
            with translated_errors():
                replies: list[tuple[bytes, list[bytes]]] = await self._pipe.call(
                    "XRANGE", name, start, "+", "COUNT", page
                )
            for entry_id, fields in replies:
                found.append(StreamEntry(entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True))))
                size += found[-1].document_bytes
            if len(replies) < page:
                break
            after = found[-1].entry_id
            page = min(_MAX_PAGE, max(1, (max_bytes - size) * len(found) // max(size, 1)))
        return found

    async def remove_written(
        self,
        partition: int,
        entry_ids: Sequence[str],
        newest: Iterable[WrittenVersion],
        ttl_ms: int,
        *,
        size_bytes: int,
        tenant_bytes: Mapping[str, int] | None = None,
        drained: int = 0,
        conflicts: int = 0,
        busy_us: int = 0,
    ) -> int:
        """Update in Redis the sessions in `newest`, then remove the entries `entry_ids` from the outbox.

        Returns the number of entries that this call removed.

        Postgres must already have all these entries; this is not checked. `newest` has the newest version that Postgres
        has of each session to update. The entries of a session that is not in `newest` are removed, but the session is
        not updated. If Redis has another epoch of a session, this session is not updated.

        Each updated session gets its audited version: the newest version in Postgres before the first gap. If this is
        the version that Redis has, and the session has no gap, the session also gets a TTL of `ttl_ms`. The TTL is
        longer if needed: at least until one hour after the next deadline, and at least one week for a running session
        without a deadline. If Postgres does not have the newest version, or the session has a gap, the TTL is not
        changed.

        `size_bytes` must be the number of bytes in the entries, and `tenant_bytes` the number that `count_tenant_bytes`
        returns for them. `drained`, `conflicts` and `busy_us` are added to the
        tally.

        Each thousand sessions take one round trip, so that other commands do not wait long. After an error the call can
        be repeated. The repeated call can add to the tally a second time.
        """
        keys = self.keys
        shared = [
            keys.outbox(partition),
            keys.drain_tally(partition),
            keys.outbox_bytes(partition),
            keys.failed_entry_versions(partition),
            keys.indexed_outbox_entries(partition),
            keys.outbox_participants(partition),
            keys.outbox_tenants(partition),
        ]
        settled = list(newest)
        by_tenant = [each for pair in (tenant_bytes or {}).items() for each in pair]
        entries: Sequence[str] = ()
        removed = 0
        for first in range(0, max(1, len(settled)), self._settled_per_call):
            some = settled[first : first + self._settled_per_call]
            if first + self._settled_per_call >= len(settled):
                entries = entry_ids
            names = list(shared)
            args: list[Any] = [
                *(ttl_ms, MIN_STAY_AFTER_DEADLINE_MS, drained, conflicts, busy_us, len(entries), size_bytes),
                *(len(by_tenant) // 2, *by_tenant),
                *entries,
            ]
            for each in some:
                session_name = each.session_name
                names += [build(session_name) for build in (keys.session, keys.history, keys.idempotency_records)]
                args += (each.epoch, each.version)
            with translated_errors():
                removed, *dropped = await self._settle_script(self._pipe, names, args)
            report_dropped_keys(dropped)
        return removed

    def count_tenant_bytes(self, entries: Iterable[StreamEntry]) -> dict[str, int]:
        """Return the bytes that the commits of these entries added for each tenant, except the default tenant."""
        counted: Counter[str] = Counter()
        for each in entries:
            tenant, separator, _ = (each.session_name or "").partition("/")
            if separator:
                counted[tenant] += max(each.size_bytes, self.limits.min_entry_bytes)
        return dict(counted)

    async def is_empty(self, partition: int) -> bool:
        """Return whether the outbox of a partition has no entries. Failed entries do not count."""
        with translated_errors():
            return not await self._pipe.call("XLEN", self.keys.outbox(partition))

    async def read_session_entries(self, session_name: str) -> list[OutboxEntry]:
        """Return the versions of a session in the outbox, oldest first. One round trip.

        Failed entries are not in the outbox. If the session has more than 5,000 entries or about 32 MiB of documents in
        the outbox, the oldest entries are left out. If an earlier release wrote an entry of the session, only the
        newest 8 MiB of the partition are searched.

        If the oldest entry has splices, the document of the version before comes from `find_document`. If that version
        is not found, the entries up to the next entry with a document are left out.
        """
        keys, partition = self.keys, self.keys.partition_of(session_name)
        names = [keys.outbox(partition), keys.session(session_name)]
        args: list[Any] = [session_name, keys.failed_entry(partition, ""), _MAX_ENTRIES, _MAX_BYTES, _MAX_SCANNED_BYTES]
        with translated_errors():
            reply: list[bytes] = await self._session_script(self._pipe, names, args)
        found: list[OutboxEntry] = []
        before: dict[tuple[str, int], bytes] = {}
        for at in range(len(reply) - 5, -1, -5):
            epoch, version, event, body, payload_hash = reply[at : at + 5]
            try:
                position = (epoch.decode(), int(version))
                if payload_hash:
                    document_before = before.get((position[0], position[1] - 1))
                    if document_before is None:
                        document_before = await self._document_before(session_name, position)
                    if document_before is None:
                        continue
                    body = build_document(document_before, body, payload_hash)
                entry = OutboxEntry(session_name, *position, event, body)
                if event:
                    entry.check_event_and_document()
                    found.append(entry)
            except PARSE_ERRORS as error:
                report_invalid_data(names[0], error)
            else:
                before = {position: body}
        return found

    async def _document_before(self, session_name: str, position: tuple[str, int]) -> bytes | None:
        if self._find_document is None:
            return None
        epoch, version = position
        with suppress(StoreUnavailable):
            return await self._find_document(session_name, epoch, version - 1)
        return None

    async def session_has_failed_entries(self, session_name: str) -> bool:
        """Return whether a session has failed entries, of any epoch. One round trip."""
        name = self.keys.failed_entry_versions(self.keys.partition_of(session_name))
        with translated_errors():
            return bool(await self._pipe.call("ZLEXCOUNT", name, f"[{session_name} ", f"({session_name}!"))

    async def participant_session_names(self, participant_name: str) -> list[str]:
        """Return the names of the sessions that have a version in the outbox with this participant, in arbitrary order.

        Redis executes the commands of this call before all commands that the caller sends after this method has
        started. The result has at most 1,000 sessions of each partition. If an earlier release wrote entries, the
        newest 8 MiB of each partition are searched too.
        """
        keys = self.keys
        # The script is sent as text instead of by its hash. If the hash were missing, the second attempt would run
        # after later commands of the caller.
        commands: list[RedisCommand] = [
            (
                "EVAL",
                self._participant_script.text,
                3,
                keys.outbox(partition),
                keys.outbox_participants(partition),
                keys.indexed_outbox_entries(partition),
                participant_name,
                keys.session_prefix(partition),
                *(_MAX_SESSIONS, _MAX_ENTRIES, _MAX_SCANNED_BYTES),
            )
            for partition in range(keys.partitions)
        ]
        with translated_errors():
            found: list[list[bytes]] = await self._pipe.call_many(commands)
        return [session_name.decode(errors="replace") for names in found for session_name in names]

    async def prune_participants(self, partition: int, after: str) -> str:
        """Check 200 members of the index of participants, and remove the members that no reader needs. One round trip.

        The check begins after the member `after`, or at the first member if `after` is "". Returns the last checked
        member, which is `after` of the next call. Returns "" at the end of the index. The call also removes the members
        of `Keys.indexed_outbox_entries` that are older than the oldest outbox entry.
        """
        keys = self.keys
        names = [keys.outbox_participants(partition), keys.outbox(partition), keys.indexed_outbox_entries(partition)]
        args: list[Any] = [after, keys.session_prefix(partition), _PRUNED_AT_ONCE]
        with translated_errors():
            last: bytes = await self._prune_script(self._pipe, names, args)
        return last.decode(errors="replace")

    async def measure_backlog(self) -> OutboxBacklog:
        """Return the content of the outboxes of all partitions together, in one round trip."""
        keys = self.keys
        commands: list[RedisCommand] = [("TIME",)]
        for partition in range(keys.partitions):
            commands += [
                ("XLEN", keys.outbox(partition)),
                ("XRANGE", keys.outbox(partition), "-", "+", "COUNT", 1),
                ("ZCOUNT", keys.failed_entries(partition), "-inf", "(inf"),
                ("ZCOUNT", keys.failed_entries(partition), "inf", "inf"),
                ("HMGET", keys.drain_tally(partition), *_TALLY_FIELDS),
                ("GET", keys.outbox_bytes(partition)),
            ]
        with translated_errors():
            time, *replies = await self._pipe.call_many_independent(commands)
        for (_, name, *_), reply in zip(commands[1:], replies, strict=True):
            if isinstance(reply, Exception):
                report_invalid_data(str(name), reply)
        replies = [None if isinstance(reply, Exception) else reply for reply in replies]
        now_ms = parse_time_ms(time)
        ages = [max(0, now_ms - int(first[0][0].partition(b"-")[0])) if first else 0 for first in replies[1::6]]
        tallies = [[_count(value) for value in tally or [None] * len(_TALLY_FIELDS)] for tally in replies[4::6]]
        sizes = [_count(size) for size in replies[5::6]]
        entries = [length or 0 for length in replies[0::6]]
        return OutboxBacklog(
            entries=sum(entries),
            oldest_age_ms=max(ages),
            retrying=sum(count or 0 for count in replies[2::6]),
            set_aside=sum(count or 0 for count in replies[3::6]),
            tally=DrainTally(*(sum(column) for column in zip(*tallies, strict=True))),
            bytes=sum(sizes),
            fullness=max(map(self.limits.fullness, entries, sizes, ages)),
        )


def _count(value: bytes | None) -> int:
    """Return the value of a counter, 0 if the value is missing or invalid.

    The next write to an invalid counter removes and reports the key.
    """
    return int(value) if value and value.isdigit() and len(value) < 20 else 0
