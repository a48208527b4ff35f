"""What comes back, as models: OpenAPI describes answers by them, and tests hold the rendered documents to them.

Nothing is rendered through them: a session's document is made once, in `wire/session_json.py`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from synckairos.clock.model import EventType
from synckairos.wire.creation_body import OnTimeoutName, SyncModeName

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Ms = Annotated[int, Field(description="ms")]
StatusName = Literal["pending", "running", "paused", "expired", "completed", "cancelled"]
EventTypeName = Annotated[str, WithJsonSchema({"type": "string", "enum": [str(each) for each in EventType]})]


class Reading(BaseModel):
    """What a client needs besides remaining − elapsed; which members there are depends on the clock system."""

    rate_ms: int = Field(default=0, description="ms a second by which the reading changes: −1000, 0 or 1000")
    free_until_at: Instant | None = Field(default=None, description="Until then the turn costs nothing")
    phase: Literal["main", "overtime"] = "main"
    periods_left: int = 0
    period_ms: Ms = 0
    moves_left: int = 0
    stage: int = 0


class LagView(BaseModel):
    """Left out where lag isn't compensated: what may be yet, what each turn adds, what was so far."""

    quota_ms: Ms = 0
    gain_ms: Ms = 0
    compensated_ms: Ms = 0


class ReceiptView(BaseModel):
    """How the last finished turn was charged: elapsed = compensated + charged. Left out where lag isn't compensated."""

    participant_id: Id = ""
    elapsed_ms: Ms = 0
    trusted_lag_ms: Ms = 0
    compensated_ms: Ms = 0
    charged_ms: Ms = 0
    quota_left_ms: Ms = 0


class ParticipantView(BaseModel):
    participant_id: Id
    participant_index: int
    display_name: str | None
    group_id: Id = Field(default="", description="Left out where there is none")
    total_time_ms: Ms = Field(description="Used and remaining")
    time_used_ms: Ms
    time_remaining_ms: Ms
    cycle_count: int
    is_active: bool
    has_expired: bool
    clock: dict[str, Any] = Field(default_factory=dict, description="Where it isn't the session's")
    reading: Reading = Field(default_factory=Reading, description="Where the clock needs more than a subtraction")
    lag: LagView = Field(default_factory=LagView)


class GroupView(BaseModel):
    group_id: Id
    total_time_ms: Ms
    time_used_ms: Ms
    time_remaining_ms: Ms
    has_expired: bool
    reading: Reading = Field(default_factory=Reading)


class PauseView(BaseModel):
    reason: str
    paused_at: Instant
    max_ms: Ms | None
    lifts_at: Instant | None
    paused_by: str | None = Field(description="Who paused; null is the clock itself")


class TurnView(BaseModel):
    """Facts of the running turn: what it has used, how many there were before it, which warnings it has had."""

    used_ms: Ms
    cycles: int
    warned_ms: list[Ms]


class SessionView(BaseModel):
    """A session as of its last transition. What runs reads `time_remaining_ms − (now − cycle_started_at)`."""

    session_id: Id
    sync_mode: SyncModeName
    status: StatusName
    version: int = Field(ge=1)
    epoch: str
    participants: list[ParticipantView]
    groups: list[GroupView]
    active_participant_id: Id | None
    active_group_id: Id | None
    total_time_ms: Ms
    time_used_ms: Ms
    time_remaining_ms: Ms | None
    time_per_cycle_ms: Ms | None
    increment_ms: Ms = Field(default=0, description="Left out where it wasn't given")
    max_time_ms: Ms = Field(default=0, description="Left out where it wasn't given")
    max_cycles: int | None
    clock: dict[str, Any]
    on_timeout: OnTimeoutName
    warnings_ms: list[Ms]
    extend_on_switch_ms: Ms = Field(default=0, description="Left out where it wasn't given")
    pause_budget: int = Field(default=0, description="Left out where it wasn't given")
    pauses_taken: dict[str, int] = Field(default_factory=dict, description="By who; left out without a budget")
    lag_compensation: bool = Field(default=False, description="Left out where it isn't so")
    lag_receipt: ReceiptView = Field(default_factory=ReceiptView)
    pauses: list[PauseView]
    deadline_at: Instant | None = Field(description="Zero of the running clock")
    cycle_started_at: Instant | None = Field(description="The anchor: from here the running clock is measured")
    session_started_at: Instant | None
    session_completed_at: Instant | None
    created_at: Instant
    updated_at: Instant
    metadata: dict[str, Any]
    turn: TurnView


class SessionAnswer(BaseModel):
    data: SessionView


class SwitchView(BaseModel):
    session_id: Id
    active_participant_id: Id | None
    cycle_started_at: Instant | None
    participants: list[ParticipantView]
    status: StatusName
    version: int
    expired_participant_id: Id = Field(default="", description="Whose time ran out, where somebody's did")
    lag_receipt: ReceiptView = Field(default_factory=ReceiptView)


class SwitchAnswer(BaseModel):
    data: SwitchView


class SessionPage(BaseModel):
    data: list[SessionView]
    next_cursor: str | None


class EventView(BaseModel):
    epoch: str
    version: int
    event_type: EventTypeName
    participant_id: Id = ""
    group_id: Id = ""
    actor: str = ""
    occurred_at: Instant
    time_used_ms: Ms = 0
    time_remaining_ms: Ms = 0
    state: SessionView | None = Field(default=None, description="With `snapshots`")


class EventPage(BaseModel):
    data: list[EventView]
    next_cursor: str | None


class ArchiveView(BaseModel):
    """A session's archive, as far as the caller's role is shown it."""

    session_id: Id
    version: int
    epoch: str
    archived_at: Instant
    event_count: int
    session: SessionView
    events: list[EventView] = Field(default=[], description="For the role that the server's settings name")
    path: str = Field(default="", description="For admins, as are the next two")
    size_bytes: int = 0
    checksum: str = ""


class ArchiveAnswer(BaseModel):
    data: ArchiveView


class ParticipationView(BaseModel):
    session_id: Id
    sync_mode: SyncModeName
    status: StatusName
    started_at: Instant | None
    completed_at: Instant | None
    time_used_ms: Ms
    paused_ms: Ms
    cycle_count: int
    metadata: dict[str, Any]
    synced: bool = Field(description="Whether the audit has the newest version")


class ParticipationPage(BaseModel):
    data: list[ParticipationView]
    next_cursor: str | None


class TimeBucket(BaseModel):
    bucket: str = Field(description="A session's id, a day, or an ISO week")
    key: str | None = Field(default=None, description="With `group_by`")
    time_used_ms: Ms
    session_count: int


class TimeBuckets(BaseModel):
    data: list[TimeBucket]


class TimelineRow(BaseModel):
    """Something that happened, or the code by which a command was refused."""

    at_ms: Ms
    event_type: EventTypeName = ""
    version: int = 0
    participant_id: Id = ""
    refused: str = ""


class Timeline(BaseModel):
    timeline: list[TimelineRow]
    final: SessionView


class SimulationAnswer(BaseModel):
    data: Timeline


class TimeView(BaseModel):
    timestamp_ms: int = Field(description="Redis TIME, in ms since the Unix epoch")
    server_version: str
    drift_tolerance_ms: Literal[50]


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    status: Literal["ready", "degraded", "not_ready"]
    reason: str = ""


class FaultView(BaseModel):
    path: str
    message: str


class ErrorView(BaseModel):
    code: str
    message: str
    details: Any = Field(default=None, description="For VALIDATION_ERROR every fault: `[{path, message}]`")
    retry_after_seconds: int = Field(default=1, description="For RATE_LIMIT_EXCEEDED alone")


class Problem(BaseModel):
    """RFC 9457, with v2's `error` beside it."""

    type: str
    title: str
    status: int
    detail: str
    error: ErrorView
