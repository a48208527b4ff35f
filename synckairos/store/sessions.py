"""Sessions in Redis: load and commit, one round trip each, and the small reads beside them.

Knows stored bytes, not rules: what a transition means is the clock's business, what to do about a conflict the
service's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synckairos.errors import BacklogFull
from synckairos.fast_dataclass import fast_dataclass
from synckairos.store.connect import Script, ScriptCall, time_ms, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.outbox_limits import UNBOUNDED, OutboxLimits
from synckairos.store.rate_limits import RateMeter, call_with_limits, refund
from synckairos.store.shared_connection import Command, RedisPipe
from synckairos.store.stored_session import FIELDS, LoadedSession, StoredSession, parse_history, parse_stored_session
from synckairos.telemetry.metrics import BACKLOG_REFUSALS
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.session_json import DOCUMENT_SCHEMA
from synckairos.wire.snapshot import Snapshot

LARGE = 8_192
"""Bytes of a document from which on it pays to ask whether it is another one than the one at hand."""

HISTORY_BYTES = 1 << 20
"""What one session's history may weigh where all its versions are large ones: then it keeps fewer than
`history_length`, never under two."""

TIES = 500
"""Sessions created in the same millisecond that a page of live ones looks past."""

_NO_BOUNDS = UNBOUNDED.arguments()


@fast_dataclass
@dataclass(frozen=True, slots=True)
class VersionStep:
    """One version to commit: its audit event (JSON) and its feed message, which carries the document."""

    event: bytes
    message: FeedMessage


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Commit:
    """What to commit on top of `base` (None: no session there). Without steps only the command's record is kept.

    `due_ms` is when time itself acts next, `live_since_ms` the creation instant of a session that isn't final. What
    only time brings about, `by_time`, is taken on however much waits in the outbox.
    """

    session_id: str
    base: Snapshot | None
    steps: Sequence[VersionStep] = ()
    status: str = ""
    due_ms: int | None = None
    live_since_ms: int | None = None
    command_id: str | None = None
    record: bytes = b""
    by_time: bool = False


@dataclass(frozen=True, slots=True)
class EvictedSession:
    """A session to bring back as it was; Redis may let it go again after `ttl_ms`."""

    stored: StoredSession
    status: str
    live_since_ms: int | None
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Committed:
    pass


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """The command id was decided before; `record` says how."""

    record: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody else committed first: the winner and the instant, so that deciding again needs no reload."""

    now_ms: int
    stored: StoredSession | None


class SessionStore:
    """Session state in Redis. Every method raises StoreUnavailable where Redis doesn't answer in time."""

    def __init__(self, pipe: RedisPipe, keys: Keys, history_length: int, bounds: OutboxLimits = UNBOUNDED) -> None:
        self._pipe = pipe
        self.keys = keys
        self._history_length = history_length
        self._bounds = bounds.arguments()
        self._load = Script("load")
        self._commit = Script("commit")
        self._restore = Script("restore")

    async def now_ms(self) -> int:
        """Return Redis TIME, the only clock that decides anything."""
        with unavailable_as_named():
            return time_ms(await self._pipe.call("TIME"))

    async def load(
        self,
        session_id: str,
        command_id: str | None = None,
        meter: RateMeter | None = None,
        held: Snapshot | None = None,
    ) -> LoadedSession:
        """Load a session, the instant and a command's record, and count the request, in one round trip.

        The document of a large session comes along only where it isn't the one `held` already. A request that has a
        record is a replay and free, which takes a second round trip. Raises RateLimitExceeded.
        """
        commands: list[Command] = [("TIME",), self._loading(session_id, held)]
        if command_id is not None:
            commands.append(("HGET", self.keys.commands(session_id), command_id))
        uncounted = len(commands)
        if meter is not None:
            commands += meter.count_commands(self.keys)
        with unavailable_as_named():
            replies = await call_with_limits(self._pipe, commands, self._load)
        record = replies[2] if command_id is not None else None
        if meter is not None:
            if record is None:
                meter.record(replies[uncounted:])
                meter.raise_if_exceeded()
            else:
                await refund(self._pipe, self.keys, meter)
        return LoadedSession(time_ms(replies[0]), parse_stored_session(replies[1], held), record)

    def _loading(self, session_id: str, held: Snapshot | None) -> Command:
        key = self.keys.session(session_id)
        if held is None or not held.tag or len(held.document) < LARGE:
            return ("HMGET", key, *FIELDS)
        return ("EVALSHA", self._load.sha, 1, key, held.tag, held.version, *FIELDS)

    async def commit(self, commit: Commit) -> Committed | AlreadyDecided | Conflict:
        """Commit atomically, in one round trip: all steps and the record, or nothing.

        Raises:
            BacklogFull: nothing was committed, because too much waits in the outbox.
            StoreUnavailable: no answer came, so whether it happened isn't known; a command id makes asking again safe.
        """
        with unavailable_as_named():
            return _outcome_of(await self._commit(self._pipe, *self._call(commit)))

    async def commit_all(self, commits: Sequence[Commit]) -> list[Committed | AlreadyDecided | Conflict]:
        """Commit several, each by itself and atomically, in one round trip for all. Raises as `commit` does."""
        with unavailable_as_named():
            replies = await self._commit.many(self._pipe, [self._call(commit) for commit in commits])
        return [_outcome_of(reply) for reply in replies]

    def _call(self, commit: Commit) -> ScriptCall:
        """Return the keys and arguments of the script that commits."""
        keys, session_id = self.keys, commit.session_id
        partition = keys.partition_of(session_id)
        names = [
            keys.session(session_id),
            keys.history(session_id),
            keys.commands(session_id),
            keys.deadlines(partition),
            keys.outbox(partition),
            keys.live(partition),
            keys.outbox_bytes(partition),
        ]
        base = commit.base
        last = commit.steps[-1].message.snapshot if commit.steps else None
        args: list[Any] = [
            session_id,
            base.epoch if base else "",
            base.version if base else "",
            base.tag if base else "",
            commit.command_id or "",
            commit.record,
            DOCUMENT_SCHEMA,
            last.epoch if last else "",
            commit.status,
            int(last.deleted) if last else 0,
            "" if commit.due_ms is None else commit.due_ms,
            self._versions_kept(commit),
            keys.feed(session_id),
            keys.wake,
            "" if commit.live_since_ms is None else commit.live_since_ms,
            *(_NO_BOUNDS if commit.by_time else self._bounds),
        ]
        for step in commit.steps:
            message = step.message
            args += (message.snapshot.version, message.snapshot.tag, step.event, message.render_header(), message.body)
        return names, args

    def _versions_kept(self, commit: Commit) -> int:
        # What is kept of a version is the way back from it: as long as its splices, or all of the document before.
        size, before = 1, commit.base.document if commit.base else b""
        for step in commit.steps:
            size = max(size, len(step.message.body if step.message.change else before))
            before = step.message.snapshot.document
        return max(2, min(self._history_length, HISTORY_BYTES // size))

    async def restore(self, session_id: str, lost: EvictedSession, records: dict[str, bytes]) -> LoadedSession:
        """Bring an evicted session back as it was, unless one is there; return what is there now. One round trip."""
        keys, snapshot = self.keys, lost.stored.snapshot
        partition = keys.partition_of(session_id)
        names = [keys.session(session_id), keys.commands(session_id), keys.deadlines(partition), keys.live(partition)]
        args: list[Any] = [
            session_id,
            DOCUMENT_SCHEMA,
            lost.stored.snapshot.epoch,
            lost.stored.snapshot.version,
            lost.status,
            int(snapshot.deleted),
            "" if lost.stored.due_ms is None else lost.stored.due_ms,
            snapshot.document,
            "" if lost.live_since_ms is None else lost.live_since_ms,
            lost.ttl_ms,
        ]
        for command_id, record in records.items():
            args += (command_id, record)
        with unavailable_as_named():
            reply: list[Any] = await self._restore(self._pipe, names, args)
        return LoadedSession(time_ms(reply[:2]), parse_stored_session(reply[2:]))

    async def remember(self, session_id: str, records: Mapping[str, bytes]) -> None:
        """Keep what was decided for command ids, beside what is known already. One round trip."""
        key = self.keys.commands(session_id)
        with unavailable_as_named():
            await self._pipe.call_many([("HSETNX", key, *pair) for pair in records.items()])

    async def history(self, session_id: str) -> Iterator[FeedMessage]:
        """Return the last versions that Redis still holds, newest first, each made when asked for. One round trip."""
        with unavailable_as_named():
            fields, kept = await self._pipe.call_many(
                [
                    ("HMGET", self.keys.session(session_id), *FIELDS),
                    ("LRANGE", self.keys.history(session_id), 0, -1),
                ]
            )
        stored = parse_stored_session(fields)
        return parse_history(None if stored is None else stored.snapshot, kept)

    async def reserve(self, command_id: str, value: str, ttl_s: int) -> str | None:
        """Keep what a key stands for that belongs to no session (yet), the first time; return what it stood for.

        One round trip.
        """
        with unavailable_as_named():
            key = self.keys.reserved(command_id)
            before: bytes | None = await self._pipe.call("SET", key, value, "NX", "GET", "EX", ttl_s)
        return None if before is None else before.decode()

    async def live_count(self) -> int:
        """Return how many sessions aren't final, in one round trip."""
        partitions = range(self.keys.partitions)
        with unavailable_as_named():
            return sum(await self._pipe.call_many([("ZCARD", self.keys.live(p)) for p in partitions]))

    async def live(self, limit: int, before: tuple[int, str] | None = None) -> list[tuple[int, str, StoredSession]]:
        """Return up to `limit` sessions that aren't final, newest first: (created_at_ms, session id, as stored).

        `before` is the last one's key of the page before. Fewer than `limit` only at the end. Two round trips, two
        more where Redis gave sessions of the page back to Postgres: those are taken off the list.
        """
        found: list[tuple[int, str, StoredSession]] = []
        while len(found) < limit and (keys := await self._live_keys(limit - len(found), before)):
            before = keys[-1]
            with unavailable_as_named():
                rows = await self._pipe.call_many([("HMGET", self.keys.session(sid), *FIELDS) for _, sid in keys])
            stored = [
                (at_ms, session_id, parse_stored_session(row))
                for (at_ms, session_id), row in zip(keys, rows, strict=True)
            ]
            found += [(at_ms, session_id, session) for at_ms, session_id, session in stored if session is not None]
            await self._forget_live([session_id for _, session_id, session in stored if session is None])
        return found

    async def _live_keys(self, limit: int, before: tuple[int, str] | None) -> list[tuple[int, str]]:
        """Return up to `limit` keys (created_at_ms, session id) of the list, newest first."""
        top = "+inf" if before is None else str(before[0])
        page_of = ("-inf", "WITHSCORES", "LIMIT", 0, limit + TIES)
        with unavailable_as_named():
            replies: list[list[bytes]] = await self._pipe.call_many(
                [("ZREVRANGEBYSCORE", self.keys.live(p), top, *page_of) for p in range(self.keys.partitions)]
            )
        found = [(int(float(reply[at + 1])), reply[at].decode()) for reply in replies for at in range(0, len(reply), 2)]
        return sorted((key for key in found if before is None or key < before), reverse=True)[:limit]

    async def _forget_live(self, session_ids: Sequence[str]) -> None:
        """Take sessions off the list that Redis let go; what brings one back puts it on again."""
        partition_of = self.keys.partition_of
        with unavailable_as_named():
            await self._pipe.call_many([("ZREM", self.keys.live(partition_of(sid)), sid) for sid in session_ids])


def _outcome_of(reply: list[Any]) -> Committed | AlreadyDecided | Conflict:
    """Return what the script that commits says. Raises BacklogFull."""
    match reply[0]:
        case b"ok":
            return Committed()
        case b"replay":
            return AlreadyDecided(reply[1])
        case b"full":
            BACKLOG_REFUSALS.inc()
            raise BacklogFull(reply[1].decode())
        case _:
            return Conflict(time_ms(reply[1:3]), parse_stored_session(reply[3:]))
