"""Lists of participants' recent sessions in Redis: a set for each participant, and a summary for each session.

The set of a participant has the ids of at most 1,000 sessions of the last 30 days. It is sorted by the instants at
which the sessions began: were started, or were created if they were never started. The summary of a session has the
values that lists show, for the newest version in Postgres. All participants use the same summary. Sets and summaries
exist only after a list was read.

Only the holder of a lease fills a set or a summary from Postgres. A drain that moves newer versions to Postgres breaks
the lease, so that older data is never stored afterwards. This module does not parse the bytes of a summary; the package
`history` does.

If no value in a session changes by time, its row in a participant's list is rendered at the first read and stored as a
ready row. The ready rows of a participant are in one hash. So a page needs one read of that hash, and reads only the
sessions that possibly changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from synckairos.session_names import bare_id, in_same_tenant
from synckairos.store.keys import Keys
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from synckairos.store.stored_session import parse_stored_session
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.snapshot import SessionSnapshot

DAYS = 30
SPAN_MS = DAYS * 86_400_000
"""Milliseconds that a set reaches back. Also the milliseconds that a set or summary stays after its last use."""

MAX_SESSIONS = 1_000
"""Maximum number of sessions in a set. If a participant has more sessions, the set reaches back less far."""

READY_ROWS_TTL_MS = 86_400_000
"""Milliseconds that the ready rows of a participant stay in Redis. Summaries stay longer than their ready rows."""

MAX_READY_ROW_BYTES = 2_048
"""Bytes: a longer ready row is not stored. With MAX_SESSIONS this limits the memory for one participant."""

LEASE_MS = 60_000
"""Milliseconds that a lease on filling a set or a summary lasts."""

MAX_TIES = 50
"""Number of sessions beyond a page that are also read, because they can have begun in the same millisecond."""

_TOUCH_MS = SPAN_MS - 86_400_000  # it is enough to extend the TTL of a set once a day
_MAX_IDS_PER_CALL = 5_000

ListKey = tuple[int, str]
"""The sort key of a session in a list: the ms since the Unix epoch at which it began, and its id.

A session that was never started began when it was created.
"""

RenderedRow = bytes
"""The JSON of a session's row in a participant's list. It is stored only if no value in it changes by time."""


class SessionSummary(Struct, frozen=True):
    """The values of a session that lists show: `position` (`<epoch> <version>`), facts and metadata as JSON.

    `row_template` is the row without the two numbers of one participant: used time and number of turns. The template
    is empty if a value in the row changes by time.
    """

    position: bytes
    facts: bytes
    metadata: bytes = b""
    row_template: bytes = b""


class ListRowParts(Struct, frozen=True):
    """The cached data of a session for one participant's list.

    `summary` is None if no summary is cached. `part` has the used time in ms and the number of turns of the
    participant, None if these two numbers are not cached. `live` is the snapshot of the session in Redis, None if Redis
    does not have the session. The snapshot has an empty document if its version is the version of the summary and the
    session does not have the status `running`.
    """

    summary: SessionSummary | None
    part: bytes | None
    live: SessionSnapshot | None


class CachedPage(Struct, frozen=True):
    """One page of a participant's set, newest session first.

    `keys` are the sort keys of the sessions. The set has all sessions that began at or after `complete_since_ms`.
    `has_more` is True if the set has older sessions than the page. `lookups` has the cached data of the sessions by
    session id, except sessions of other partitions. Instants are in ms since the Unix epoch.
    """

    now_ms: int
    keys: tuple[ListKey, ...]
    has_more: bool
    complete_since_ms: int
    lookups: Mapping[str, RenderedRow | ListRowParts]


class ParticipantSessionStore:
    """Sets, summaries and ready rows in Redis. All methods raise StoreUnavailable if Redis does not answer.

    Participants are given by their names in their tenants. All sessions in the list of a participant are of the same
    tenant. So methods for a participant take and return the bare ids of its sessions. The members of the set in Redis
    are session names.
    """

    def __init__(self, pipe: RedisPipe, keys: Keys, max_sessions: int = MAX_SESSIONS) -> None:
        self._pipe = pipe
        self.keys = keys
        self.max_sessions = max_sessions
        self._page_script = LuaScript("participant_sessions_page")
        self._find_script = LuaScript("session_list_caches_existing")
        self._place_script = LuaScript("participant_sessions_place", allow_oom=True)
        self._lease_script = LuaScript("participant_sessions_lease")
        self._fill_script = LuaScript("participant_sessions_fill")
        self._summary_script = LuaScript("session_summary_write", allow_oom=True)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """Return the time of Redis in ms since the Unix epoch."""
        with translated_errors():
            return parse_time_ms(await self._pipe.call("TIME"))

    async def load_cached_page(self, participant_name: str, before: ListKey | None, limit: int) -> CachedPage | None:
        """Return at most `limit` sessions of a participant's set, newest first.

        The sessions are older than the sort key `before`. If `before` is None, the page begins with the newest session.
        Returns None if the set does not exist or is not filled yet. One round trip, more if many sessions began in the
        same millisecond.
        """
        keys, partition = self.keys, self.keys.partition_of(participant_name)
        fixed: list[Any] = [
            *(keys.summary_prefix(partition), keys.session_prefix(partition), keys.rendered_rows(participant_name)),
            *(keys.outbox(partition), keys.failed_entries(partition)),
            *(READY_ROWS_TTL_MS, SPAN_MS, self.max_sessions, MAX_READY_ROW_BYTES),
        ]
        top, count = ("+inf", limit + 1) if before is None else (str(before[0]), limit + 1 + MAX_TIES)
        while True:
            time, complete, ttl_ms, members, rows, others = await self._run(
                self._page_script,
                [keys.participant_sessions(participant_name)],
                [participant_name, count, top, *fixed],
            )
            if complete is None:
                return None
            # Instants are whole numbers, which Redis writes without an exponent.
            with reporting_invalid_data(keys.participant_sessions(participant_name)):
                pairs = members.decode().split()
                ids = [*map(bare_id, pairs[::2])]
                found = list(zip(map(int, pairs[1::2]), ids, strict=True))
            page = found if before is None else [key for key in found if key < before]
            if len(page) > limit or len(found) < count:
                break
            count *= 4  # all sessions that were read began in the same millisecond
        if ttl_ms < _TOUCH_MS:
            with translated_errors():
                await self._pipe.call("PEXPIRE", keys.participant_sessions(participant_name), SPAN_MS)
        with reporting_invalid_data(keys.participant_sessions(participant_name)):
            complete_since_ms = -int(float(complete))
        if page and page[-1][0] < complete_since_ms:
            page = [key for key in page if key[0] >= complete_since_ms]
        with reporting_invalid_data(keys.rendered_rows(participant_name)):
            lookups = _parse_lookups(ids, rows, others)
        if keys.partitions > 1:
            lookups = {
                each: lookup
                for each, lookup in lookups.items()
                if keys.partition_of(in_same_tenant(participant_name, each)) == partition
            }
        return CachedPage(parse_time_ms(time), tuple(page[:limit]), len(page) > limit, complete_since_ms, lookups)

    async def load_cached_start_times(self, participant_name: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return the instant at which each session began, in ms since the Unix epoch, by session id. One round trip.

        The result has only those of `session_ids` that are in the participant's set.
        """
        name = self.keys.participant_sessions(participant_name)
        with translated_errors():
            scores = await self._pipe.call_many(
                [("ZSCORE", name, in_same_tenant(participant_name, each)) for each in session_ids]
            )
        pairs = zip(session_ids, scores, strict=True)
        return {each: int(float(score)) for each, score in pairs if score is not None}

    async def load_list_rows(
        self, participant_name: str, session_ids: Sequence[str]
    ) -> dict[str, RenderedRow | ListRowParts]:
        """Return the cached data of sessions for a participant's list, by session id.

        The result has an item for each of `session_ids`. One round trip for each partition, all at the same time.
        """
        shares = self._shares([in_same_tenant(participant_name, each) for each in session_ids])
        names = (
            [name for each in share for name in (self.keys.summary(each), self.keys.session(each))] for share in shares
        )
        replies = await asyncio.gather(
            *(self._run(self._page_script, [pairs[0], *pairs], [participant_name, 0]) for pairs in names)
        )
        lookups: dict[str, RenderedRow | ListRowParts] = {}
        for share, (*_, rows, others) in zip(shares, replies, strict=True):
            with reporting_invalid_data(self.keys.summary(share[0])):
                lookups |= _parse_lookups([*map(bare_id, share)], rows, others)
        return lookups

    async def discard_invalid_caches(self, session_names: Sequence[str], participant_names: Sequence[str]) -> None:
        """Remove summaries of sessions, and sets and ready rows of participants, because their data is invalid.

        A later read fills the removed caches from Postgres again. One round trip.
        """
        keys = self.keys
        names = [*map(keys.summary, session_names), *map(keys.participant_sessions, participant_names)]
        names += map(keys.rendered_rows, participant_names)
        with translated_errors():
            await self._pipe.call_many([("UNLINK", name) for name in names])

    # -- filling from Postgres ----------------------------------------------------------------------------------------

    async def acquire_list_lease(self, participant_name: str, token: int) -> bool:
        """Take the lease on filling a participant's set, for the holder `token`.

        Return False if the set exists or if another holder has the lease, otherwise True.
        """
        name = self.keys.participant_sessions(participant_name)
        return bool(await self._run(self._lease_script, [name], ["set", token, LEASE_MS]))

    async def fill_list(
        self, participant_name: str, token: int, complete_since_ms: int, keys: Sequence[ListKey]
    ) -> bool:
        """Fill a participant's set with the sessions `keys`, if `token` still has the lease.

        `keys` must have all sessions of the participant that began at or after `complete_since_ms`, in ms since the
        Unix epoch. Return False if the lease was broken; nothing was written then.
        """
        args: list[Any] = [token, SPAN_MS, complete_since_ms]
        for began_ms, session_id in keys:
            args += (began_ms, in_same_tenant(participant_name, session_id))
        return bool(await self._run(self._fill_script, [self.keys.participant_sessions(participant_name)], args))

    async def acquire_summary_leases(self, participant_name: str, session_ids: Sequence[str], token: int) -> None:
        """Take the leases on filling the summaries of sessions in a participant's list, for the holder `token`.

        A summary that exists, or whose lease another holder has, is skipped. `fill_summaries` with the same token
        writes only the summaries whose lease was taken.
        """
        args = ["digest", token, LEASE_MS]
        names = [self.keys.summary(in_same_tenant(participant_name, each)) for each in session_ids]
        await asyncio.gather(*(self._run(self._lease_script, [each], args) for each in names))

    async def fill_summaries(
        self, token: int, participant_name: str, filled: Mapping[str, tuple[SessionSummary, bytes]]
    ) -> None:
        """Write the summary and the participant's part for each session of `filled` whose lease `token` still has.

        If a summary with the same position exists, only the participant's part is written. In all other cases the
        session is skipped.
        """
        field = f"p:{participant_name}"
        named = {in_same_tenant(participant_name, session_id): values for session_id, values in filled.items()}
        writes = (
            (name, [*self._rows_of(name), *_fields(summary), field, part]) for name, (summary, part) in named.items()
        )
        await asyncio.gather(
            *(
                self._run(self._summary_script, [self.keys.summary(name)], ["fill", token, SPAN_MS, *args])
                for name, args in writes
            )
        )

    # -- refreshing after a drain -------------------------------------------------------------------------------------

    async def find_existing_caches(
        self, session_names: Sequence[str], participant_names: Sequence[str]
    ) -> tuple[dict[str, SessionSummary | None], set[str]]:
        """Return the summaries that Redis has, by session name, and the names of the participants that have a set.

        Sessions without a summary are not in the result. The value is None if the summary is being filled at the
        moment. One round trip for each partition, all at the same time.
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

        searches = [find(share, ()) for share in self._shares(session_names)]
        searches += [find((), share) for share in self._shares(participant_names)]
        await asyncio.gather(*searches)
        return summaries, with_set

    async def replace_summary(
        self, session_name: str, before: SessionSummary | None, after: SessionSummary | None, parts: Mapping[str, bytes]
    ) -> None:
        """Replace the summary `before` by `after` with participants' parts, if Redis still has `before`.

        The positions of the summaries are compared. If `before` is None, Redis must have no filled summary; a lease on
        filling the summary is broken. If `after` is None, the summary is removed. If Redis has another position,
        nothing changes. `parts` has the part of each participant by participant name.
        """
        args: list[Any] = ["keep", b"" if before is None else before.position, SPAN_MS, *self._rows_of(session_name)]
        if after is not None:
            args += _fields(after)
            for participant_name, part in parts.items():
                args += (f"p:{participant_name}", part)
        await self._run(self._summary_script, [self.keys.summary(session_name)], args)

    async def drop_summary(self, session_name: str) -> None:
        """Remove a session's summary and the ready rows that were rendered from the summary.

        If the summary is being filled, the lease on filling it is broken.
        """
        args: list[Any] = ["drop", "", SPAN_MS, *self._rows_of(session_name)]
        await self._run(self._summary_script, [self.keys.summary(session_name)], args)

    async def set_list_position(self, participant_name: str, session_name: str, began_ms: int | None) -> None:
        """Add a session to a participant's set, or remove the session from the set if `began_ms` is None.

        `began_ms` is the instant at which the session began, in ms since the Unix epoch. The call also removes the
        sessions that exceed the maximum age and number. A set that does not exist is not created. If the set is being
        filled, its lease is broken instead.
        """
        args: list[Any] = [session_name, "" if began_ms is None else began_ms, SPAN_MS, self.max_sessions]
        await self._run(self._place_script, [self.keys.participant_sessions(participant_name)], args)

    # -- calls to Redis -----------------------------------------------------------------------------------------------

    def _shares(self, names: Sequence[str]) -> list[list[str]]:
        """Return the names in lists: each list has names of one partition, for one script call."""
        shares: dict[int, list[str]] = {}
        for each in names:
            shares.setdefault(self.keys.partition_of(each), []).append(each)
        return [
            share[at : at + _MAX_IDS_PER_CALL]
            for share in shares.values()
            for at in range(0, len(share), _MAX_IDS_PER_CALL)
        ]

    def _rows_of(self, session_name: str) -> tuple[str, str]:
        """Return the script arguments for finding the ready rows that were rendered from a session's summary."""
        return session_name, self.keys.rendered_rows_prefix(self.keys.partition_of(session_name))

    async def _run(self, script: LuaScript, names: list[str], args: list[Any]) -> Any:
        with translated_errors():
            return await script(self._pipe, names, args)


def _fields(summary: SessionSummary) -> tuple[bytes, bytes, bytes, bytes]:
    return summary.position, summary.facts, summary.metadata, summary.row_template


class _Row(Struct, frozen=True):
    session_id: str


_decode_row = Decoder(_Row).decode


def _parse_lookups(
    ids: Sequence[str], rows: bytes, others: Sequence[Sequence[Any]]
) -> dict[str, RenderedRow | ListRowParts]:
    """Return the cached data by session id.

    `rows` has a line for each session. The line is empty if the data of the session is in `others`.
    """
    if not ids:
        return {}
    rest = iter(others)
    lookups: dict[str, RenderedRow | ListRowParts] = {}
    for each, row in zip(ids, rows.split(b"\n"), strict=True):
        if row and _decode_row(row).session_id != each:
            raise ValueError("a ready row is of another session")
        lookups[each] = row or _parse_lookup(*next(rest))
    return lookups


def _parse_lookup(
    position: bytes | None, facts: bytes, metadata: bytes, part: bytes | None, *live: Any
) -> ListRowParts:
    # The tag is not read, because lists do not compare documents.
    stored = parse_stored_session((*live, None))
    summary = None if position is None else SessionSummary(position, facts, metadata)
    return ListRowParts(summary, part, None if stored is None else stored.snapshot)
