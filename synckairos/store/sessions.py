"""Sessions in Redis: loading, committing and restoring sessions.

A load and a commit take one round trip each. This module stores bytes and does not apply rules. The package `clock`
decides what a transition does. The package `service` decides what to do after a conflict.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from synckairos.frozen_replace import replace
from synckairos.session_names import split_session_name
from synckairos.store.commit_script import (
    Commit,
    CommitConflict,
    CommitOutcome,
    CommitScript,
    Committed,
    OutboxTenants,
)
from synckairos.store.history_format import HistoryFormat
from synckairos.store.keys import Keys
from synckairos.store.known_versions import KnownVersion, KnownVersions
from synckairos.store.live_sessions import LiveSessions
from synckairos.store.lua_scripts import LuaScript
from synckairos.store.outbox_limits import UNLIMITED, OutboxLimits
from synckairos.store.rate_limits import recount_as_replay_with_pipe, run_script_commands
from synckairos.store.rate_meter import RateMeter
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisCommand, RedisPipe, parse_time_ms, raise_if_invalid_data
from synckairos.store.store_format import has_newer_format
from synckairos.store.stored_session import (
    SESSION_FIELDS,
    SessionLoadResult,
    StoredSession,
    parse_history,
    parse_stored_session,
)
from synckairos.telemetry.invalid_data import PARSE_ERRORS, reporting_invalid_data
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.history_walk_back import read_stored_position
from synckairos.wire.session_json import DOCUMENT_SCHEMA
from synckairos.wire.snapshot import SessionSnapshot

LARGE_DOCUMENT_BYTES = 8_192
"""Bytes: minimum size of a document for which Redis is asked whether the caller already has the same document."""

WRITE_CHECK_TTL_MS = 60_000
"""Milliseconds after which the key of the check whether Redis accepts writes expires."""


class SessionToRestore(Struct, frozen=True):
    """A session to restore unchanged. Redis can evict the session again after `ttl_ms` milliseconds.

    `live_since_ms` is the creation instant of the session, None if the session has ended.
    """

    stored: StoredSession
    status: str
    live_since_ms: int | None
    ttl_ms: int


class SessionStore:
    """Sessions in Redis. All methods raise StoreUnavailable if Redis does not answer in time."""

    def __init__(
        self,
        pipe: RedisPipe,
        keys: Keys,
        history_length: int,
        limits: OutboxLimits = UNLIMITED,
        *,
        writes_changes: bool = True,
    ) -> None:
        """Create the store of sessions for the connection `pipe`.

        `history_length` is the maximum number of versions in a session's version history. `limits` are the outbox
        limits of one partition. `writes_changes` is described in `CommitScript`.
        """
        self._pipe = pipe
        self.keys = keys
        self._history_length = history_length
        self._commit_script = CommitScript(
            keys, history_length, limits, writes_changes=writes_changes, is_cluster=pipe.is_cluster
        )
        self._load_script = LuaScript("session_load", uses_one_key=True)
        self._restore_script = LuaScript("session_restore")
        self.live = LiveSessions(pipe, keys)
        self.known = KnownVersions()

    @property
    def history_format(self) -> HistoryFormat:
        """Return the format in which commits write messages of the version history."""
        return self._commit_script.history_format

    def use_tenants(self, tenants: OutboxTenants) -> None:
        """Let commits keep the shares of tenants in the outbox from now on."""
        self._commit_script.use_tenants(tenants)

    async def now_ms(self, session_name: str | None = None) -> int:
        """Return the time of Redis in ms since the Unix epoch. All decisions use this clock only.

        In a Redis Cluster it is the time of the node that has the session `session_name`.
        """
        with translated_errors():
            if session_name is None or not self._pipe.is_cluster:
                return parse_time_ms(await self._pipe.call("TIME"))
            time, _ = await self._pipe.call_many((("TIME",), ("EXISTS", self.keys.session(session_name))))
            return parse_time_ms(time)

    async def check_writable(self) -> None:
        """Check that Redis accepts writes, by a write to a key that expires.

        Raises: StoreUnavailable if Redis accepts no writes, for example because its memory is full.
        """
        with translated_errors():
            await self._pipe.call("SET", self.keys.write_check, "1", "PX", WRITE_CHECK_TTL_MS)

    async def has_newer_format(self) -> bool:
        """Return whether the format of the store is newer than this release. One round trip."""
        return await has_newer_format(self._pipe, self.keys)

    # -- one session --------------------------------------------------------------------------------------------------

    async def load(
        self,
        session_name: str,
        record_name: str | None = None,
        meter: RateMeter | None = None,
        held: SessionSnapshot | None = None,
    ) -> SessionLoadResult:
        """Load a session, the time of Redis and an idempotency record, and count the request.

        `session_name` is the name of the session in its tenant, as in all methods of this class.
        `record_name` is the name of the record, as `Principal.qualify_command_id` returns it, and not the command id of
        the client. One round trip. The session is None if Redis does not have it. If the document is large and equal to
        the document of `held`, Redis does not send it, and the result has the document of `held`.

        Without `meter`, nothing is counted. With `meter`, a request whose record exists is a replay: a second round
        trip gives back its tokens and counts the replay.

        Raises: RateLimitExceeded if a quota of `meter` is used up; for a replay, only if the quota for replays is used
        up. StoreUnavailable if Redis does not answer.
        """
        key, known = self.keys.session(session_name), self.known.find(session_name)
        commands: list[RedisCommand] = [("TIME",), self._load_command(key, held)]
        if record_name is not None:
            commands.append(("HGET", self.keys.idempotency_records(session_name), record_name))
        counts_from = len(commands)
        if meter is not None:
            commands += meter.build_count_commands(self.keys)
        with translated_errors():
            replies = await run_script_commands(self._pipe, commands, self._load_script)
        record = replies[2] if record_name is not None else None
        if meter is not None:
            meter.record_replies(replies[counts_from:])
            if record is None:
                meter.raise_if_exceeded()
            else:
                await recount_as_replay_with_pipe(self._pipe, self.keys, meter)
        with reporting_invalid_data(key):
            now_ms, stored = parse_time_ms(replies[0]), parse_stored_session(replies[1], held)
            return SessionLoadResult(now_ms, stored, record, self._find_lost(session_name, known, stored, now_ms))

    def charge_press_without_effect(self, meter: RateMeter | None) -> None:
        """Take a token of the client's general quota if the request of `meter` is a press.

        Call this if the press had no effect.

        The method does not wait for Redis. A request that is not a press, or without a meter, takes no token.

        Raises: RateLimitExceeded if the general quota is used up. No token is taken then.
        """
        if meter is not None and (quota := meter.take_unpaid_general_quota()) is not None:
            self._pipe.send_unawaited(quota.make_take_tokens_command(self.keys, 1))
            meter.raise_if_exceeded()

    def refund_press(self, meter: RateMeter | None) -> None:
        """Give the token of a press back to the quota of its session.

        For other requests, and without a meter, do nothing.

        The method does not wait for Redis.
        """
        if meter is not None and meter.is_press:
            for command in meter.build_refund_commands(self.keys):
                self._pipe.send_unawaited(command)

    def _load_command(self, key: str, held: SessionSnapshot | None) -> RedisCommand:
        if held is None or not held.tag or len(held.document) < LARGE_DOCUMENT_BYTES:
            return ("HMGET", key, *SESSION_FIELDS)
        return ("EVALSHA", self._load_script.sha, 1, key, held.tag, held.version, *SESSION_FIELDS)

    async def commit(self, commit: Commit) -> CommitOutcome:
        """Commit all new versions and the idempotency record, or nothing. Atomic, one round trip.

        The result is Committed, AlreadyDecided or CommitConflict. Only Committed means that the commit was stored.

        Raises:
            OutboxFull: the commit has new versions and the outbox has reached a limit. Nothing was committed. A
                commit with `by_time` never raises this error.
            StoreUnavailable: no reply came, so the outcome is unknown. A command id makes a retry safe.
        """
        if commit.base is None:
            self.live.remember_tenant(commit.session_name)
        known = self.known.find(commit.session_name)
        with translated_errors():
            outcome = await self._commit_script.run(self._pipe, commit)
        self._note_commit(commit, outcome)
        if not isinstance(outcome, CommitConflict):
            return outcome
        with reporting_invalid_data(self.keys.session(commit.session_name)):
            lost = self._find_lost(commit.session_name, known, outcome.stored, outcome.now_ms)
        return outcome if lost is None else replace(outcome, lost=lost)

    async def commit_all(self, commits: Sequence[Commit]) -> list[CommitOutcome]:
        """Send several commits in one round trip, and return their results in the order of `commits`.

        Each commit is atomic by itself.

        Raises: the errors of `commit`, if at least one commit failed. Other commits of the call were possibly
        committed.
        """
        with translated_errors():
            outcomes = await self._commit_script.run_many(self._pipe, commits)
        for commit, outcome in zip(commits, outcomes, strict=True):
            self._note_commit(commit, outcome)
        return outcomes

    def _note_commit(self, commit: Commit, outcome: CommitOutcome) -> None:
        if commit.versions and isinstance(outcome, Committed):
            message = commit.versions[-1].message
            self.known.note(commit.session_name, message.snapshot, message.at_ms)

    def _find_lost(
        self, session_name: str, known: KnownVersion | None, stored: StoredSession | None, now_ms: int
    ) -> KnownVersion | None:
        """Return the version `known` if `stored` shows that Redis has lost it. Otherwise note the stored version.

        `known` must have been known before the command that read `stored` was sent.

        Raises: ValueError if `stored` has no instant of creation.
        """
        if stored is None:
            return None
        if known is not None and known.is_missing_in(stored.snapshot):
            return known
        self.known.note(session_name, stored.snapshot, now_ms)
        return None

    async def find_version_tags(
        self, versions: Sequence[tuple[str, KnownVersion]]
    ) -> list[tuple[SessionSnapshot, str] | None]:
        """Return the stored version of each session, without its document, and the stored tag of its known version.

        The results are in the order of `versions`. The tag is empty if the version history does not have the known
        version. None if Redis does not have the session or has invalid data. Two round trips.
        """
        keys = self.keys
        with translated_errors():
            replies = await self._pipe.call_many_independent(
                [("HMGET", keys.session(name), "epoch", "version", "tag", "deleted") for name, _ in versions]
            )
            found = [_parse_version(reply) for reply in replies]
            reads: list[RedisCommand] = []
            for (name, known), stored in zip(versions, found, strict=True):
                back = -1 if stored is None or stored.epoch != known.epoch else known.version - stored.version - 1
                reads.append(("LRANGE", keys.history(name), min(back, -1), min(back, -1)))
            histories = await self._pipe.call_many_independent(reads)
        return [
            None if stored is None else (stored, _parse_tag(kept, known))
            for (_, known), stored, kept in zip(versions, found, histories, strict=True)
        ]

    async def restore(
        self, session_name: str, evicted: SessionToRestore, records: dict[str, bytes]
    ) -> SessionLoadResult:
        """Write an evicted session and its idempotency records to Redis, if Redis does not have the session.

        `records` are rendered idempotency records by name. If Redis has the session, nothing changes. Return the
        session that Redis has after the call. Atomic, one round trip.
        """
        keys, snapshot = self.keys, evicted.stored.snapshot
        self.live.remember_tenant(session_name)
        partition = keys.partition_of(session_name)
        tenant, _ = split_session_name(session_name)
        names = [
            keys.session(session_name),
            keys.idempotency_records(session_name),
            keys.deadlines(partition),
            keys.live_sessions(partition, tenant),
            keys.outbox_participants(partition),
        ]
        args: list[Any] = [
            session_name,
            DOCUMENT_SCHEMA,
            snapshot.epoch,
            snapshot.version,
            evicted.status,
            int(snapshot.deleted),
            "" if evicted.stored.due_ms is None else evicted.stored.due_ms,
            snapshot.document,
            "" if evicted.live_since_ms is None else evicted.live_since_ms,
            evicted.ttl_ms,
        ]
        for command_id, record in records.items():
            args += (command_id, record)
        with translated_errors():
            reply: list[Any] = await self._restore_script(self._pipe, names, args)
        with reporting_invalid_data(keys.session(session_name)):
            return SessionLoadResult(parse_time_ms(reply[:2]), parse_stored_session(reply[2:]))

    async def add_idempotency_records(self, session_name: str, records: Mapping[str, bytes], ttl_ms: int) -> None:
        """Add idempotency records to a session. `records` are rendered records by name. One round trip.

        Existing records stay unchanged. All records of the session get the TTL `ttl_ms` in ms.
        """
        key = self.keys.idempotency_records(session_name)
        with translated_errors():
            await self._pipe.call_many(
                [*(("HSETNX", key, *pair) for pair in records.items()), ("PEXPIRE", key, ttl_ms)]
            )

    async def read_history(self, session_name: str) -> Iterator[FeedMessage]:
        """Return the versions in the version history of a session, newest first. One round trip.

        The first version is the stored version of the session. If Redis does not have the session, the result is empty.
        Each version is unpacked when the iterator reaches the version.
        """
        with translated_errors():
            fields, kept = await self._pipe.call_many(
                [
                    ("HMGET", self.keys.session(session_name), *SESSION_FIELDS),
                    ("LRANGE", self.keys.history(session_name), -self._history_length, -1),
                ]
            )
        with reporting_invalid_data(self.keys.session(session_name)):
            stored = parse_stored_session(fields)
        return parse_history(None if stored is None else stored.snapshot, kept, self.keys.history(session_name))

    async def reserve_command_id(self, command_id: str, value: str, ttl_s: int) -> str | None:
        """Store `value` for a command id whose session does not exist yet, for `ttl_s` seconds.

        If the command id already has a value, nothing changes. Returns the earlier value, None if there was none.
        Atomic, one round trip.
        """
        with translated_errors():
            key = self.keys.reserved_command_id(command_id)
            before: bytes | None = await self._pipe.call("SET", key, value, "NX", "GET", "EX", ttl_s)
        with reporting_invalid_data(key):
            return None if before is None else before.decode()

    async def read_reserved_command_id(self, command_id: str) -> str | None:
        """Return the value that `reserve_command_id` stored for a command id. One round trip.

        None if no value was stored, or if its TTL has ended.
        """
        with translated_errors():
            key = self.keys.reserved_command_id(command_id)
            value: bytes | None = await self._pipe.call("GET", key)
        with reporting_invalid_data(key):
            return None if value is None else value.decode()


def _parse_version(reply: Any) -> SessionSnapshot | None:
    """Return the version in the fields of a session's hash, without its document.

    None if there is no session, or for invalid fields.
    """
    try:
        epoch, version, tag, deleted = raise_if_invalid_data(reply)
        if epoch is None:
            return None
        return SessionSnapshot(epoch.decode(), int(version), b"", (tag or b"").decode(), deleted == b"1")
    except PARSE_ERRORS:
        return None


def _parse_tag(kept: Any, known: KnownVersion) -> str:
    """Return the tag of a known version in an item of the version history, empty if the item is of another version."""
    try:
        (item,) = raise_if_invalid_data(kept)
        snapshot = read_stored_position(item)
    except PARSE_ERRORS:
        return ""
    return snapshot.tag if snapshot.epoch_and_version == (known.epoch, known.version) else ""
