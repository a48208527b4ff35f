"""What the archive returns. Instants are whole milliseconds since the Unix epoch, durations whole milliseconds."""

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from synckairos.fast_dataclass import fast_dataclass
from synckairos.wire.snapshot import Snapshot

Bucket = Literal["session", "day", "week"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of items, and the cursor of the one after it; None where there is none."""

    items: tuple[T, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class AuditedVersion:
    """One version as Postgres has it.

    `records` are what was decided for command ids, as `wire.record` renders them: given by `Archive.latest` alone.
    """

    session_id: str
    snapshot: Snapshot
    audited_at_ms: int
    records: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """A session's archive: what the object holds, and where. Without a `path` there is none yet.

    `status` is processing, ready or failed, of the newest try; `checksum` the SHA-256 of the object's `size_bytes`.
    `removed` says that retention took the session's rows away: the object is all there is.
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


@dataclass(frozen=True, slots=True)
class ListedSession:
    """The newest version of a session in a list."""

    session_id: str
    created_at_ms: int
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class TrailEvent:
    """One version in a session's trail; `state` is the document where it was asked for."""

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
        """Return its place in the trail."""
        return (self.occurred_at_ms, self.version, self.epoch)


@fast_dataclass
@dataclass(frozen=True, slots=True)
class ParticipantSession:
    """Somebody's part in a session as of one version, which took effect at `at_ms`.

    `time_used_ms` is what was charged by then, `paused_ms` all breaks of the session that were over, or how far the one
    under way had come, by then. `began_at_ms` is the session's start, its creation while it has none. `metadata` is
    JSON.
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
        """Return its place in a list, newest first."""
        return self.began_at_ms, self.session_id


@dataclass(frozen=True, slots=True)
class TimeSlice:
    """Hours in one bucket: a session's id, a local day (`2026-01-31`) or an ISO week (`2026-W05`).

    `key` is the metadata member grouped by, None where it is missing or nothing was asked for.
    """

    bucket: str
    time_used_ms: int
    session_count: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxTime:
    """What is on its way to Postgres of a session that somebody takes part in.

    From the version of the `cut` on (when it took effect, its number) only `stretches` count: from when to when their
    time ran. `metadata` is JSON. `is_gone` where what Postgres knows of was deleted.
    """

    session_id: str
    cut: tuple[int, int]
    metadata: str
    is_gone: bool
    stretches: tuple[tuple[int, int], ...]
