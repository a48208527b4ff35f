"""Result types of history reads. Instants (`_at_ms`) are milliseconds since the Unix epoch."""

from typing import Generic, Literal, TypeVar

from msgspec import Struct, field

from synckairos.clock.model import Charge
from synckairos.wire.snapshot import SessionSnapshot

Bucket = Literal["session", "day", "week"]

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """A page of items. `next_cursor` is the cursor for the request of the next page; None if this is the final page."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class AuditedVersion(Struct, frozen=True):
    """One version of a session from the audit.

    `records` are rendered idempotency records by record name, as `Principal.qualify_command_id` returns it. Only
    methods with the name `read_latest_version` fill `records`; in results of other methods it is empty.
    """

    session_id: str
    snapshot: SessionSnapshot
    records: dict[str, bytes] = field(default_factory=dict)


class ArchiveRecord(Struct, frozen=True):
    """Description of a session's archive: where the archive object is, and what it contains.

    - `created_at_ms`: the creation of the session.
    - `path`: the path of the object in cold storage. None if no object was written.
    - `status`: `ready` if an object was written. Otherwise the state of the newest attempt: `processing` or `failed`.
    - `error`: the reason why the newest attempt failed, also if an object exists; None without a failure.
    - `epoch`, `version` and `session_status`: the newest version in the archive, and its session status.
    - `deleted`: whether the newest version is a tombstone.
    - `checksum` and `size_bytes`: SHA-256 and length of the object.
    - `events`: the number of versions in the archive.
    - `archived_at_ms`: when the object was written; if there is no object, when the archive was requested.
    - `removed`: whether retention removed the session's rows from Postgres. If so, the object is the only copy.
    """

    session_id: str
    created_at_ms: int
    status: str
    epoch: str
    version: int
    session_status: str
    deleted: bool
    path: str | None
    size_bytes: int
    checksum: bytes
    events: int
    archived_at_ms: int
    removed: bool
    error: str | None = None


class ListedSession(Struct, frozen=True):
    """Item of a list of sessions. `snapshot` is the newest version, None if the caller of the read already has it."""

    session_id: str
    created_at_ms: int
    snapshot: SessionSnapshot | None


class TrailEvent(Struct, frozen=True):
    """One version in a session's audit trail.

    `occurred_at_ms` is the instant of the version. `time_used_ms` and `time_remaining_ms` are values of the participant
    or group that the event names. `actor` is the caller of the command, and `role` the role of that caller.
    `on_behalf_of` is the participant for whom the caller acted. `record_name` is the command id in the scope of the
    caller, as the audit stores it; only the last version of a command has it. `document` is None if the caller of the
    read requested no documents. `participant_ids` is empty unless the event names several participants. `charges` has
    the times that the version charges, in the order of participant ids. It is also empty if the charges of a version of
    an earlier release are not filled in yet. Other values are None if the event has no such value.
    """

    epoch: str
    version: int
    event_type: str
    occurred_at_ms: int
    participant_id: str | None = None
    group_id: str | None = None
    actor: str | None = None
    time_used_ms: int | None = None
    time_remaining_ms: int | None = None
    document: bytes | None = None
    role: str | None = None
    on_behalf_of: str | None = None
    charges: tuple[Charge, ...] = ()
    record_name: str | None = None
    participant_ids: tuple[str, ...] = ()

    @property
    def sort_key(self) -> tuple[int, int, str]:
        """Return the position of this version in the audit trail: instant in milliseconds, version, epoch."""
        return (self.occurred_at_ms, self.version, self.epoch)


class ParticipantSession(Struct, frozen=True):
    """Item of a participant's list: the values of one session at one version.

    - `at_ms`: the instant of the version.
    - `time_used_ms`: the participant's used time at `at_ms`.
    - `paused_ms`: the total pause of the session until `at_ms`.
    - `began_at_ms`: the instant at which the session was started, or created if it has not been started.
    - `metadata`: the session's metadata as JSON.

    Cached pages in Redis contain the names of these fields, so the names must not change.
    """

    session_id: str
    epoch: str
    version: int
    sync_mode: str
    status: str
    started_at_ms: int | None
    completed_at_ms: int | None
    at_ms: int
    time_used_ms: int
    paused_ms: int
    cycle_count: int
    metadata: bytes
    began_at_ms: int

    @property
    def sort_key(self) -> tuple[int, str]:
        """Return the position of this session in the list, which is `began_at_ms` and session id.

        Lists are sorted by this position, the largest first.
        """
        return self.began_at_ms, self.session_id


class UsedTimeBucket(Struct, frozen=True):
    """Row of a time report. `time_used_ms` is the time of a participant in one bucket, from `session_count` sessions.

    `bucket` is a session id, a local day (`2026-01-31`) or an ISO week (`2026-W05`). `key` is the value of the metadata
    member by which the report groups its rows. `key` is None if the sessions lack this member, or if the report has no
    grouping.
    """

    bucket: str
    time_used_ms: int
    session_count: int
    key: str | None = None


class UsedTimeInOutbox(Struct, frozen=True):
    """The time that a participant used in the versions of one session that are in the outbox.

    - `first_version`: instant in milliseconds and number of the first of these versions. Postgres is used only for the
      time before this version.
    - `running`: begin and end instants, in milliseconds, of the charges of the participant and of its running turn.
    - `metadata`: the session's metadata as JSON.
    - `replaces_audited`: whether the session was deleted or amended, so that the versions in Postgres do not count.
    - `void_after_version`: the earliest version that one of these versions restored by an undo. The charges of later
      versions in Postgres do not count. None without an undo.
    """

    session_id: str
    first_version: tuple[int, int]
    metadata: str
    replaces_audited: bool
    running: tuple[tuple[int, int], ...]
    void_after_version: int | None = None
