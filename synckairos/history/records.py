"""Records that reads of history return. Instants are milliseconds since the Unix epoch, durations milliseconds."""

from typing import Generic, Literal, TypeVar

from msgspec import Struct, field

from synckairos.wire.snapshot import Snapshot

Bucket = Literal["session", "day", "week"]

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """A page of items, and the cursor of the next page; None if there is none."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class AuditedVersion(Struct, frozen=True):
    """One version as Postgres has it.

    `records` are the rendered idempotency records of command ids; only `HistoryReader.latest_version` sets them.
    """

    session_id: str
    snapshot: Snapshot
    records: dict[str, bytes] = field(default_factory=dict)


class ArchiveRecord(Struct, frozen=True):
    """The record of a session's archive: the path and the content of its object. Without a `path` there is no object.

    `status` is processing, ready or failed and belongs to the newest attempt. `checksum` is the SHA-256 of the object's
    `size_bytes`. `removed` means that retention removed the session's rows, so the object is the only copy.
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
    """The newest version of a session in a list."""

    session_id: str
    created_at_ms: int
    snapshot: Snapshot


class TrailEvent(Struct, frozen=True):
    """One version in a session's audit trail. `document` is set only if it was requested."""

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

    @property
    def key(self) -> tuple[int, int, str]:
        """Return the position in the trail: instant, version, epoch."""
        return (self.occurred_at_ms, self.version, self.epoch)


class ParticipantSession(Struct, frozen=True):
    """A session in a participant's list, as of one version, which took effect at `at_ms`.

    `time_used_ms` is the participant's used time at that instant. `paused_ms` is the total pause of the session up to
    it. `began_at_ms` is the session's start, or its creation before it starts. `metadata` is JSON. Cached pages in
    Redis contain the names of these members, so the names must not change.
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
    def key(self) -> tuple[int, str]:
        """Return the position in a list, newest first: start and id."""
        return self.began_at_ms, self.session_id


class TimeSlice(Struct, frozen=True):
    """The used time in one bucket: a session's id, a local day (`2026-01-31`) or an ISO week (`2026-W05`).

    `key` is the value of the metadata member that the report groups by; None if it is missing or not requested.
    """

    bucket: str
    time_used_ms: int
    session_count: int
    key: str | None = None


class UsedTimeInOutbox(Struct, frozen=True):
    """A participant's time in those versions of a session that are in the outbox.

    `first_version` is (instant, number) of the first of them. From it on, only the spans in `running` count: the
    instants between which the participant's time ran. `metadata` is JSON. `is_deleted` means that the life of the
    session that Postgres knows was deleted.
    """

    session_id: str
    first_version: tuple[int, int]
    metadata: str
    is_deleted: bool
    running: tuple[tuple[int, int], ...]
