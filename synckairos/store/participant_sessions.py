"""Lists of participants' recent sessions in Redis: a set for each participant and a summary for each session.

A participant's set holds the ids of the sessions of the last 30 days, at most the newest 1,000. They are sorted by
the instants at which they began. A session's summary holds the values that lists show, as of the newest version in
Postgres. It is the same for all participants. Sets and summaries exist only if the participant's list is read.

Each set and summary is filled from Postgres once, under a lease. A drain that moves newer versions ends the lease. So
older data that was read before is never kept. This module does not
read the bytes of a summary; package `history` does.

If nothing in a session changes by itself, its row in a participant's list is rendered at the first read. These ready
rows are kept in one hash for each participant. So a page needs one read of that hash, and reads
sessions only if something may have changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from synckairos.store.stored_session import parse_stored_session
from synckairos.wire.snapshot import Snapshot

DAYS = 30
SPAN_MS = DAYS * 86_400_000
"""Milliseconds that a set reaches back, and that a set or summary stays after its last use."""

MAX_SESSIONS = 1_000
"""Sessions in a set; a participant with more has a set that reaches back less far."""

READY_ROWS_TTL_MS = 86_400_000
"""Milliseconds that a participant's ready rows stay. Summaries outlive the rows that were made of them."""

MAX_READY_ROW_BYTES = 2_048
"""Bytes: a longer row is not kept. With MAX_SESSIONS this limits the memory for one participant."""

LEASE_MS = 60_000
"""Milliseconds that a lease on filling a set or a summary lasts."""

MAX_TIES = 50
"""Sessions beyond a page that are read because they may have begun in the same millisecond."""

_TOUCH_MS = SPAN_MS - 86_400_000  # extending a set's life once a day is enough
_MAX_IDS_PER_CALL = 5_000

ListKey = tuple[int, str]
"""The position of a session in a list: the ms at which it began (its creation before its start), and its id."""

ReadyRow = bytes
"""A session's row in a participant's list, as JSON, in which nothing changes by itself."""


class SessionSummary(Struct, frozen=True):
    """The part of a session that lists show: its `position` (`<epoch> <version>`), facts and metadata as JSON.

    `row_template` is the row without the participant's own values; empty if a value changes by itself.
    """

    position: bytes
    facts: bytes
    metadata: bytes = b""
    row_template: bytes = b""


class CacheLookup(Struct, frozen=True):
    """The data of a session for one participant's list: the summary, the participant's part, the live snapshot.

    The snapshot has its document if it is of another version than the summary, or if the session runs.
    """

    summary: SessionSummary | None
    part: bytes | None
    live: Snapshot | None


class CachedPage(Struct, frozen=True):
    """One page of a set, newest first. The set is complete since `complete_since_ms`; `has_more` if it goes on.

    `lookups` has the data of the page's sessions, except for sessions of other partitions.
    """

    now_ms: int
    keys: tuple[ListKey, ...]
    has_more: bool
    complete_since_ms: int
    lookups: Mapping[str, ReadyRow | CacheLookup]


class ParticipantSessionStore:
    """Sets, summaries and ready rows. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys, max_sessions: int = MAX_SESSIONS) -> None:
        self._pipe = pipe
        self.keys = keys
        self.max_sessions = max_sessions
        self._page_script = LuaScript("participant_sessions_page")
        self._find_script = LuaScript("session_list_caches_find")
        self._place_script = LuaScript("participant_sessions_place")
        self._lease_script = LuaScript("participant_sessions_lease")
        self._fill_script = LuaScript("participant_sessions_fill")
        self._summary_script = LuaScript("session_summary_write")

    # -- reading ------------------------------------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """Return Redis TIME."""
        with translated_errors():
            return parse_time_ms(await self._pipe.call("TIME"))

    async def load_page(self, participant_id: str, before: ListKey | None, limit: int) -> CachedPage | None:
        """Return up to `limit` sessions before a key; None if the set is missing or not complete. One round trip."""
        keys, partition = self.keys, self.keys.partition_of(participant_id)
        fixed: list[Any] = [
            *(keys.summary_prefix(partition), keys.session_prefix(partition), keys.ready_rows(participant_id)),
            *(keys.outbox(partition), keys.failed_entries(partition)),
            *(READY_ROWS_TTL_MS, SPAN_MS, self.max_sessions, MAX_READY_ROW_BYTES),
        ]
        top, count = ("+inf", limit + 1) if before is None else (str(before[0]), limit + 1 + MAX_TIES)
        while True:
            time, complete, ttl_ms, members, rows, others = await self._run(
                self._page_script,
                [keys.participant_sessions(participant_id)],
                [participant_id, count, top, *fixed],
            )
            if complete is None:
                return None
            # Instants are whole numbers, which Redis writes without an exponent.
            pairs = members.decode().split()
            ids = pairs[::2]
            found = list(zip(map(int, pairs[1::2]), ids, strict=True))
            page = found if before is None else [key for key in found if key < before]
            if len(page) > limit or len(found) < count:
                break
            count *= 4  # all of them began in the same millisecond
        if ttl_ms < _TOUCH_MS:
            with translated_errors():
                await self._pipe.call("PEXPIRE", keys.participant_sessions(participant_id), SPAN_MS)
        complete_since_ms = -int(float(complete))
        if page and page[-1][0] < complete_since_ms:
            page = [key for key in page if key[0] >= complete_since_ms]
        lookups = _parse_lookups(ids, rows, others)
        if keys.partitions > 1:
            lookups = {each: lookup for each, lookup in lookups.items() if keys.partition_of(each) == partition}
        return CachedPage(parse_time_ms(time), tuple(page[:limit]), len(page) > limit, complete_since_ms, lookups)

    async def load_start_times(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return the ms at which those of these sessions began that are in a participant's set. One round trip."""
        name = self.keys.participant_sessions(participant_id)
        with translated_errors():
            scores = await self._pipe.call_many([("ZSCORE", name, each) for each in session_ids])
        pairs = zip(session_ids, scores, strict=True)
        return {each: int(float(score)) for each, score in pairs if score is not None}

    async def look_up(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, ReadyRow | CacheLookup]:
        """Return the data of sessions for a participant's list: one round trip per partition, all at the same time."""
        shares = self._shares(session_ids)
        names = (
            [name for each in share for name in (self.keys.summary(each), self.keys.session(each))] for share in shares
        )
        replies = await asyncio.gather(
            *(self._run(self._page_script, [pairs[0], *pairs], [participant_id, 0]) for pairs in names)
        )
        lookups: dict[str, ReadyRow | CacheLookup] = {}
        for share, (*_, rows, others) in zip(shares, replies, strict=True):
            lookups |= _parse_lookups(share, rows, others)
        return lookups

    # -- filling from Postgres ----------------------------------------------------------------------------------------

    async def lease_set(self, participant_id: str, token: int) -> bool:
        """Take the lease on filling a participant's set; False if the set or another lease exists."""
        name = self.keys.participant_sessions(participant_id)
        return bool(await self._run(self._lease_script, [name], ["set", token, LEASE_MS]))

    async def fill_set(self, participant_id: str, token: int, complete_since_ms: int, keys: Sequence[ListKey]) -> bool:
        """Fill a set that is complete since an instant; False if the lease was broken."""
        args: list[Any] = [token, SPAN_MS, complete_since_ms]
        for began_ms, session_id in keys:
            args += (began_ms, session_id)
        return bool(await self._run(self._fill_script, [self.keys.participant_sessions(participant_id)], args))

    async def lease_summaries(self, session_ids: Sequence[str], token: int) -> None:
        """Take the leases on those of these summaries that do not exist and have no other lease."""
        args = ["digest", token, LEASE_MS]
        await asyncio.gather(*(self._run(self._lease_script, [self.keys.summary(each)], args) for each in session_ids))

    async def fill_summaries(
        self, token: int, participant_id: str, filled: Mapping[str, tuple[SessionSummary, bytes]]
    ) -> None:
        """Write summaries with a participant's parts, if their leases hold; only the part if the summary exists."""
        field = f"p:{participant_id}"
        writes = (
            (session_id, [*self._rows_of(session_id), *_fields(summary), field, part])
            for session_id, (summary, part) in filled.items()
        )
        await asyncio.gather(
            *(
                self._run(self._summary_script, [self.keys.summary(session_id)], ["fill", token, SPAN_MS, *args])
                for session_id, args in writes
            )
        )

    # -- refreshing after a drain -------------------------------------------------------------------------------------

    async def find_cached(
        self, session_ids: Sequence[str], participant_ids: Sequence[str]
    ) -> tuple[dict[str, SessionSummary | None], set[str]]:
        """Return the existing summaries (None while one is being filled), and the participants that have a set.

        One round trip per partition, all at the same time.
        """
        keys = self.keys
        summaries: dict[str, SessionSummary | None] = {}
        with_set: set[str] = set()

        async def find(sessions: Sequence[str], participants: Sequence[str]) -> None:
            names = [*map(keys.summary, sessions), *map(keys.participant_sessions, participants)]
            rows: list[list[bytes]] = await self._run(self._find_script, names, [len(sessions)])
            for at, *summary in rows:
                index = int(at) - 1
                if index >= len(sessions):
                    with_set.add(participants[index - len(sessions)])
                else:
                    summaries[sessions[index]] = SessionSummary(*summary) if summary else None

        searches = [find(share, ()) for share in self._shares(session_ids)]
        searches += [find((), share) for share in self._shares(participant_ids)]
        await asyncio.gather(*searches)
        return summaries, with_set

    async def replace_summary(
        self, session_id: str, before: SessionSummary | None, after: SessionSummary | None, parts: Mapping[str, bytes]
    ) -> None:
        """Write a summary and participants' parts if the stored summary is `before`; None for `after` removes it."""
        args: list[Any] = ["keep", b"" if before is None else before.position, SPAN_MS, *self._rows_of(session_id)]
        if after is not None:
            args += _fields(after)
            for participant_id, part in parts.items():
                args += (f"p:{participant_id}", part)
        await self._run(self._summary_script, [self.keys.summary(session_id)], args)

    async def drop_summary(self, session_id: str) -> None:
        """Remove a session's summary and the ready rows that were made of it, and break a lease on it."""
        args: list[Any] = ["drop", "", SPAN_MS, *self._rows_of(session_id)]
        await self._run(self._summary_script, [self.keys.summary(session_id)], args)

    async def place(self, participant_id: str, session_id: str, began_ms: int | None) -> None:
        """Put a session into a participant's set, or remove it (None). Trim the set by age and size."""
        args: list[Any] = [session_id, "" if began_ms is None else began_ms, SPAN_MS, self.max_sessions]
        await self._run(self._place_script, [self.keys.participant_sessions(participant_id)], args)

    # -- calls to Redis -----------------------------------------------------------------------------------------------

    def _shares(self, ids: Sequence[str]) -> list[list[str]]:
        """Divide ids by their partitions, and by the number that one script call takes."""
        shares: dict[int, list[str]] = {}
        for each in ids:
            shares.setdefault(self.keys.partition_of(each), []).append(each)
        return [
            share[at : at + _MAX_IDS_PER_CALL]
            for share in shares.values()
            for at in range(0, len(share), _MAX_IDS_PER_CALL)
        ]

    def _rows_of(self, session_id: str) -> tuple[str, str]:
        """Return the arguments by which a script finds the ready rows that were made of a session's summary."""
        return session_id, self.keys.ready_rows_prefix(self.keys.partition_of(session_id))

    async def _run(self, script: LuaScript, names: list[str], args: list[Any]) -> Any:
        with translated_errors():
            return await script(self._pipe, names, args)


def _fields(summary: SessionSummary) -> tuple[bytes, bytes, bytes, bytes]:
    return summary.position, summary.facts, summary.metadata, summary.row_template


def _parse_lookups(
    ids: Sequence[str], rows: bytes, others: Sequence[Sequence[Any]]
) -> dict[str, ReadyRow | CacheLookup]:
    """Return the data by session id. `rows` has a line for each session, empty if its data is in `others`."""
    if not ids:
        return {}
    rest = iter(others)
    return {each: row or _parse_lookup(*next(rest)) for each, row in zip(ids, rows.split(b"\n"), strict=True)}


def _parse_lookup(position: bytes | None, facts: bytes, metadata: bytes, part: bytes | None, *live: Any) -> CacheLookup:
    # Without the tag: lists do not compare documents.
    stored = parse_stored_session((*live, None))
    summary = None if position is None else SessionSummary(position, facts, metadata)
    return CacheLookup(summary, part, None if stored is None else stored.snapshot)
