"""Recent history in Redis: somebody's sessions by when they began, and of each session what lists tell of it.

A participant's set holds session ids of the last 30 days, newest 1,000 at most; a session's digest is what lists tell
of the newest version that Postgres has, whoever asks. Neither is there for people nobody asks about. Each is filled
from Postgres once, under a lease that whoever moves newer versions to Postgres breaks: what was read before they were
there is never kept. What a digest says is the audit's business, here it is bytes.

Of digests in which nothing moves by itself, somebody's rows are made at the first look, and kept in one hash for
everybody who is asked for: a page takes one look at that, and looks at sessions only where something may have changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synckairos.fast_dataclass import fast_dataclass
from synckairos.store.connect import Script, time_ms, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.outbox import isolated_key
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.stored_session import parse_stored_session
from synckairos.wire.snapshot import Snapshot

DAYS = 30
SPAN_MS = DAYS * 86_400_000
"""How far back a set goes, and how long it and a digest outlive their last use."""

MOST = 1_000
"""Sessions in a set; beyond that it goes back less far."""

ROWS_MS = 86_400_000
"""How long somebody's ready rows stay; a digest outlives the rows made of it."""

LONGEST_ROW = 2_048
"""Bytes of a row that is kept ready. With MOST of them, what one participant's may take."""

LEASE_MS = 60_000
TIES = 50
_TOUCH_MS = SPAN_MS - 86_400_000  # once a day is often enough
_AT_ONCE = 5_000

Key = tuple[int, str]
"""A place in a list: when the session began in ms (its creation while it has no start), and its id."""


@fast_dataclass
@dataclass(frozen=True, slots=True)
class SessionSummary:
    """What lists tell of a session: which version `of`, its facts and metadata as JSON.

    Where nothing moves by itself, `still` is all of it, ready but for somebody's part.
    """

    of: bytes
    facts: bytes
    metadata: bytes = b""
    still: bytes = b""


@fast_dataclass
@dataclass(frozen=True, slots=True)
class CacheLookup:
    """A session as a list needs it: its digest with somebody's part in it, and as it is live.

    `live.document` is there where it is of another version than the digest, or runs.
    """

    digest: SessionSummary | None
    part: bytes | None
    live: Snapshot | None


Row = bytes
"""A session in somebody's list, as JSON, where nothing moves by itself."""


@fast_dataclass
@dataclass(frozen=True, slots=True)
class CachedPage:
    """Places of a page, newest first; the set holds everything since `whole_since_ms`. `more` of it lies behind.

    `looked` has their sessions, but for those of other partitions that had to be looked at on their own.
    """

    now_ms: int
    keys: tuple[Key, ...]
    more: bool
    whole_since_ms: int
    looked: Mapping[str, Row | CacheLookup]


class ParticipantSessionStore:
    """Sets and digests. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self.keys = keys
        self._look = Script("recent_look")
        self._known = Script("recent_known")
        self._place = Script("recent_place")
        self._lease = Script("recent_lease")
        self._fill = Script("recent_fill")
        self._keep = Script("recent_keep")

    # -- reading ------------------------------------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """Return Redis TIME."""
        with unavailable_as_named():
            return time_ms(await self._pipe.call("TIME"))

    async def page(self, participant_id: str, before: Key | None, limit: int) -> CachedPage | None:
        """Return up to `limit` places before a key; None where nothing says that the set is whole. One round trip."""
        keys, partition = self.keys, self.keys.partition_of(participant_id)
        names: list[Any] = [keys.digests(partition), keys.sessions(partition), keys.rows(participant_id)]
        names += [keys.outbox(partition), isolated_key(keys, partition), ROWS_MS, SPAN_MS, MOST, LONGEST_ROW]
        top, count = ("+inf", limit + 1) if before is None else (str(before[0]), limit + 1 + TIES)
        while True:
            time, whole, left_ms, found, rows, others = await self._run(
                self._look,
                [keys.recent(participant_id)],
                [participant_id, count, top, *names],
            )
            if whole is None:
                return None
            # Instants are whole numbers, which Redis writes without an exponent.
            pairs = found.decode().split()
            ids = pairs[::2]
            places = list(zip(map(int, pairs[1::2]), ids, strict=True))
            page = places if before is None else [key for key in places if key < before]
            if len(page) > limit or len(places) < count:
                break
            count *= 4  # so many began in the same millisecond
        if left_ms < _TOUCH_MS:
            with unavailable_as_named():
                await self._pipe.call("PEXPIRE", keys.recent(participant_id), SPAN_MS)
        whole_since_ms = -int(float(whole))
        if page and page[-1][0] < whole_since_ms:
            page = [key for key in page if key[0] >= whole_since_ms]
        looked = _looked(ids, rows, others)
        if keys.partitions > 1:
            looked = {each: found for each, found in looked.items() if keys.partition_of(each) == partition}
        return CachedPage(time_ms(time), tuple(page[:limit]), len(page) > limit, whole_since_ms, looked)

    async def placed(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return where those of these sessions stand that are in somebody's set. One round trip."""
        name = self.keys.recent(participant_id)
        with unavailable_as_named():
            scores = await self._pipe.call_many([("ZSCORE", name, each) for each in session_ids])
        pairs = zip(session_ids, scores, strict=True)
        return {each: int(float(score)) for each, score in pairs if score is not None}

    async def look(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, Row | CacheLookup]:
        """Look at sessions for somebody's list: one round trip a partition, all at once."""
        shares = self._shares(session_ids)
        names = (
            [name for each in share for name in (self.keys.digest(each), self.keys.session(each))] for share in shares
        )
        replies = await asyncio.gather(
            *(self._run(self._look, [pairs[0], *pairs], [participant_id, 0]) for pairs in names)
        )
        looked: dict[str, Row | CacheLookup] = {}
        for share, (*_, rows, others) in zip(shares, replies, strict=True):
            looked |= _looked(share, rows, others)
        return looked

    # -- filling ------------------------------------------------------------------------------------------------------

    async def lease_set(self, participant_id: str, token: int) -> bool:
        """Take the lease on filling somebody's set; False where it is there, or somebody else fills it."""
        return bool(await self._run(self._lease, [self.keys.recent(participant_id)], ["set", token, LEASE_MS]))

    async def fill_set(self, participant_id: str, token: int, whole_since_ms: int, keys: Sequence[Key]) -> bool:
        """Fill a set that is whole since an instant; False where the lease was broken."""
        args: list[Any] = [token, SPAN_MS, whole_since_ms]
        for began_ms, session_id in keys:
            args += (began_ms, session_id)
        return bool(await self._run(self._fill, [self.keys.recent(participant_id)], args))

    async def lease_digests(self, session_ids: Sequence[str], token: int) -> None:
        """Take the leases on those of these digests that are missing and that nobody else fills."""
        args = ["digest", token, LEASE_MS]
        await asyncio.gather(*(self._run(self._lease, [self.keys.digest(each)], args) for each in session_ids))

    async def fill_digests(
        self, token: int, participant_id: str, filled: Mapping[str, tuple[SessionSummary, bytes]]
    ) -> None:
        """Keep digests with somebody's parts, where the lease stands; the part alone where the digest is there."""
        field = f"p:{participant_id}"
        keeping = (
            (session_id, [*self._made_of(session_id), *_fields(digest), field, part])
            for session_id, (digest, part) in filled.items()
        )
        await asyncio.gather(
            *(
                self._run(self._keep, [self.keys.digest(session_id)], ["fill", token, SPAN_MS, *args])
                for session_id, args in keeping
            )
        )

    # -- keeping up ---------------------------------------------------------------------------------------------------

    async def known(
        self, session_ids: Sequence[str], participant_ids: Sequence[str]
    ) -> tuple[dict[str, SessionSummary | None], set[str]]:
        """Return what is here of these: digests (None where one is being filled), and people with a set.

        One round trip a partition, all at once.
        """
        keys = self.keys
        digests: dict[str, SessionSummary | None] = {}
        people: set[str] = set()

        async def ask(sessions: Sequence[str], participants: Sequence[str]) -> None:
            names = [*map(keys.digest, sessions), *map(keys.recent, participants)]
            rows: list[list[bytes]] = await self._run(self._known, names, [len(sessions)])
            for at, *digest in rows:
                place = int(at) - 1
                if place >= len(sessions):
                    people.add(participants[place - len(sessions)])
                else:
                    digests[sessions[place]] = SessionSummary(*digest) if digest else None

        asking = [ask(share, ()) for share in self._shares(session_ids)]
        asking += [ask((), share) for share in self._shares(participant_ids)]
        await asyncio.gather(*asking)
        return digests, people

    async def keep(
        self, session_id: str, was: SessionSummary | None, digest: SessionSummary | None, parts: Mapping[str, bytes]
    ) -> None:
        """Put a digest and people's parts in the place of the one that was; without a new one, drop it."""
        args: list[Any] = ["keep", b"" if was is None else was.of, SPAN_MS, *self._made_of(session_id)]
        if digest is not None:
            args += _fields(digest)
            for participant_id, part in parts.items():
                args += (f"p:{participant_id}", part)
        await self._run(self._keep, [self.keys.digest(session_id)], args)

    async def drop(self, session_id: str) -> None:
        """Forget a session's digest and what was made of it, and break the lease of whoever fills it."""
        args: list[Any] = ["drop", "", SPAN_MS, *self._made_of(session_id)]
        await self._run(self._keep, [self.keys.digest(session_id)], args)

    async def place(self, participant_id: str, session_id: str, began_ms: int | None) -> None:
        """Put a session where it belongs in somebody's set, or (None) take it out; trim the set by age and count."""
        args: list[Any] = [session_id, "" if began_ms is None else began_ms, SPAN_MS, MOST]
        await self._run(self._place, [self.keys.recent(participant_id)], args)

    # -- asking -------------------------------------------------------------------------------------------------------

    def _shares(self, ids: Sequence[str]) -> list[list[str]]:
        """Divide ids by their partitions, and into what one script takes at once."""
        shares: dict[int, list[str]] = {}
        for each in ids:
            shares.setdefault(self.keys.partition_of(each), []).append(each)
        return [share[at : at + _AT_ONCE] for share in shares.values() for at in range(0, len(share), _AT_ONCE)]

    def _made_of(self, session_id: str) -> tuple[str, str]:
        """Return what tells a script which ready rows are made of a session's digest."""
        return session_id, self.keys.all_rows(self.keys.partition_of(session_id))

    async def _run(self, script: Script, names: list[str], args: list[Any]) -> Any:
        with unavailable_as_named():
            return await script(self._pipe, names, args)


def _fields(digest: SessionSummary) -> tuple[bytes, bytes, bytes, bytes]:
    return digest.of, digest.facts, digest.metadata, digest.still


def _looked(ids: Sequence[str], rows: bytes, others: Sequence[Sequence[Any]]) -> dict[str, Row | CacheLookup]:
    """Return what was found of these: a line of `rows` each, empty for one of the others."""
    if not ids:
        return {}
    rest = iter(others)
    return {each: row or _moving(*next(rest)) for each, row in zip(ids, rows.split(b"\n"), strict=True)}


def _moving(of: bytes | None, facts: bytes, metadata: bytes, part: bytes | None, *live: Any) -> CacheLookup:
    # Without the tag: nobody here asks whether a document is the one at hand.
    stored = parse_stored_session((*live, None))
    summary = None if of is None else SessionSummary(of, facts, metadata)
    return CacheLookup(summary, part, None if stored is None else stored.snapshot)
