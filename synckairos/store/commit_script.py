"""The commit script: writes new versions of a session and an idempotency record, atomically and in one round trip."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from synckairos.clock.transition import EventType
from synckairos.errors import OutboxFull, StoreUnavailable
from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import split_session_name
from synckairos.store.history_format import HistoryFormat
from synckairos.store.keys import Keys
from synckairos.store.known_versions import KnownVersion
from synckairos.store.lua_scripts import LuaScript, ScriptCall
from synckairos.store.outbox import MIN_STAY_AFTER_DEADLINE_MS
from synckairos.store.outbox_limits import UNLIMITED, OutboxLimits
from synckairos.store.redis_errors import FENCED
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from synckairos.store.stored_session import StoredSession, parse_stored_session
from synckairos.telemetry.invalid_data import report_dropped_keys, reporting_invalid_data
from synckairos.telemetry.metrics import BACKLOG_REFUSALS
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.packed_history import MAX_DOCUMENT_BYTES, is_worth_packing, pack_message
from synckairos.wire.session_json import DOCUMENT_SCHEMA
from synckairos.wire.snapshot import SessionSnapshot

MAX_HISTORY_BYTES = 1 << 20
"""Bytes: target size of one session's version history if all of its versions are large.

The history then has fewer versions than `history_length`, but at least two.
"""

WAKE_UP_WITHIN_MS = 5_000
"""Milliseconds: a commit publishes a wake-up only for a deadline that is nearer.

Timekeepers read all other deadlines in time without a wake-up, because they read the deadlines every second.
"""


RECORDS_TTL_MS = 7 * 86_400_000
"""Milliseconds that the idempotency records of an unfinished session stay in Redis after the last of them, at least.

See `find_records_ttl_ms`.
"""

RECORDS_TTL_SLACK_MS = 3_600_000
"""Milliseconds that a commit adds to the TTL of idempotency records, so that few commits set the TTL again."""

MAX_RECORDS = 1_000
"""Maximum number of idempotency records of a session. Beyond it, half of them are removed.

Refusals are removed first, then the records of the lowest versions.
"""

MIN_BYTES_FOR_CHANGES = 16 << 10
"""Bytes: minimum size of a document whose outbox entry can have the splices instead of the document."""

MAX_CHANGES = 64
"""Maximum number of consecutive outbox entries of a session with splices. The next entry has the document."""

_CHANGES_PARTICIPANTS = frozenset(
    {
        *(EventType.SESSION_CREATED, EventType.SESSION_RECORDED),
        *(EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED),
        *(EventType.PARTICIPANT_ADDED, EventType.PARTICIPANT_REMOVED),
    }
)


def find_records_ttl_ms(due_ms: int | None, now_ms: int) -> int:
    """Return the TTL in ms that the commit script gives the idempotency records of an unfinished session.

    `due_ms` is the instant of the session's next transition by time, None if there is none. `now_ms` is the instant of
    the commit. Both are in ms since the Unix epoch. The records stay at least as long as the session.
    """
    return max(RECORDS_TTL_MS, 0 if due_ms is None else due_ms + MIN_STAY_AFTER_DEADLINE_MS - now_ms)


class NewVersion(Struct, frozen=True):
    """One version to commit. `event` is its audit event as JSON, `message` its feed message, which has the snapshot."""

    event: bytes
    message: FeedMessage


class Commit(Struct, frozen=True):
    """New versions that follow `base`, and the idempotency record of a command id.

    `session_name` is the name of the session in its tenant. The script commits only if the session in Redis is `base`.
    If `base` is None, Redis must not have the session. Without new versions, only the idempotency record is stored. If
    `command_id` is None, no idempotency record is stored. `due_ms` is the instant of the next transition by time after
    the new versions, in ms since the Unix epoch. It is None if no transition will fall due by time. `live_since_ms` is
    the creation instant of the session, None if the session has ended or was deleted. If `by_time` is True, the new
    versions must be overdue transitions only. The limits of the outbox then do not apply to the commit.
    """

    session_name: str
    base: SessionSnapshot | None
    versions: Sequence[NewVersion] = ()
    status: str = ""
    due_ms: int | None = None
    live_since_ms: int | None = None
    command_id: str | None = None
    record: bytes = b""
    by_time: bool = False


class Committed(Struct, frozen=True):
    """The script stored all new versions, and the idempotency record if the commit had a command id."""


class AlreadyDecided(Struct, frozen=True):
    """The command id already has the idempotency record `record`. Nothing was committed."""

    record: bytes


class CommitConflict(Struct, frozen=True):
    """The session in Redis is not `base`. Nothing was committed.

    `stored` is the session that Redis had at `now_ms`, None if Redis had no such session. The caller does not need to
    load the session again. `lost` is described in `SessionLoadResult`.
    """

    now_ms: int
    stored: StoredSession | None
    lost: KnownVersion | None = None


CommitOutcome = Committed | AlreadyDecided | CommitConflict


class OutboxTenants(Protocol):
    """The shares of tenants in the outbox, as the limits of tenants give them."""

    def outbox_share_of(self, tenant: str) -> int | None:
        """Return the part of the outbox that a tenant may fill, in percent. None: no limit."""

    def note_outbox_refusal(self, tenant: str) -> None:
        """Count a commit that was refused because the tenant has reached its share."""


class _UnlimitedTenants:
    """Tenants without a limit."""

    def outbox_share_of(self, tenant: str) -> int | None:
        return None

    def note_outbox_refusal(self, tenant: str) -> None:
        pass


UNLIMITED_TENANTS: OutboxTenants = _UnlimitedTenants()


class CommitKeys(NamedTuple):
    """The KEYS of `lua/commit.lua`, in the order of the script."""

    session_key: str
    history_key: str
    records_key: str
    deadlines_key: str
    outbox_key: str
    live_key: str
    outbox_bytes_key: str
    indexed_entries_key: str
    outbox_participants_key: str
    outbox_tenants_key: str
    fence_key: str


class CommitArguments(NamedTuple):
    """The first ARGV of `lua/commit.lua`, in the order of the script. An empty text stands for None.

    The comments of the script explain each argument.
    """

    session_id: str
    base_epoch: str
    base_version: int | str
    base_tag: str
    command_id: str
    record: bytes
    schema: int
    epoch: str
    status: str
    deleted: int
    due_ms: int | str
    history_length: int
    feed_channel: str
    wake_up_channel: str
    live_since_ms: int | str
    max_entries: int | str
    max_bytes: int | str
    max_age_ms: int | str
    changes_participants: int
    outbox_share: str
    packed_message: bytes


class VersionArguments(NamedTuple):
    """The ARGV of `lua/commit.lua` for each new version, in the order of the script, after the `CommitArguments`."""

    version: int
    tag: str
    event: bytes
    header: bytes
    body: bytes
    payload_hash: str


class CommitScript:
    """Builds the calls of the commit script, sends them and parses the results."""

    def __init__(
        self,
        keys: Keys,
        history_length: int,
        limits: OutboxLimits,
        *,
        writes_changes: bool = True,
        is_cluster: bool = False,
    ) -> None:
        """Create the script for the keys of one store. `is_cluster`: the store is a Redis Cluster.

        `history_length` is the number of latest versions in a session's version history. Redis keeps up to an eighth
        more versions, because the script does not trim the history in each commit. `limits` are the outbox limits of
        one partition. If `writes_changes` is False, all outbox entries have documents, so that the previous release
        can read them. If it is True, entries of large documents can have splices instead.
        """
        self._keys = keys
        self._is_cluster = is_cluster
        self._writes_changes = writes_changes
        self._history_length = history_length
        self._limits = limits.script_arguments()
        self._outbox_limits = limits
        self._tenants = UNLIMITED_TENANTS
        self._script = LuaScript("commit")
        # Time goes on in a full memory. Its commits add a few versions for each session, and then end.
        self._script_by_time = LuaScript("commit", allow_oom=True)
        self.history_format = HistoryFormat()

    def use_tenants(self, tenants: OutboxTenants) -> None:
        """Use these shares of tenants from now on."""
        self._tenants = tenants

    async def run(self, pipe: RedisPipe, commit: Commit) -> CommitOutcome:
        """Send a commit in one round trip, and return its result.

        Raises: OutboxFull if the commit has new versions and the outbox has reached a limit. Nothing was committed
        then. A commit with `by_time` never raises OutboxFull.
        """
        return self._parse_outcome(commit, await self._script_for(commit)(pipe, *self.build_call(commit)))

    async def run_many(self, pipe: RedisPipe, commits: Sequence[Commit]) -> list[CommitOutcome]:
        """Send several commits in one round trip, and return their results in the order of `commits`.

        Each commit is atomic by itself. After an exception, other commits of the call were possibly committed.

        Raises: OutboxFull if at least one commit was refused because the outbox has reached a limit. The exception
        does not name the refused commits.
        """
        script = self._script_for(*commits)
        replies = await script.call_many(pipe, [self.build_call(commit) for commit in commits])
        return [self._parse_outcome(*pair) for pair in zip(commits, replies, strict=True)]

    def _script_for(self, *commits: Commit) -> LuaScript:
        # A commit without versions stores only an idempotency record, which is no progress of time.
        by_time = True
        for commit in commits:
            by_time = by_time and commit.by_time and bool(commit.versions)
        return self._script_by_time if by_time else self._script

    def _parse_outcome(self, commit: Commit, reply: list[Any]) -> CommitOutcome:
        match reply[0]:
            case b"ok":
                report_dropped_keys(reply[1:])
                return Committed()
            case b"replay":
                return AlreadyDecided(reply[1])
            case b"fenced":
                raise StoreUnavailable(FENCED)
            case b"full":
                BACKLOG_REFUSALS.inc()
                if reply[1] == b"tenant":
                    self._tenants.note_outbox_refusal(split_session_name(commit.session_name)[0])
                raise OutboxFull(reply[1].decode())
            case _:
                with reporting_invalid_data(self._keys.session(commit.session_name)):
                    return CommitConflict(parse_time_ms(reply[1:3]), parse_stored_session(reply[3:]))

    def build_call(self, commit: Commit) -> ScriptCall:
        """Return the KEYS and the ARGV of the script for a commit. Sends nothing."""
        keys, session_name, base = self._keys, commit.session_name, commit.base
        tenant, names, feed_channel, wake_up_channel = _names_of_session(keys, session_name, self._is_cluster)
        last = commit.versions[-1].message.snapshot if commit.versions else None
        max_entries, max_bytes, max_age_ms = _NO_LIMITS if commit.by_time else self._limits
        headers = [new.message.render_header() for new in commit.versions]
        args: list[Any] = [
            *CommitArguments(
                session_id=session_name,
                base_epoch=base.epoch if base else "",
                base_version=base.version if base else "",
                base_tag=base.tag if base else "",
                command_id=commit.command_id or "",
                record=commit.record,
                schema=DOCUMENT_SCHEMA,
                epoch=last.epoch if last else "",
                status=commit.status,
                deleted=int(last.deleted) if last else 0,
                due_ms="" if commit.due_ms is None else commit.due_ms,
                history_length=self._versions_to_keep(commit),
                feed_channel=feed_channel,
                wake_up_channel=wake_up_channel,
                live_since_ms="" if commit.live_since_ms is None else commit.live_since_ms,
                max_entries=max_entries,
                max_bytes=max_bytes,
                max_age_ms=max_age_ms,
                changes_participants=int(_changes_participants(commit)),
                outbox_share="" if tenant == DEFAULT_TENANT else self._render_share(tenant, commit),
                packed_message=self._pack_message(commit, headers),
            )
        ]
        for new, header in zip(commit.versions, headers, strict=True):
            message, snapshot = new.message, new.message.snapshot
            args += VersionArguments(
                snapshot.version,
                snapshot.tag,
                new.event,
                header,
                message.document_or_splices,
                self._payload_hash(commit, new),
            )
        return [*names], args

    def _pack_message(self, commit: Commit, headers: Sequence[bytes]) -> bytes:
        """Return the packed message of the only new version, b"" if the script must build the messages.

        The script builds them if it must use splices, or if the bytes of the document before are not certain: without a
        tag, only their epoch and version are known. A document with little in common with the one before is not packed.
        """
        if not self.history_format.is_packed or len(commit.versions) != 1:
            return b""
        message, base = commit.versions[0].message, commit.base
        document, before = message.snapshot.document, b"" if base is None else base.document
        if message.change is not None or max(len(document), len(before)) > MAX_DOCUMENT_BYTES:
            return b""
        if (base is not None and not base.tag) or not is_worth_packing(before, document):
            return b""
        return pack_message(headers[0], before, message.snapshot)

    def _render_share(self, tenant: str, commit: Commit) -> str:
        """Return the share of a tenant in the outbox, as the script expects it."""
        share = None if commit.by_time else self._outbox_limits.share_bytes(self._tenants.outbox_share_of(tenant))
        return f"{tenant} {'-' if share is None else share} {self._outbox_limits.min_entry_bytes}"

    def _payload_hash(self, commit: Commit, new: NewVersion) -> str:
        """Return the SHA-256 of a version's document as hexadecimal text, "" if its entry must have the document.

        The first and the last version of a session always have their documents. The hash shows the reader of an entry
        that the splices led to the right document.
        """
        document, change = new.message.snapshot.document, new.message.change
        if (
            change is None
            or len(document) < MIN_BYTES_FOR_CHANGES
            or not self._writes_changes
            or 2 * len(change.splices) > len(document)
            or (commit.live_since_ms is None and new is commit.versions[-1])
        ):
            return ""
        return sha256(document).hexdigest()

    def _versions_to_keep(self, commit: Commit) -> int:
        # For each version the history has a reverse body. Its size is about the size of the splices, or of the whole
        # document before.
        size, before = 1, commit.base.document if commit.base else b""
        for new in commit.versions:
            size = max(size, len(new.message.document_or_splices if new.message.change else before))
            before = new.message.snapshot.document
        return max(2, min(self._history_length, MAX_HISTORY_BYTES // size))


_NO_LIMITS = UNLIMITED.script_arguments()


@lru_cache(maxsize=1024)
def _names_of_session(keys: Keys, session_name: str, is_cluster: bool) -> tuple[str, CommitKeys, str, str]:
    """Return the tenant, the KEYS of the script, the feed channel of a session, and the channel for its deadlines.

    They are cached, because consecutive commits are often of the same sessions.
    """
    partition, tenant = keys.partition_of(session_name), split_session_name(session_name)[0]
    names = CommitKeys(
        session_key=keys.session(session_name),
        history_key=keys.history(session_name),
        records_key=keys.idempotency_records(session_name),
        deadlines_key=keys.deadlines(partition),
        outbox_key=keys.outbox(partition),
        live_key=keys.live_sessions(partition, tenant),
        outbox_bytes_key=keys.outbox_bytes(partition),
        indexed_entries_key=keys.indexed_outbox_entries(partition),
        outbox_participants_key=keys.outbox_participants(partition),
        outbox_tenants_key=keys.outbox_tenants(partition),
        fence_key=keys.fence(partition),
    )
    wake_up_channel = keys.wake_up_channel_of(partition, is_cluster=is_cluster)
    return tenant, names, keys.feed_channel(session_name), wake_up_channel


def _changes_participants(commit: Commit) -> bool:
    return not _CHANGES_PARTICIPANTS.isdisjoint([new.message.event_type for new in commit.versions])
