"""Recent history in Redis: somebody's sessions by when they began, and of each session what lists tell of it.

A participant's set holds session ids of the last 30 days, newest 1,000 at most; a session's digest is what lists tell
of the newest version that Postgres has, whoever asks. Neither is there for people nobody asks about. Each is filled
from Postgres once, under a lease that whoever moves newer versions to Postgres breaks: what was read before they were
there is never kept. What a digest says is the audit's business, here it is bytes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synckairos.quick import quick
from synckairos.store.keys import Keys
from synckairos.store.pipe import RedisPipe
from synckairos.store.redis import Script, unavailable_as_named
from synckairos.store.sessions import Stored, ms_of, stored_of

DAYS = 30
SPAN_MS = DAYS * 86_400_000
"""How far back a set goes, and how long it and a digest outlive their last use."""

MOST = 1_000
"""Sessions in a set; beyond that it goes back less far."""

LEASE_MS = 60_000
TIES = 50
_TOUCH_MS = SPAN_MS - 86_400_000  # once a day is often enough
_AT_ONCE = 5_000

Key = tuple[int, str]
"""A place in a list: when the session began in ms (its creation while it has no start), and its id."""


@quick
@dataclass(frozen=True, slots=True)
class Digest:
    """What lists tell of a session: which version `of`, its facts and metadata as JSON.

    Where nothing moves by itself, `still` is all of it, ready but for somebody's part.
    """

    of: bytes
    facts: bytes
    metadata: bytes = b""
    still: bytes = b""


@quick
@dataclass(frozen=True, slots=True)
class Looked:
    """A session as a list needs it: what stands `still`, with somebody's part in it; or its digest, and as it is live.

    `live.document` is there where it is of another version than the digest, or runs.
    """

    still: bytes
    part: bytes | None
    digest: Digest | None = None
    live: Stored | None = None


@quick
@dataclass(frozen=True, slots=True)
class RecentPage:
    """Places of a page, newest first; the set holds everything since `whole_since_ms`. `more` of it lies behind.

    `looked` has their sessions, but for those of other partitions that had to be looked at on their own.
    """

    now_ms: int
    keys: tuple[Key, ...]
    more: bool
    whole_since_ms: int
    looked: Mapping[str, Looked]


class RecentStore:
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
            return ms_of(await self._pipe.call("TIME"))

    async def page(self, participant_id: str, before: Key | None, limit: int) -> RecentPage | None:
        """Return up to `limit` places before a key; None where nothing says that the set is whole. One round trip."""
        keys, partition = self.keys, self.keys.partition_of(participant_id)
        top, count = ("+inf", limit + 1) if before is None else (str(before[0]), limit + 1 + TIES)
        while True:
            time, whole, left_ms, found, rows = await self._run(
                self._look,
                [keys.recent(participant_id)],
                [participant_id, count, top, keys.digests(partition), keys.sessions(partition)],
            )
            if whole is None:
                return None
            places = [(int(float(found[at + 1])), found[at].decode()) for at in range(0, len(found), 2)]
            page = places if before is None else [key for key in places if key < before]
            if len(page) > limit or len(places) < count:
                break
            count *= 4  # so many began in the same millisecond
        if left_ms < _TOUCH_MS:
            with unavailable_as_named():
                await self._pipe.call("PEXPIRE", keys.recent(participant_id), SPAN_MS)
        whole_since_ms = -int(float(whole))
        page = [key for key in page if key[0] >= whole_since_ms]
        looked = {
            session_id: _looked(row)
            for (_, session_id), row in zip(places, rows, strict=True)
            if keys.partitions == 1 or keys.partition_of(session_id) == partition
        }
        return RecentPage(ms_of(time), tuple(page[:limit]), len(page) > limit, whole_since_ms, looked)

    async def placed(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return where those of these sessions stand that are in somebody's set. One round trip."""
        name = self.keys.recent(participant_id)
        with unavailable_as_named():
            scores = await self._pipe.call_many([("ZSCORE", name, each) for each in session_ids])
        pairs = zip(session_ids, scores, strict=True)
        return {each: int(float(score)) for each, score in pairs if score is not None}

    async def look(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, Looked]:
        """Look at sessions for somebody's list: one round trip a partition, all at once."""
        shares = self._shares(session_ids)
        names = (
            [name for each in share for name in (self.keys.digest(each), self.keys.session(each))] for share in shares
        )
        replies = await asyncio.gather(
            *(self._run(self._look, [pairs[0], *pairs], [participant_id, 0, "", "", ""]) for pairs in names)
        )
        return {
            session_id: _looked(row)
            for share, (*_, rows) in zip(shares, replies, strict=True)
            for session_id, row in zip(share, rows, strict=True)
        }

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

    async def fill_digests(self, token: int, participant_id: str, filled: Mapping[str, tuple[Digest, bytes]]) -> None:
        """Keep digests with somebody's parts, where the lease stands; the part alone where the digest is there."""
        field = f"p:{participant_id}"
        keeping = (
            (session_id, [digest.of, digest.facts, digest.metadata, digest.still, field, part])
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
    ) -> tuple[dict[str, Digest | None], set[str]]:
        """Return what is here of these: digests (None where one is being filled), and people with a set.

        One round trip a partition, all at once.
        """
        keys = self.keys
        digests: dict[str, Digest | None] = {}
        people: set[str] = set()

        async def ask(sessions: Sequence[str], participants: Sequence[str]) -> None:
            names = [*map(keys.digest, sessions), *map(keys.recent, participants)]
            rows: list[list[bytes]] = await self._run(self._known, names, [len(sessions)])
            for at, *digest in rows:
                place = int(at) - 1
                if place >= len(sessions):
                    people.add(participants[place - len(sessions)])
                else:
                    digests[sessions[place]] = Digest(*digest) if digest else None

        asking = [ask(share, ()) for share in self._shares(session_ids)]
        asking += [ask((), share) for share in self._shares(participant_ids)]
        await asyncio.gather(*asking)
        return digests, people

    async def keep(
        self, session_id: str, was: Digest | None, digest: Digest | None, parts: Mapping[str, bytes]
    ) -> None:
        """Put a digest and people's parts in the place of the one that was; without a new one, drop it."""
        args: list[Any] = ["keep", b"" if was is None else was.of, SPAN_MS]
        if digest is not None:
            args += (digest.of, digest.facts, digest.metadata, digest.still)
            for participant_id, part in parts.items():
                args += (f"p:{participant_id}", part)
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

    async def _run(self, script: Script, names: list[str], args: list[Any]) -> Any:
        with unavailable_as_named():
            return await script(self._pipe, names, args)


def _looked(row: Sequence[Any]) -> Looked:
    if len(row) == 2:
        return Looked(row[0], row[1])
    of, facts, metadata, part = row[:4]
    digest = None if of is None else Digest(of, facts, metadata)
    # Without the tag: nobody here asks whether a document is the one at hand.
    return Looked(b"", part, digest, stored_of((*row[4:], None)))
