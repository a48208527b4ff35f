"""The outbox in Redis: what was committed and isn't in Postgres yet. The audit's source of truth until it is.

Entries are written by `lua/commit.lua` alone. This module reads them, takes them out once Postgres has them, and moves
those that Postgres refuses out of the way. What rows they become is the audit's business.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synckairos.fast_dataclass import fast_dataclass
from synckairos.store.connect import Script, time_ms, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.outbox_limits import UNBOUNDED, OutboxLimits
from synckairos.store.shared_connection import Command, RedisPipe
from synckairos.wire.outbox_entry import OutboxEntry

AFTER_DEADLINE_MS = 3_600_000
"""A session stays in Redis at least this long after its next deadline."""

_FIRST_PAGE = 16  # entries may be large: the first few tell how many fit
_MAX_PAGE = 200
_PENDING_LOOK = 5_000
_SETTLED_AT_ONCE = 1_000
_TALLY = ("drained", "conflicts", "isolated", "batches", "busy_us")


@fast_dataclass
@dataclass(frozen=True, slots=True)
class OutboxDelivery:
    """One entry as it lies in the stream, under its id there; `fields` are whatever was written."""

    entry_id: str
    fields: Mapping[bytes, bytes]

    @property
    def entry(self) -> OutboxEntry:
        """Return the entry. Raises ValueError where it isn't one."""
        of = self.fields
        try:
            session_id, epoch, version = of[b"session_id"].decode(), of[b"epoch"].decode(), int(of[b"version"])
            return OutboxEntry(session_id, epoch, version, of[b"event"], of[b"state"])
        except KeyError as missing:
            raise ValueError(f"the entry has no field {missing}") from None

    @property
    def size(self) -> int:
        """Return about how many bytes it has."""
        return sum(map(len, self.fields.values()))


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest version of a session that Postgres has, of those in a batch."""

    session_id: str
    epoch: str
    version: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What was ever done, by whichever process: versions drained, conflicts, entries isolated, batches, and their time.

    Kept in the store, so that every server can tell and no restart forgets.
    """

    drained: int = 0
    conflicts: int = 0
    isolated: int = 0
    batches: int = 0
    busy_us: int = 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: entries, the age of the oldest in ms (0 without one), and those isolated.

    `retrying` are isolated entries that will be tried again by themselves, `set_aside` those that somebody must look
    at. `bytes` is what the entries hold; `fullness` how near the fullest partition is to its bounds, 1 is full.
    """

    entries: int
    oldest_age_ms: int
    retrying: int
    set_aside: int
    tally: Tally = Tally()
    bytes: int = 0
    fullness: float = 0.0


class Outbox:
    """The outbox streams, one a partition. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys, bounds: OutboxLimits = UNBOUNDED) -> None:
        self._pipe = pipe
        self.keys = keys
        self._bounds = bounds
        self._settle = Script("settle")
        self._pending = Script("pending")
        self._mentions = Script("mentions")

    async def read(
        self, partition: int, max_entries: int, max_bytes: int, after: str | None = None
    ) -> list[OutboxDelivery]:
        """Return the oldest entries (of those after the id `after`), in order; they stay where they are.

        Stops at `max_entries`, or at the first entry that brings the sum to `max_bytes` (so at least one comes).
        """
        name = self.keys.outbox(partition)
        found: list[OutboxDelivery] = []
        size, page = 0, _FIRST_PAGE
        while len(found) < max_entries and size < max_bytes:
            page = min(page, max_entries - len(found))
            start = "-" if after is None else f"({after}"
            with unavailable_as_named():
                replies: list[tuple[bytes, list[bytes]]] = await self._pipe.call(
                    "XRANGE", name, start, "+", "COUNT", page
                )
            for entry_id, fields in replies:
                found.append(OutboxDelivery(entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True))))
                size += found[-1].size
            if len(replies) < page:
                break
            after = found[-1].entry_id
            page = min(_MAX_PAGE, max(1, (max_bytes - size) * len(found) // max(size, 1)))
        return found

    async def settle(
        self,
        partition: int,
        entry_ids: Sequence[str],
        newest: Iterable[Newest],
        ttl_ms: int,
        *,
        size: int,
        drained: int = 0,
        conflicts: int = 0,
        busy_us: int = 0,
    ) -> int:
        """Settle the sessions of entries that Postgres has, then take the entries out of the stream.

        Each session that Postgres now has in full, its newest version too, may leave Redis after `ttl_ms`, at the
        earliest an hour after its next deadline; for the others only the audited version is noted, up to the first
        one that lies isolated. `size` is the entries' bytes; the last three go to the tally.
        One round trip for each thousand sessions, so that nobody waits for long; doing it again is harmless.
        Returns how many entries were there.
        """
        keys = self.keys
        shared = [keys.outbox(partition), tally_key(keys, partition), keys.outbox_bytes(partition)]
        shared.append(gaps_key(keys, partition))
        settled = list(newest)
        entries: Sequence[str] = ()
        gone = 0
        for first in range(0, max(1, len(settled)), _SETTLED_AT_ONCE):
            some = settled[first : first + _SETTLED_AT_ONCE]
            if first + _SETTLED_AT_ONCE >= len(settled):
                entries = entry_ids
            names = list(shared)
            args: list[Any] = [ttl_ms, AFTER_DEADLINE_MS, drained, conflicts, busy_us, len(entries), size, *entries]
            for each in some:
                session_id = each.session_id
                names += (keys.session(session_id), keys.history(session_id), keys.commands(session_id))
                args += (each.epoch, each.version)
            with unavailable_as_named():
                gone = await self._settle(self._pipe, names, args)
        return gone

    async def is_empty(self, partition: int) -> bool:
        """Tell whether nothing waits in a partition."""
        with unavailable_as_named():
            return not await self._pipe.call("XLEN", self.keys.outbox(partition))

    async def pending(self, session_id: str) -> list[OutboxEntry]:
        """Return a session's versions that are still on their way to Postgres, oldest first.

        One round trip. Looks at the newest 5,000 entries of the partition: beyond such a backlog some may be missing.
        """
        names = [self.keys.outbox(self.keys.partition_of(session_id)), self.keys.session(session_id)]
        with unavailable_as_named():
            reply: list[bytes] = await self._pending(self._pipe, names, [session_id, _PENDING_LOOK])
        return [
            OutboxEntry(session_id, reply[at].decode(), int(reply[at + 1]), reply[at + 2], reply[at + 3])
            for at in range(len(reply) - 4, -1, -4)
        ]

    async def has_isolated(self, session_id: str) -> bool:
        """Tell whether versions of a session, in whichever epoch, lie isolated. One round trip."""
        name = gaps_key(self.keys, self.keys.partition_of(session_id))
        with unavailable_as_named():
            return bool(await self._pipe.call("ZLEXCOUNT", name, f"[{session_id} ", f"({session_id}!"))

    async def mentioning(self, participant_id: str) -> list[str]:
        """Return ids of sessions with versions on their way to Postgres that name somebody; no order.

        One round trip for all partitions, written before whatever is asked after it. Looks at the newest 5,000 entries
        of each, as `pending` does.
        """
        # By its text: sent again because the server lost it, it would look after what it must look before.
        asking: list[Command] = [
            ("EVAL", self._mentions.text, 1, self.keys.outbox(partition), participant_id, _PENDING_LOOK)
            for partition in range(self.keys.partitions)
        ]
        with unavailable_as_named():
            found: list[list[bytes]] = await self._pipe.call_many(asking)
        return [session_id.decode() for ids in found for session_id in ids]

    async def backlog(self) -> Backlog:
        """Measure what waits in all partitions together, in one round trip."""
        commands: list[Command] = [("TIME",)]
        for partition in range(self.keys.partitions):
            commands += [
                ("XLEN", self.keys.outbox(partition)),
                ("XRANGE", self.keys.outbox(partition), "-", "+", "COUNT", 1),
                ("ZCOUNT", isolated_key(self.keys, partition), "-inf", "(inf"),
                ("ZCOUNT", isolated_key(self.keys, partition), "inf", "inf"),
                ("HMGET", tally_key(self.keys, partition), *_TALLY),
                ("GET", self.keys.outbox_bytes(partition)),
            ]
        with unavailable_as_named():
            time, *replies = await self._pipe.call_many(commands)
        now_ms = time_ms(time)
        ages = [max(0, now_ms - int(first[0][0].partition(b"-")[0])) if first else 0 for first in replies[1::6]]
        tallies = [[int(value or 0) for value in tally] for tally in replies[4::6]]
        sizes = [int(size or 0) for size in replies[5::6]]
        return Backlog(
            entries=sum(replies[0::6]),
            oldest_age_ms=max(ages),
            retrying=sum(replies[2::6]),
            set_aside=sum(replies[3::6]),
            tally=Tally(*(sum(column) for column in zip(*tallies, strict=True))),
            bytes=sum(sizes),
            fullness=max(map(self._bounds.fullness, replies[0::6], sizes, ages)),
        )


def isolated_key(keys: Keys, partition: int) -> str:
    """Return the sorted set of isolated entries' ids, by the instant of their next try."""
    return f"{keys.outbox(partition)}:isolated"


def gaps_key(keys: Keys, partition: int) -> str:
    """Return the sorted set, by name, of the versions that lie isolated: `<session id> <epoch> <version>`."""
    return f"{keys.outbox(partition)}:gaps"


def tally_key(keys: Keys, partition: int) -> str:
    """Return the hash that counts what was drained, and what went wrong, for as long as the store lives."""
    return f"{keys.outbox(partition)}:tally"
