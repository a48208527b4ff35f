"""Result types of history reads. Instants (`_at_ms`) are milliseconds since the Unix epoch."""

from typing import Generic, Literal, TypeVar

from msgspec import Struct, field

from synckairos.clock.transition import Charge
from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import session_name
from synckairos.wire.snapshot import SessionSnapshot

Bucket = Literal["session", "day", "week", "month"]

WeekStart = Literal["monday", "sunday", "saturday"]

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
    - `tenant`: the tenant of the session.
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
    tenant: str = DEFAULT_TENANT

    @property
    def name(self) -> str:
        """Return the name of the session in its tenant."""
        return session_name(self.tenant, self.session_id)


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


MAX_REPORT_ROWS = 10_000
"""Maximum number of rows of a time report, or of one page of it."""


class ReportPosition(Struct, frozen=True):
    """The position of a row in a time report, by the values that distinguish rows.

    `participant_id` is empty without a grouping by participants. A value of `keys` is empty if the session does not
    have the member or label.
    """

    bucket: str
    participant_id: str = ""
    keys: tuple[str, ...] = ()


class TimeReportSpec(Struct, frozen=True):
    """The contents of a time report. All instants are in ms since the Unix epoch.

    - `tenant`: the tenant of the sessions and participants.
    - `participant_ids`: the participants whose times count. None for all.
    - `labels`: the labels that each session must have, by key.
    - `from_ms`, `to_ms`: the range from `from_ms` (included) to `to_ms` (excluded).
    - `now_ms`: the present instant. A running turn counts until this instant or until its deadline. Time after it does
      not count.
    - `tz`: IANA name of the time zone for days, weeks and months.
    - `bucket`: one row for each session, local day, week or month.
    - `week_start`: first day of a week. `monday` gives ISO weeks.
    - `by_participant`: whether each participant has rows of its own.
    - `metadata_key`: name of the metadata member by whose value rows are grouped. None does not group.
    - `label_keys`: keys of the labels by whose values rows are grouped.
    - `round_ms`: the part of each session and participant in a bucket is rounded to a multiple of this duration. None
      does not round. `rounds_up`: whether it is rounded up, instead of to the nearest multiple.
    - `after`: the position of the last row of the page before. None for the first page.
    - `limit`: maximum number of rows.
    """

    from_ms: int
    to_ms: int
    now_ms: int
    participant_ids: tuple[str, ...] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    tz: str = "UTC"
    bucket: Bucket = "day"
    week_start: WeekStart = "monday"
    by_participant: bool = False
    metadata_key: str | None = None
    label_keys: tuple[str, ...] = ()
    round_ms: int | None = None
    rounds_up: bool = False
    after: ReportPosition | None = None
    limit: int = MAX_REPORT_ROWS
    tenant: str = DEFAULT_TENANT

    @property
    def has_metadata_key(self) -> bool:
        """Return whether the first value of `UsedTimeBucket.keys` is that of a metadata member."""
        return self.metadata_key is not None


class UsedTimeBucket(Struct, frozen=True):
    """Row of a time report. `time_used_ms` is the time in one bucket, from `session_count` sessions.

    `bucket` is a session id, a local day (`2026-01-31`), an ISO week (`2026-W05`), the first day of another week, or a
    month (`2026-01`). `keys` has the values by which the report groups its rows: of the metadata member, then of the
    labels. A value is None if the sessions lack this member or label. `participant_id` is empty without a grouping by
    participants.
    """

    bucket: str
    time_used_ms: int
    session_count: int
    keys: tuple[str | None, ...] = ()
    participant_id: str = ""

    @property
    def position(self) -> ReportPosition:
        """Return the position of this row in its report."""
        return ReportPosition(self.bucket, self.participant_id, tuple(each or "" for each in self.keys))


class UsedSpan(Struct, frozen=True):
    """A time that a participant used, from `began_ms` (included) to `ended_ms` (excluded), ms since the Unix epoch."""

    participant_id: str
    began_ms: int
    ended_ms: int


class UsedTimeInOutbox(Struct, frozen=True):
    """The used times in the versions of one session that are in the outbox.

    - `first_version`: instant in milliseconds and number of the first of these versions. Postgres is used only for the
      time before this version.
    - `spans`: the times of the charges of these versions, and of running turns.
    - `metadata`, `labels`: the session's metadata and labels as JSON.
    - `replaces_audited`: whether the session was deleted or amended, so that the versions in Postgres do not count.
    - `void_after_version`: the earliest version that one of these versions restored by an undo. The charges of later
      versions in Postgres do not count. None without an undo.
    """

    session_id: str
    first_version: tuple[int, int]
    metadata: str
    replaces_audited: bool
    spans: tuple[UsedSpan, ...]
    labels: str = "{}"
    void_after_version: int | None = None
