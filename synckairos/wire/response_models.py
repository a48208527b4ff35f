"""Pydantic models of responses. OpenAPI is generated from the models, and tests validate rendered responses with them.

The models render nothing: `session_json.py` renders a session's document.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from synckairos.clock.model import EventType
from synckairos.wire.creation_body import ExtendByName, OnTimeoutName, SyncModeName

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Ms = int
"""Milliseconds. `field_docs.py` has the descriptions of the JSON members."""
StatusName = Literal["pending", "running", "paused", "expired", "completed", "cancelled"]
EventTypeName = Annotated[str, WithJsonSchema({"type": "string", "enum": [str(each) for each in EventType]})]


class WarningView(BaseModel):
    """A part without effect in an accepted request."""

    path: str = Field(description="Path to the JSON member, with dots; empty for the whole body")
    message: str = Field(description="Reason why the member has no effect")


Warnings = Annotated[
    list[WarningView], Field(description="Parts of the body that have no effect; absent if there are none")
]


class Reading(BaseModel):
    """Facts of a clock whose shown time is not simply its remaining time minus the elapsed time.

    The clock system determines which members are present.
    """

    rate_ms: int = Field(default=0, description="Speed of the reading in ms per second: −1000, 0 or 1000")
    free_until_at: Instant | None = Field(
        default=None, description="Instant at which the free time of this turn ends; null if no clock runs"
    )
    phase: Literal["main", "overtime"] = "main"
    periods_left: int = 0
    period_ms: Ms = 0
    moves_left: int = 0
    stage: int = 0
    period_moves: int = 0


class LagView(BaseModel):
    """Lag account of a participant: remaining quota, gain per turn, total compensated time.

    Absent if the session does not use lag compensation.
    """

    quota_ms: Ms = 0
    gain_ms: Ms = 0
    compensated_ms: Ms = 0


class ReceiptView(BaseModel):
    """Charge of the most recently finished turn: elapsed = compensated + charged.

    Absent before the first turn ends, or if the session does not use lag compensation.
    """

    participant_id: Id = ""
    elapsed_ms: Ms = 0
    trusted_lag_ms: Ms = 0
    compensated_ms: Ms = 0
    charged_ms: Ms = 0
    quota_left_ms: Ms = 0


class ParticipantView(BaseModel):
    """A participant and its clock."""

    participant_id: Id
    participant_index: int
    display_name: str | None
    group_id: Id = Field(default="", description="Id of the participant's group; absent without a group")
    total_time_ms: Ms = Field(description="`time_used_ms` plus `time_remaining_ms`")
    time_used_ms: Ms
    time_remaining_ms: Ms
    cycle_count: int
    is_active: bool
    has_expired: bool
    clock: dict[str, Any] = Field(
        default_factory=dict,
        description="The participant's own clock system; absent if the session's clock system applies",
    )
    reading: Reading = Field(
        default_factory=Reading, description="Facts of the clock; absent if the reading is simply remaining − elapsed"
    )
    lag: LagView = Field(default_factory=LagView)


class GroupView(BaseModel):
    """A group and its clock."""

    group_id: Id
    total_time_ms: Ms
    time_used_ms: Ms
    time_remaining_ms: Ms
    has_expired: bool
    reading: Reading = Field(default_factory=Reading)


class PauseView(BaseModel):
    """An active pause reason."""

    reason: str
    paused_at: Instant
    max_ms: Ms | None
    lifts_at: Instant | None
    paused_by: str | None = Field(
        description="Actor that paused the session; null if the clock paused the session at zero"
    )


class TurnView(BaseModel):
    """Facts of the current turn: time used before the anchor, number of earlier turns, and warning thresholds.

    `warned_ms` has the thresholds that were sent in this turn, or that the clock had already passed when the turn
    began.
    """

    used_ms: Ms
    cycles: int
    warned_ms: list[Ms]
    overtime: bool = Field(
        default=False, description="Always true: the overtime of this turn has begun; absent before overtime"
    )


class ExtensionsView(BaseModel):
    """The extensions of a soft close so far: their number, and the time in ms that they added."""

    count: int = 0
    added_ms: Ms = 0


class SessionView(BaseModel):
    """A session after its last transition. The times do not change while a clock runs.

    If `cycle_started_at` is not null, one clock runs: the clock of the active participant, of its group, or of the
    session, depending on the mode. At the instant `now` the running clock shows `time_remaining_ms − (now −
    cycle_started_at)`. All other clocks show `time_remaining_ms`. For a clock with the member `reading`, the facts in
    `reading` change this calculation.
    """

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
    increment_ms: Ms = Field(default=0, description="Time in ms that is added after each turn; absent if unset")
    max_time_ms: Ms = Field(
        default=0, description="Maximum time in ms, at which a `count_up` session expires; absent if unset"
    )
    max_cycles: int | None
    clock: dict[str, Any]
    on_timeout: OnTimeoutName
    warnings_ms: list[Ms]
    initial_ms: Ms = Field(default=0, description="Time in ms at the start of a `count_up` session; absent if unset")
    extend_on_switch_ms: Ms = Field(
        default=0, description="Minimum remaining time in ms after each switch; absent if unset"
    )
    extend_window_ms: Ms = Field(
        default=0, description="Remaining time in ms from which on a switch extends the time; absent if unset"
    )
    extend_by: ExtendByName = Field(default="reset", description="Way of the extension; absent if unset")
    max_extension_ms: Ms = Field(default=0, description="Maximum sum of all extensions in ms; absent if unset")
    max_extensions: int = Field(default=0, description="Maximum number of extensions; absent if unset")
    extensions: ExtensionsView = Field(
        default_factory=ExtensionsView, description="Extensions so far; absent without `extend_on_switch_ms`"
    )
    switch_while_paused: bool = Field(
        default=False, description="Always true: a switch is allowed during a pause; absent if it is not"
    )
    between_turns: Literal["hold"] = Field(
        default="hold", description="Each turn ends with a hold; absent if the next turn begins at once"
    )
    pause_budget: int = Field(default=0, description="Maximum number of pauses of each actor; absent if unset")
    pauses_taken: dict[str, int] = Field(default_factory=dict, description="Number of pauses that each actor has taken")
    lag_compensation: bool = Field(default=False, description="Always true; absent if lag compensation is off")
    lag_receipt: ReceiptView = Field(default_factory=ReceiptView)
    pauses: list[PauseView]
    deadline_at: Instant | None = Field(
        description="Instant when the running clock reaches zero; null if there is no such instant"
    )
    cycle_started_at: Instant | None = Field(
        description="Anchor: instant from which the running clock is measured; null if no clock runs"
    )
    session_started_at: Instant | None
    session_completed_at: Instant | None
    created_at: Instant
    updated_at: Instant
    metadata: dict[str, Any]
    turn: TurnView
    labels: dict[str, str] = Field(default_factory=dict, description="Labels by key; absent without labels")
    turn_number: int = Field(
        default=0,
        description="Number of turns that have begun, 0 before the start. Absent in sessions of earlier releases",
    )


class SessionAnswer(BaseModel):
    data: SessionView
    warnings: Warnings = Field(default_factory=list)


class SwitchView(BaseModel):
    """The result of a switch: the JSON members of the session that a switch changes."""

    session_id: Id
    active_participant_id: Id | None
    cycle_started_at: Instant | None
    participants: list[ParticipantView]
    status: StatusName
    version: int
    expired_participant_id: Id = Field(
        default="", description="The participant whose time ran out with this command; absent if no time ran out"
    )
    lag_receipt: ReceiptView = Field(default_factory=ReceiptView)


class SwitchAnswer(BaseModel):
    data: SwitchView
    warnings: Warnings = Field(default_factory=list)


class SessionPage(BaseModel):
    data: list[SessionView]
    next_cursor: str | None


class EventView(BaseModel):
    """One event of the audit trail. Members without a value are absent.

    `time_used_ms` and `time_remaining_ms` are the times after the event.
    """

    epoch: str
    version: int
    event_type: EventTypeName
    participant_id: Id = ""
    group_id: Id = ""
    actor: str = Field(default="", description="Actor that caused the event; absent below the role `controller`")
    occurred_at: Instant
    time_used_ms: Ms = 0
    time_remaining_ms: Ms = 0
    state: SessionView | None = Field(
        default=None, description="The session after the event; only if the query has `snapshots`"
    )
    role: str = Field(
        default="",
        description="Role of the actor on the session; absent if it had no credential, and below the role `controller`",
    )
    on_behalf_of: Id = Field(
        default="",
        description="Participant for which the actor acted; absent if there is none, and below the role `controller`",
    )


class EventPage(BaseModel):
    data: list[EventView]
    next_cursor: str | None


class ArchiveView(BaseModel):
    """A session's archive. The role of the caller determines which members are present."""

    session_id: Id
    version: int
    epoch: str
    archived_at: Instant = Field(description="Instant when the archive was written")
    event_count: int = Field(description="Number of events in the archive")
    session: SessionView
    events: list[EventView] = Field(
        default=[], description="Events of the session; only for roles that the server's settings allow"
    )
    path: str = Field(default="", description="Path in cold storage; only for admins")
    size_bytes: int = Field(default=0, description="Size in bytes; only for admins")
    checksum: str = Field(default="", description="SHA-256 of the archive; only for admins")


class ArchiveAnswer(BaseModel):
    data: ArchiveView


class ParticipationView(BaseModel):
    """A session in the list of one participant's sessions."""

    session_id: Id
    sync_mode: SyncModeName
    status: StatusName
    started_at: Instant | None
    completed_at: Instant | None
    time_used_ms: Ms
    paused_ms: Ms
    cycle_count: int
    metadata: dict[str, Any]
    synced: bool = Field(description="Whether Postgres has the newest version of the session")


class ParticipationPage(BaseModel):
    data: list[ParticipationView]
    next_cursor: str | None


class TimeBucket(BaseModel):
    """The sum of the times of a participant in one bucket: a session, a day or an ISO week."""

    bucket: str = Field(description="Session id, day, or ISO week")
    key: str | None = Field(
        default=None, description="Value of the metadata member that `group_by` names; only with `group_by`"
    )
    time_used_ms: Ms
    session_count: int


class TimeBuckets(BaseModel):
    data: list[TimeBucket]


class TimelineRow(BaseModel):
    """One event of the simulation, or one refused command with the code of the refusal and the reason."""

    at_ms: Ms
    event_type: EventTypeName = ""
    version: int = 0
    participant_id: Id = ""
    refused: str = ""
    message: str = ""


class Timeline(BaseModel):
    """The result of a simulation: its events and refused commands, and the session at the end."""

    timeline: list[TimelineRow]
    final: SessionView


class SimulationAnswer(BaseModel):
    data: Timeline
    warnings: Warnings = Field(default_factory=list)


class TimeView(BaseModel):
    """The time of Redis, and the version of the server."""

    timestamp_ms: int = Field(description="Time of Redis in ms since the Unix epoch")
    server_version: str = Field(description="Version of the server")
    drift_tolerance_ms: Literal[50]


class Health(BaseModel):
    """The response of a running process. It does not say whether the process is ready."""

    status: Literal["ok"] = Field(description="Always `ok`")


class Readiness(BaseModel):
    """The readiness of the instance to serve requests."""

    status: Literal["ready", "degraded", "not_ready"] = Field(description="Readiness of the instance")
    reason: str = Field(
        default="", description="Reason why the instance is degraded or not ready. Absent if authentication is on"
    )


class FaultView(BaseModel):
    """One fault of a refused request."""

    path: str = Field(description="Path to the JSON member, with dots; empty for the whole body")
    message: str = Field(description="Description of the fault")


class ErrorView(BaseModel):
    """The error in the form that v2 clients read."""

    code: str
    message: str
    details: Any = Field(default=None, description="For VALIDATION_ERROR: all faults, as `[{path, message}]`")
    retry_after_seconds: int = Field(
        default=1, description="Seconds to wait before the next request; only for RATE_LIMIT_EXCEEDED"
    )


class Problem(BaseModel):
    """Problem details (RFC 9457), with the JSON member `error` of v2."""

    type: str = Field(description="Always `about:blank`")
    title: str = Field(description="Reason phrase of the HTTP status")
    status: int
    detail: str = Field(description="Description of the error for people; its text can change")
    error: ErrorView
