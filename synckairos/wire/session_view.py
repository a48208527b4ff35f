"""Pydantic models of a session's document. OpenAPI and AsyncAPI are generated from these models.

The models render nothing: `session_json.py` renders a session's document.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WithJsonSchema

from synckairos.wire.creation_body import ExtendByName, OnTimeoutName, SyncModeName

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Ms = int
"""Milliseconds. `field_docs.py` has the descriptions of the JSON members."""

ParticipantStatusName = Literal["waiting", "running", "paused", "finished", "expired"]
StatusName = Literal["pending", "running", "paused", "expired", "completed", "cancelled"]


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


class PauseView(BaseModel):
    """An active pause reason."""

    reason: str
    paused_at: Instant
    max_ms: Ms | None
    lifts_at: Instant | None
    paused_by: str | None = Field(
        description="Actor that paused the session; null if the clock paused the session at zero"
    )


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
    done_turn: int = Field(
        default=0, description="Number of the last turn in which the participant was done; absent if it never was"
    )
    clock: dict[str, Any] = Field(
        default_factory=dict,
        description="The participant's own clock system; absent if the session's clock system applies",
    )
    reading: Reading = Field(
        default_factory=Reading, description="Facts of the clock; absent if the reading is simply remaining − elapsed"
    )
    lag: LagView = Field(default_factory=LagView)
    status: ParticipantStatusName = Field(
        default="waiting", description="Status of the participant's clock in `individual`; absent in other modes"
    )
    anchor_at: Instant = Field(
        default="",
        description="Instant from which the participant's running clock is measured; absent if it does not run",
    )
    deadline_at: Instant = Field(
        default="", description="Instant when the participant's clock reaches zero; absent if there is no such instant"
    )
    finished_at: Instant = Field(default="", description="Instant when the participant's clock ended; absent before")
    ends_at: Instant = Field(
        default="",
        description="End of the participant's clock in a session with `ends_at`; the clock shows the time to it",
    )
    time_factor: float = Field(default=1, description="Factor of the participant's time; absent if it is 1")
    end_offset_ms: Ms = Field(
        default=0, description="Time in ms by which adjustments moved the participant's `ends_at`; absent if it is 0"
    )
    pauses: list[PauseView] = Field(
        default=[], description="Active pause reasons of the participant's clock; absent if it is not paused"
    )
    warned_ms: list[Ms] = Field(
        default=[],
        description="Warning thresholds that were sent, or that the clock had passed at its start; absent if empty",
    )
    overtime: bool = Field(
        default=False, description="Always true: the overtime of this clock has begun; absent before overtime"
    )


class GroupView(BaseModel):
    """A group and its clock."""

    group_id: Id
    total_time_ms: Ms
    time_used_ms: Ms
    time_remaining_ms: Ms
    has_expired: bool
    reading: Reading = Field(default_factory=Reading)


class PlanItemView(BaseModel):
    """An item of a plan. Unset members are absent. In a merge patch, `plan` is an object of items by `item_id`."""

    item_id: str
    index: int
    title: str = ""
    time_ms: Ms
    participant_id: Id = Field(default="", description="Participant that has the turn with this item; absent if unset")
    warnings_ms: list[Ms] = Field(
        default_factory=list, description="Warning times of this item in ms; absent if those of the session apply"
    )
    status: Literal["pending", "running", "done"] = Field(
        description="Status of the item: not begun, item of the current turn, or begun and ended"
    )
    time_used_ms: Ms = Field(description="Time of all turns with this item before `cycle_started_at`, in ms")
    planned_start_at: Instant = ""


class BreakView(BaseModel):
    """A time in a recorded or amended session that does not count. It begins at `from` and ends before `to`."""

    from_: Instant = Field(alias="from")
    to: Instant


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
    began_version: int = Field(
        default=0, description="Version that began this turn. Absent if no undo can cross the last change"
    )


class RestView(BaseModel):
    """The rest days of a session: weekdays from 1 (Monday) to 7 (Sunday) in a local time, as its offset to UTC."""

    weekdays: list[int] = Field(default_factory=list)
    utc_offset_minutes: int = 0


class FreeFirstTurnView(BaseModel):
    """The rule of free first turns: the maximum time of such a turn in ms, after which the session is cancelled."""

    limit_ms: Ms = 0


class ExtensionsView(BaseModel):
    """The extensions of a soft close so far: their number, and the time in ms that they added."""

    count: int = 0
    added_ms: Ms = 0


class AnnouncementView(BaseModel):
    """A text for the audience. Pages show it before the instant `until`, without an end if `until` is absent."""

    text: str = ""
    tone: Literal["info", "warning", "urgent"] = "info"
    announced_at: Instant = ""
    flash: bool = Field(
        default=False, description="Always true: pages flash the text for a short time; absent if they do not"
    )
    until: Instant = Field(default="", description="Instant from which pages do not show the text; absent if unset")


class SessionView(BaseModel):
    """A session after its last transition. The times do not change while a clock runs.

    If `cycle_started_at` is not null, one clock runs: the clock of the active participant, of its group, or of the
    session, depending on the mode. At the instant `now` the running clock shows `time_remaining_ms − (now −
    cycle_started_at)`. All other clocks show `time_remaining_ms`. For a clock with the member `reading`, the facts in
    `reading` change this calculation. In `individual`, `cycle_started_at` is null, and the clock of each participant
    with `anchor_at` runs: it shows its `time_remaining_ms − (now − anchor_at)`, or the time to its `ends_at`.
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
    rest: RestView = Field(default_factory=RestView, description="Rest days; absent if there are none")
    free_first_turn: FreeFirstTurnView = Field(
        default_factory=FreeFirstTurnView,
        description="The first turn of each participant is free; absent if it is like the others",
    )
    close_when_all_done: bool = Field(
        default=False, description="Always true: a turn ends when all participants are done; absent if it does not"
    )
    plan: list[PlanItemView] = Field(default_factory=list, description="Plan of the session; absent without a plan")
    current_item_id: str = Field(
        default="", description="Id of the item of the most recently begun turn; absent before the start"
    )
    next_item_id: str = Field(default="", description="Id of the item that begins after a hold; absent outside a hold")
    schedule_offset_ms: Ms = Field(
        default=0,
        description="Time in ms by which the current item began later than planned; absent before the start",
    )
    starts_at: Instant = Field(default="", description="Instant at which the session starts by itself; absent if unset")
    ends_at: Instant = Field(
        default="", description="Instant at which the clock reaches zero, also during a pause; absent with a budget"
    )
    breaks: list[BreakView] = Field(
        default=[], description="Breaks of a recorded or amended session; absent if the clock measured its times"
    )
    announcement: AnnouncementView = Field(
        default_factory=AnnouncementView, description="The newest announcement; absent if there is none"
    )
    screen: Literal["blackout", "focus", "standby"] = Field(
        default="focus", description="Mode of the screens of the audience; absent if they show the whole session"
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
