# Generated from /openapi.json by `make python-client`. Do not edit.
"""The bodies and results of the REST operations."""

from typing import Any, Literal, NotRequired, TypedDict

# The settings of a clock system without settings: an empty object.
NoSettings = dict[str, Any]


class FischerSettings(TypedDict):
    """Each turn that ends before its zero adds `increment_ms`, but does not raise the budget above `cap_ms`.  A budget
    that is already above `cap_ms` stays unchanged.
    """

    # Duration in ms, at most 400 days
    increment_ms: int
    # Budget in ms, 1 s to 400 days
    cap_ms: NotRequired[int]


class DelaySettings(TypedDict):
    """The time `delay_ms` of each turn.  `bronstein` charges the turn, and then gives back the time that the turn
    used, but at most `delay_ms`. `delay` does not charge the first `delay_ms` of the turn.
    """

    # Duration in ms, at most 400 days
    delay_ms: int


class ByoyomiSettings(TypedDict):
    """Main time, then `periods` overtime periods of `period_ms` each.  A period that runs out is lost. A turn that
    ends within a period makes that period full again. A turn that ends in main time adds `increment_ms`.
    """

    # Number of overtime periods
    periods: int
    # Budget in ms, 1 s to 400 days
    period_ms: int
    # Duration in ms, at most 400 days
    increment_ms: NotRequired[int]


class CanadianSettings(TypedDict):
    """Main time, then overtime periods of `period_ms`. A full period begins again after each `moves` finished turns.
    If `moves_step` is given, each further period needs that many turns more, but at most `moves_max` turns.
    """

    # Number of turns
    moves: int
    # Budget in ms, 1 s to 400 days
    period_ms: int
    # Number of turns
    moves_step: NotRequired[int]
    # Number of turns
    moves_max: NotRequired[int]


class PerMoveSettings(TypedDict):
    """Each turn has a new budget of `move_ms`."""

    # Budget in ms, 1 s to 400 days
    move_ms: int


class StageSettings(TypedDict):
    """A stage: each turn adds `increment_ms`. After `moves` turns, `add_ms` is added once and the next stage begins.
    Each stage except the last stage needs `moves` or `at_zero`. The increment of the last stage continues for the
    rest of the session. With `at_zero`, the stage ends when its time runs out. With `delay_ms`, the first
    `delay_ms` of each turn are not charged. `delay_ms` excludes `increment_ms`.
    """

    # Number of turns
    moves: NotRequired[int]
    # Duration in ms, at most 400 days
    add_ms: NotRequired[int]
    # Duration in ms, at most 400 days
    increment_ms: NotRequired[int]
    # Duration in ms, at most 400 days
    delay_ms: NotRequired[int]
    # Whether the stage ends when its time runs out
    at_zero: NotRequired[bool]


class Clock(TypedDict):
    """Exactly one clock system with its settings."""

    sudden_death: NotRequired[NoSettings]
    fischer: NotRequired[FischerSettings]
    bronstein: NotRequired[DelaySettings]
    delay: NotRequired[DelaySettings]
    byoyomi: NotRequired[ByoyomiSettings]
    canadian: NotRequired[CanadianSettings]
    per_move: NotRequired[PerMoveSettings]
    hourglass: NotRequired[NoSettings]
    # Stages in order, each with its number of moves, added time and increment
    stages: NotRequired[list[StageSettings]]


class Participant(TypedDict):
    """A participant of a new session, or a participant that joins a session."""

    # Id of the participant
    participant_id: str
    # Position of the participant in the order of turns
    participant_index: NotRequired[int]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    total_time_ms: NotRequired[int]
    # Name of the participant for display
    display_name: NotRequired[str]
    # Id of the group (team)
    group_id: NotRequired[str]
    clock: NotRequired[Clock]
    # Factor of the participant's time, in hundredths. Only in `individual`
    time_factor: NotRequired[float]


class Group(TypedDict):
    """A team with one budget. If `total_time_ms` is absent, the budget is the sum of its participants' budgets.
    `members` lists the ids of the participants in the group, as in v2.
    """

    # Id of the group (team)
    group_id: str
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    total_time_ms: NotRequired[int]
    # Ids of the participants in this group
    members: NotRequired[list[str]]


class RestBody(TypedDict):
    """Rest days, on which the clock pauses by itself: weekdays from 1 (Monday) to 7 (Sunday), at most six.  A day
    begins at midnight of the local time, which is UTC plus `utc_offset_minutes`.
    """

    # Weekdays from 1 (Monday) to 7 (Sunday)
    weekdays: list[int]
    # Offset of the local time to UTC in minutes
    utc_offset_minutes: NotRequired[int]


class FreeFirstTurnBody(TypedDict):
    """The first turn of each participant is not charged to its budget. After `limit_ms` the session is cancelled."""

    # Maximum time of a free first turn in ms. After it the session is cancelled
    limit_ms: int


class NewPlanItem(TypedDict):
    """An item of a plan. Without an `item_id`, the id is the number of the item in the list, from 1, as text."""

    # Id of an item of the plan
    item_id: NotRequired[str]
    # Title of the item for display
    title: NotRequired[str]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    time_ms: int
    # Id of the participant
    participant_id: NotRequired[str]
    # Remaining times in ms at which a `time_warning` event is sent, once per turn for each time
    warnings_ms: NotRequired[list[int]]


# A time within a session that does not count. It begins at `from` and ends before `to`.
BreakBody = TypedDict(
    "BreakBody",
    {
        "from": str,
        "to": str,
    },
)


class RecordedBody(TypedDict):
    """The times of a session that has already ended. Breaks are in order, inside of the session, and do not overlap."""

    # Instant of the first start; null before the first start
    started_at: str
    # Instant at which the session ended, for any reason; null before the end
    completed_at: str
    breaks: NotRequired[list[BreakBody]]


class TimeoutAction(TypedDict):
    """The action when the time reaches zero, by a name of v2. It has no effect if `on_timeout` is also given.  A name
    that the mode does not support has no effect.
    """

    # Type of the message
    type: str


class CreateSession(TypedDict):
    """A session to create. The mode defines the defaults of omitted members."""

    # Id of the session
    session_id: NotRequired[str]
    # Mode of the session: whose budget the clock charges
    sync_mode: Literal["per_participant", "per_cycle", "per_group", "global", "count_up", "individual"]
    # The participants, in the order of their index
    participants: NotRequired[list[Participant]]
    # Teams. In `per_group` each team has one budget for its participants
    groups: NotRequired[list[Group]]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    total_time_ms: NotRequired[int]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    time_per_cycle_ms: NotRequired[int]
    # Time in ms that is added after each turn, at most 400 days
    increment_ms: NotRequired[int]
    # Budget in ms, 1 s to 400 days
    max_time_ms: NotRequired[int]
    # Duration in ms, at most 400 days
    initial_ms: NotRequired[int]
    # Number of cycles after which the session completes
    max_cycles: NotRequired[int]
    clock: NotRequired[Clock]
    # Action when the time reaches zero. The default depends on the mode
    on_timeout: NotRequired[Literal["expire", "advance", "pause", "overtime"]]
    # Remaining times in ms at which a `time_warning` event is sent, once per turn for each time
    warnings_ms: NotRequired[list[int]]
    # Budget in ms, 1 s to 400 days
    extend_on_switch_ms: NotRequired[int]
    # Remaining time in ms from which on a switch extends the time. Default: `extend_on_switch_ms`
    extend_window_ms: NotRequired[int]
    # `reset` (default): to at least `extend_on_switch_ms`. `add`: by `extend_on_switch_ms`
    extend_by: NotRequired[Literal["reset", "add"]]
    # Maximum sum of all extensions in ms. The last extension is cut
    max_extension_ms: NotRequired[int]
    # Maximum number of extensions
    max_extensions: NotRequired[int]
    # Whether a switch is allowed during a pause. It charges no time and the pause stays
    switch_while_paused: NotRequired[bool]
    between_turns: NotRequired[Literal["hold"]]
    rest: NotRequired[RestBody]
    free_first_turn: NotRequired[FreeFirstTurnBody]
    # Whether a turn ends when all participants are done
    close_when_all_done: NotRequired[bool]
    # Items in their order, each with its own time
    plan: NotRequired[list[NewPlanItem]]
    # Instant at which a pending session starts by itself
    starts_at: NotRequired[str]
    # Instant at which the clock reaches zero. It replaces the budget; only in `global` and `individual`
    ends_at: NotRequired[str]
    recorded: NotRequired[RecordedBody]
    # Maximum number of pauses of each actor
    pause_budget: NotRequired[int]
    # Whether lag compensation is on: network delay is not charged to a turn, up to a quota
    lag_compensation: NotRequired[bool]
    # Participant that has the turn. In a creation: the participant that has the first turn
    active_participant_id: NotRequired[str]
    # Group of the participant that has the turn. In a creation: the group that has the first turn
    active_group_id: NotRequired[str]
    # Accepted for v2 compatibility, without effect
    auto_advance: NotRequired[bool]
    action_on_timeout: NotRequired[TimeoutAction]
    # Free JSON object, at most 32768 bytes and 32 levels
    metadata: NotRequired[dict[str, Any]]
    # Keys and values by which sessions are found, at most 16
    labels: NotRequired[dict[str, Any]]


class PresetParticipant(TypedDict):
    """A participant of a session from a preset. Members that are left out are those of the role in the preset."""

    # Id of the participant. Default: a new UUID
    participant_id: NotRequired[str]
    # Position of the participant in the order of turns
    participant_index: NotRequired[int]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    total_time_ms: NotRequired[int]
    # Name of the participant for display
    display_name: NotRequired[str]
    # Id of the group (team)
    group_id: NotRequired[str]
    clock: NotRequired[Clock]
    # Factor of the participant's time, in hundredths. Only in `individual`
    time_factor: NotRequired[float]


class CreateFromPreset(TypedDict):
    """A session to create from a preset. Each member replaces the member of the preset, and null removes it.  If the
    preset has fixed roles, each of `participants` takes the role at its position. The members of `metadata` are
    added.
    """

    # Id of the session
    session_id: NotRequired[str | None]
    # Mode of the session: whose budget the clock charges
    sync_mode: NotRequired[
        Literal["per_participant", "per_cycle", "per_group", "global", "count_up", "individual"] | None
    ]
    # The participants, in the order of their index
    participants: NotRequired[list[PresetParticipant] | None]
    # Teams. In `per_group` each team has one budget for its participants
    groups: NotRequired[list[Group] | None]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    total_time_ms: NotRequired[int | None]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    time_per_cycle_ms: NotRequired[int | None]
    # Time in ms that is added after each turn, at most 400 days
    increment_ms: NotRequired[int | None]
    # Budget in ms, 1 s to 400 days
    max_time_ms: NotRequired[int | None]
    # Duration in ms, at most 400 days
    initial_ms: NotRequired[int | None]
    # Number of cycles after which the session completes
    max_cycles: NotRequired[int | None]
    # Clock system, as an object with one member: `fischer`, `byoyomi`, … Default: sudden death
    clock: NotRequired[Clock | None]
    # Action when the time reaches zero. The default depends on the mode
    on_timeout: NotRequired[Literal["expire", "advance", "pause", "overtime"] | None]
    # Remaining times in ms at which a `time_warning` event is sent, once per turn for each time
    warnings_ms: NotRequired[list[int] | None]
    # Budget in ms, 1 s to 400 days
    extend_on_switch_ms: NotRequired[int | None]
    # Remaining time in ms from which on a switch extends the time. Default: `extend_on_switch_ms`
    extend_window_ms: NotRequired[int | None]
    # `reset` (default): to at least `extend_on_switch_ms`. `add`: by `extend_on_switch_ms`
    extend_by: NotRequired[Literal["reset", "add"] | None]
    # Maximum sum of all extensions in ms. The last extension is cut
    max_extension_ms: NotRequired[int | None]
    # Maximum number of extensions
    max_extensions: NotRequired[int | None]
    # Whether a switch is allowed during a pause. It charges no time and the pause stays
    switch_while_paused: NotRequired[bool | None]
    # `hold`: each turn ends with a pause, until a resume begins the next turn
    between_turns: NotRequired[Literal["hold"] | None]
    # Rest days, on which the clock pauses by itself
    rest: NotRequired[RestBody | None]
    # Makes the first turn of each participant free; only in `per_participant`
    free_first_turn: NotRequired[FreeFirstTurnBody | None]
    # Whether a turn ends when all participants are done
    close_when_all_done: NotRequired[bool | None]
    # Items in their order, each with its own time
    plan: NotRequired[list[NewPlanItem] | None]
    # Instant at which a pending session starts by itself
    starts_at: NotRequired[str | None]
    # Instant at which the clock reaches zero. It replaces the budget; only in `global` and `individual`
    ends_at: NotRequired[str | None]
    recorded: NotRequired[RecordedBody | None]
    # Maximum number of pauses of each actor
    pause_budget: NotRequired[int | None]
    # Whether lag compensation is on: network delay is not charged to a turn, up to a quota
    lag_compensation: NotRequired[bool | None]
    # Participant that has the turn. In a creation: the participant that has the first turn
    active_participant_id: NotRequired[str | None]
    # Group of the participant that has the turn. In a creation: the group that has the first turn
    active_group_id: NotRequired[str | None]
    # Accepted for v2 compatibility, without effect
    auto_advance: NotRequired[bool | None]
    action_on_timeout: NotRequired[TimeoutAction | None]
    # Free JSON object, at most 32768 bytes and 32 levels
    metadata: NotRequired[dict[str, Any] | None]
    # Keys and values by which sessions are found, at most 16
    labels: NotRequired[dict[str, Any] | None]
    # Name of the preset, such as `chess/fide-blitz`
    preset: str


class Reading(TypedDict):
    """Facts of a clock whose shown time is not simply its remaining time minus the elapsed time.  The clock system
    determines which members are present.
    """

    # Speed of the reading in ms per second: −1000, 0 or 1000
    rate_ms: NotRequired[int]
    # Instant at which the free time of this turn ends; null if no clock runs
    free_until_at: NotRequired[str | None]
    # Phase of a clock with overtime periods: main time or overtime
    phase: NotRequired[Literal["main", "overtime"]]
    # Remaining overtime periods
    periods_left: NotRequired[int]
    # Length of a period in ms
    period_ms: NotRequired[int]
    # Number of turns until the next period or stage
    moves_left: NotRequired[int]
    # Current stage of the clock, from 0
    stage: NotRequired[int]
    # Number of turns that the current period needs, with `moves_step`
    period_moves: NotRequired[int]


class LagView(TypedDict):
    """Lag account of a participant: remaining quota, gain per turn, total compensated time.  Absent if the session
    does not use lag compensation.
    """

    # Remaining quota of lag compensation in ms
    quota_ms: NotRequired[int]
    # Time in ms that each turn adds to the quota of lag compensation
    gain_ms: NotRequired[int]
    # Part of the turn in ms that was not charged to the budget
    compensated_ms: NotRequired[int]


class PauseView(TypedDict):
    """An active pause reason."""

    # Name of the pause reason; several reasons can be active at the same time
    reason: str
    # Instant when this pause reason began
    paused_at: str
    # Time in ms after which the pause reason ends automatically; null if only a command ends it
    max_ms: int | None
    # Instant when this pause reason ends automatically; null if only a command ends it
    lifts_at: str | None
    # Actor that paused the session; null if the clock paused the session at zero
    paused_by: str | None


class ParticipantView(TypedDict):
    """A participant and its clock."""

    # Id of the participant
    participant_id: str
    # Position of the participant in the order of turns
    participant_index: int
    # Name of the participant for display
    display_name: str | None
    # Id of the participant's group; absent without a group
    group_id: NotRequired[str]
    # `time_used_ms` plus `time_remaining_ms`
    total_time_ms: int
    # Time in ms that the participant, group or session has used
    time_used_ms: int
    # Remaining time in ms at the instant `cycle_started_at`; null if there is no time limit
    time_remaining_ms: int
    # Number of finished turns
    cycle_count: int
    # Whether the participant or group has the turn
    is_active: bool
    # Whether the time of the participant or group ran out
    has_expired: bool
    # Number of the last turn in which the participant was done; absent if it never was
    done_turn: NotRequired[int]
    # The participant's own clock system; absent if the session's clock system applies
    clock: NotRequired[dict[str, Any]]
    # Facts of the clock; absent if the reading is simply remaining − elapsed
    reading: NotRequired[Reading]
    lag: NotRequired[LagView]
    # Status of the participant's clock in `individual`; absent in other modes
    status: NotRequired[Literal["waiting", "running", "paused", "finished", "expired"]]
    # Instant from which the participant's running clock is measured; absent if it does not run
    anchor_at: NotRequired[str]
    # Instant when the participant's clock reaches zero; absent if there is no such instant
    deadline_at: NotRequired[str]
    # Instant when the participant's clock ended; absent before
    finished_at: NotRequired[str]
    # End of the participant's clock in a session with `ends_at`; the clock shows the time to it
    ends_at: NotRequired[str]
    # Factor of the participant's time; absent if it is 1
    time_factor: NotRequired[float]
    # Time in ms by which adjustments moved the participant's `ends_at`; absent if it is 0
    end_offset_ms: NotRequired[int]
    # Active pause reasons of the participant's clock; absent if it is not paused
    pauses: NotRequired[list[PauseView]]
    # Warning thresholds that were sent, or that the clock had passed at its start; absent if empty
    warned_ms: NotRequired[list[int]]
    # Always true: the overtime of this clock has begun; absent before overtime
    overtime: NotRequired[bool]


class GroupView(TypedDict):
    """A group and its clock."""

    # Id of the group (team)
    group_id: str
    # Used plus remaining time in ms
    total_time_ms: int
    # Time in ms that the participant, group or session has used
    time_used_ms: int
    # Remaining time in ms at the instant `cycle_started_at`; null if there is no time limit
    time_remaining_ms: int
    # Whether the time of the participant or group ran out
    has_expired: bool
    reading: NotRequired[Reading]


class ExtensionsView(TypedDict):
    """The extensions of a soft close so far: their number, and the time in ms that they added."""

    # Number of extensions
    count: NotRequired[int]
    # Time in ms that the extensions added
    added_ms: NotRequired[int]


class RestView(TypedDict):
    """The rest days of a session: weekdays from 1 (Monday) to 7 (Sunday) in a local time, as its offset to UTC."""

    # Weekdays from 1 (Monday) to 7 (Sunday)
    weekdays: NotRequired[list[int]]
    # Offset of the local time to UTC in minutes
    utc_offset_minutes: NotRequired[int]


class FreeFirstTurnView(TypedDict):
    """The rule of free first turns: the maximum time of such a turn in ms, after which the session is cancelled."""

    # Maximum time of a free first turn in ms. After it the session is cancelled
    limit_ms: NotRequired[int]


class PlanItemView(TypedDict):
    """An item of a plan. Unset members are absent. In a merge patch, `plan` is an object of items by `item_id`."""

    # Id of an item of the plan
    item_id: str
    # Position of the item in the plan, from 0
    index: int
    # Title of the item for display
    title: NotRequired[str]
    # Budget of a turn with this item in ms
    time_ms: int
    # Participant that has the turn with this item; absent if unset
    participant_id: NotRequired[str]
    # Warning times of this item in ms; absent if those of the session apply
    warnings_ms: NotRequired[list[int]]
    # Status of the item: not begun, item of the current turn, or begun and ended
    status: Literal["pending", "running", "done"]
    # Time of all turns with this item before `cycle_started_at`, in ms
    time_used_ms: int
    # Instant at which the item begins by the plan as it was at the start of the session
    planned_start_at: NotRequired[str]


# A time in a recorded or amended session that does not count. It begins at `from` and ends before `to`.
BreakView = TypedDict(
    "BreakView",
    {
        "from": str,
        "to": str,
    },
)


class AnnouncementView(TypedDict):
    """A text for the audience. Pages show it before the instant `until`, without an end if `until` is absent."""

    text: NotRequired[str]
    tone: NotRequired[Literal["info", "warning", "urgent"]]
    announced_at: NotRequired[str]
    # Always true: pages flash the text for a short time; absent if they do not
    flash: NotRequired[bool]
    # Instant from which pages do not show the text; absent if unset
    until: NotRequired[str]


class ReceiptView(TypedDict):
    """Charge of the most recently finished turn: elapsed = compensated + charged.  Absent before the first turn ends,
    or if the session does not use lag compensation.
    """

    # Id of the participant
    participant_id: NotRequired[str]
    # `compensated_ms` plus `charged_ms`
    elapsed_ms: NotRequired[int]
    # Accepted part of the lag that the client claimed, in ms
    trusted_lag_ms: NotRequired[int]
    # Part of the turn in ms that was not charged to the budget
    compensated_ms: NotRequired[int]
    # Part of the turn in ms that was charged to the budget
    charged_ms: NotRequired[int]
    # Remaining quota of lag compensation after the turn, in ms
    quota_left_ms: NotRequired[int]


class TurnView(TypedDict):
    """Facts of the current turn: time used before the anchor, number of earlier turns, and warning thresholds.
    `warned_ms` has the thresholds that were sent in this turn, or that the clock had already passed when the turn
    began.
    """

    # Time of this turn before `cycle_started_at`, in ms
    used_ms: int
    # Number of turns in the session that finished before this turn
    cycles: int
    # Warnings already sent in this turn, in ms of remaining time
    warned_ms: list[int]
    # Always true: the overtime of this turn has begun; absent before overtime
    overtime: NotRequired[bool]
    # Version that began this turn. Absent if no undo can cross the last change
    began_version: NotRequired[int]


class SessionView(TypedDict):
    """A session after its last transition. The times do not change while a clock runs.  If `cycle_started_at` is not
    null, one clock runs: the clock of the active participant, of its group, or of the session, depending on the
    mode. At the instant `now` the running clock shows `time_remaining_ms − (now − cycle_started_at)`. All other
    clocks show `time_remaining_ms`. For a clock with the member `reading`, the facts in `reading` change this
    calculation. In `individual`, `cycle_started_at` is null, and the clock of each participant with `anchor_at`
    runs: it shows its `time_remaining_ms − (now − anchor_at)`, or the time to its `ends_at`.
    """

    # Id of the session
    session_id: str
    # Mode of the session: whose budget the clock charges
    sync_mode: Literal["per_participant", "per_cycle", "per_group", "global", "count_up", "individual"]
    # Status of the session
    status: Literal["pending", "running", "paused", "expired", "completed", "cancelled"]
    # Version of the session: begins at 1 and grows by 1 with each change
    version: int
    # Random id of the session's life in the store. The id changes only after data loss
    epoch: str
    # The participants, in the order of their index
    participants: list[ParticipantView]
    # Teams. In `per_group` each team has one budget for its participants
    groups: list[GroupView]
    # Participant that has the turn. In a creation: the participant that has the first turn
    active_participant_id: str | None
    # Group of the participant that has the turn. In a creation: the group that has the first turn
    active_group_id: str | None
    # Used plus remaining time in ms
    total_time_ms: int
    # Time in ms that the participant, group or session has used
    time_used_ms: int
    # Remaining time in ms at the instant `cycle_started_at`; null if there is no time limit
    time_remaining_ms: int | None
    # Budget of each cycle in ms; only in `per_cycle`
    time_per_cycle_ms: int | None
    # Time in ms that is added after each turn; absent if unset
    increment_ms: NotRequired[int]
    # Maximum time in ms, at which a `count_up` session expires; absent if unset
    max_time_ms: NotRequired[int]
    # Number of cycles after which the session completes
    max_cycles: int | None
    # Clock system, as an object with one member: `fischer`, `byoyomi`, … Default: sudden death
    clock: dict[str, Any]
    # Action when the time reaches zero. The default depends on the mode
    on_timeout: Literal["expire", "advance", "pause", "overtime"]
    # Remaining times in ms at which a `time_warning` event is sent, once per turn for each time
    warnings_ms: list[int]
    # Time in ms at the start of a `count_up` session; absent if unset
    initial_ms: NotRequired[int]
    # Minimum remaining time in ms after each switch; absent if unset
    extend_on_switch_ms: NotRequired[int]
    # Remaining time in ms from which on a switch extends the time; absent if unset
    extend_window_ms: NotRequired[int]
    # Way of the extension; absent if unset
    extend_by: NotRequired[Literal["reset", "add"]]
    # Maximum sum of all extensions in ms; absent if unset
    max_extension_ms: NotRequired[int]
    # Maximum number of extensions; absent if unset
    max_extensions: NotRequired[int]
    # Extensions so far; absent without `extend_on_switch_ms`
    extensions: NotRequired[ExtensionsView]
    # Always true: a switch is allowed during a pause; absent if it is not
    switch_while_paused: NotRequired[bool]
    # Each turn ends with a hold; absent if the next turn begins at once
    between_turns: NotRequired[Literal["hold"]]
    # Rest days; absent if there are none
    rest: NotRequired[RestView]
    # The first turn of each participant is free; absent if it is like the others
    free_first_turn: NotRequired[FreeFirstTurnView]
    # Always true: a turn ends when all participants are done; absent if it does not
    close_when_all_done: NotRequired[bool]
    # Plan of the session; absent without a plan
    plan: NotRequired[list[PlanItemView]]
    # Id of the item of the most recently begun turn; absent before the start
    current_item_id: NotRequired[str]
    # Id of the item that begins after a hold; absent outside a hold
    next_item_id: NotRequired[str]
    # Time in ms by which the current item began later than planned; absent before the start
    schedule_offset_ms: NotRequired[int]
    # Instant at which the session starts by itself; absent if unset
    starts_at: NotRequired[str]
    # Instant at which the clock reaches zero, also during a pause; absent with a budget
    ends_at: NotRequired[str]
    # Breaks of a recorded or amended session; absent if the clock measured its times
    breaks: NotRequired[list[BreakView]]
    # The newest announcement; absent if there is none
    announcement: NotRequired[AnnouncementView]
    # Mode of the screens of the audience; absent if they show the whole session
    screen: NotRequired[Literal["blackout", "focus", "standby"]]
    # Maximum number of pauses of each actor; absent if unset
    pause_budget: NotRequired[int]
    # Number of pauses that each actor has taken
    pauses_taken: NotRequired[dict[str, int]]
    # Always true; absent if lag compensation is off
    lag_compensation: NotRequired[bool]
    lag_receipt: NotRequired[ReceiptView]
    # Active pause reasons. The clock runs only if there are none
    pauses: list[PauseView]
    # Instant when the running clock reaches zero; null if there is no such instant
    deadline_at: str | None
    # Anchor: instant from which the running clock is measured; null if no clock runs
    cycle_started_at: str | None
    # Instant of the first start; null before the first start
    session_started_at: str | None
    # Instant at which the session ended, for any reason; null before the end
    session_completed_at: str | None
    # Instant of creation
    created_at: str
    # Instant of the last change
    updated_at: str
    # Free JSON of the application; the server stores it and does not interpret it
    metadata: dict[str, Any]
    turn: TurnView
    # Labels by key; absent without labels
    labels: NotRequired[dict[str, str]]
    # Number of turns that have begun, 0 before the start. Absent in sessions of earlier releases
    turn_number: NotRequired[int]


class SessionPage(TypedDict):
    # The requested data
    data: list[SessionView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class PatchBody(TypedDict):
    """Changes the session by a merge patch (RFC 7396): null removes a member, objects merge, other values replace.
    `starts_at` can be changed only while the session is pending, and `ends_at` only if the session was created with
    it.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # New values of labels by key; null removes the label
    labels: NotRequired[dict[str, Any]]
    # Free JSON object, at most 32768 bytes and 32 levels
    metadata: NotRequired[dict[str, Any]]
    # Instant at which a pending session starts by itself
    starts_at: NotRequired[str | None]
    # Instant at which the clock reaches zero. It replaces the budget; only in `global` and `individual`
    ends_at: NotRequired[str]


class DeleteBody(TypedDict):
    """Deletes the session. Unknown members are faults, because the response has no body that could contain warnings."""

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]


class StartBody(TypedDict):
    """Starts a pending session and its first turn. In `individual`, starts waiting clocks.  If `exclusive` is true,
    the other running `count_up` sessions of the same participant are completed first. This is possible in
    `count_up`, with one participant.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Participants that the command changes. Default: all participants
    participant_ids: NotRequired[list[str]]
    # Id of the group (team)
    group_id: NotRequired[str]
    exclusive: NotRequired[bool]


class SwitchBody(TypedDict):
    """Ends the current turn and begins the next turn.  If `current_participant_id` is given and this participant does
    not have the turn, the switch is refused. This guards against a late second press. `next_participant_id` gets
    the next turn. By default, the next participant in the order of turns gets it. `lag_ms` is the network delay in
    the turn as the client measured it, in ms. Only sessions with `lag_compensation` use it. If `hold` is true, the
    session is paused for the reason `hold` until a resume begins the next turn. In a session with a plan, `item_id`
    is the item of the next turn. By default, it is the next item in the list. During a hold, a switch needs
    `next_participant_id` or `item_id` and only changes what comes next.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Participant that gets the next turn, instead of the next participant in the order of turns
    next_participant_id: NotRequired[str]
    # Participant that the caller expects to have the turn. If another has it: refused
    current_participant_id: NotRequired[str]
    # Duration in ms, at most 400 days
    lag_ms: NotRequired[int]
    # Whether the session is paused between the two turns, until a resume begins the next turn
    hold: NotRequired[bool]
    # Id of an item of the plan
    item_id: NotRequired[str]


class SwitchView(TypedDict):
    """The result of a switch: the JSON members of the session that a switch changes."""

    # Id of the session
    session_id: str
    # Participant that has the turn. In a creation: the participant that has the first turn
    active_participant_id: str | None
    # Instant from which the running clock is measured; null if no clock runs
    cycle_started_at: str | None
    # The participants, in the order of their index
    participants: list[ParticipantView]
    # Status of the session
    status: Literal["pending", "running", "paused", "expired", "completed", "cancelled"]
    # Version of the session: begins at 1 and grows by 1 with each change
    version: int
    # The participant whose time ran out with this command; absent if no time ran out
    expired_participant_id: NotRequired[str]
    lag_receipt: NotRequired[ReceiptView]


class DoneBody(TypedDict):
    """Marks a participant as done in the current turn. With `close_when_all_done`, the last one ends the turn."""

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Id of the participant
    participant_id: str


class FinishBody(TypedDict):
    """Ends running and paused clocks of a session in `individual` before their zero, as when a paper is handed in.  A
    participant finishes only its own clock.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Participants that the command changes. Default: all participants
    participant_ids: NotRequired[list[str]]
    # Id of the group (team)
    group_id: NotRequired[str]


class PauseBody(TypedDict):
    """Pauses the session for a reason. If `max_ms` is given, the reason ends automatically after `max_ms`.  In
    `individual`, pauses the clocks of the named participants, or of the group `group_id`, or all. The reasons
    `timeout`, `hold`, `reopened` and `rest` are refused, because they are reserved for the clock.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Participants that the command changes. Default: all participants
    participant_ids: NotRequired[list[str]]
    # Id of the group (team)
    group_id: NotRequired[str]
    # Name of the pause reason; several reasons can be active at the same time
    reason: NotRequired[str]
    # Time in ms after which the pause reason ends automatically; null if only a command ends it
    max_ms: NotRequired[int]


class ResumeBody(TypedDict):
    """Ends the pause reason `reason`. By default, ends all pause reasons.  The session runs again only if no pause
    reason is left. In `individual`, ends pauses of the clocks of the named participants, or of the group
    `group_id`, or of all clocks.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Participants that the command changes. Default: all participants
    participant_ids: NotRequired[list[str]]
    # Id of the group (team)
    group_id: NotRequired[str]
    # Name of the pause reason; several reasons can be active at the same time
    reason: NotRequired[str]


class AdjustBody(TypedDict):
    """Adds `delta_ms` to the budgets of the named participants, or of one group. By default, adds it to all budgets.
    A negative `delta_ms` subtracts time. If `scaled` is true, `delta_ms` is multiplied by the `time_factor` of each
    participant. Only `individual` allows it.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Time to add to each budget in ms. A negative value removes time. 0 is not allowed
    delta_ms: int
    # Participants that the command changes. Default: all participants
    participant_ids: NotRequired[list[str]]
    # Id of the group (team)
    group_id: NotRequired[str]
    # Whether `delta_ms` is multiplied by the `time_factor` of each participant; only in `individual`
    scaled: NotRequired[bool]


class JoinBody(TypedDict):
    """Adds a participant. If the mode needs a budget or a group for a new participant, the body must include it."""

    # Id of the participant
    participant_id: str
    # Position of the participant in the order of turns
    participant_index: NotRequired[int]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    total_time_ms: NotRequired[int]
    # Name of the participant for display
    display_name: NotRequired[str]
    # Id of the group (team)
    group_id: NotRequired[str]
    clock: NotRequired[Clock]
    # Factor of the participant's time, in hundredths. Only in `individual`
    time_factor: NotRequired[float]
    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]


class RemovalBody(TypedDict):
    """The body of a request that removes a participant. The path of the request names the participant."""

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]


class ParticipantChangesBody(TypedDict):
    """Changes the budget, the clock system or the display name of a participant. At least one change is required.
    `total_time_ms` is the new initial budget: the time that the first turn has used is subtracted from it. `clock`
    is the participant's own clock system. Both can be changed only before the end of the first turn of the
    participant, and in `individual` only while its clock waits. `display_name` can be changed at any time, and null
    removes it.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Budget in ms, 1 s to 400 days. 0 if no budget is used, or if time follows the budget
    total_time_ms: NotRequired[int]
    clock: NotRequired[Clock]
    # Name of the participant for display
    display_name: NotRequired[str | None]


class SetPlanBody(TypedDict):
    """Replaces the plan of a session. Items that have begun must be in the new plan, unchanged and in their order.
    `expected_version` or the header `If-Match` is required, because the body replaces the whole plan.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Items in their order, each with its own time
    plan: list[NewPlanItem]


class CompleteBody(TypedDict):
    """Ends the session as completed."""

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]


class CancelBody(TypedDict):
    """Ends the session as cancelled."""

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]


class UndoBody(TypedDict):
    """Takes back the newest `turns` ended turns, and the turn that runs. An earlier turn begins again.  `charge`
    determines who keeps time of these turns as used. `nobody`: no participant. `mover`: the participant of the
    restored turn keeps the time that it used in this turn. `resumed`: the participant of the restored turn is
    charged for all turns since the beginning of this turn.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Number of ended turns to take back. The turn that runs is dropped too
    turns: NotRequired[int]
    # Participant that keeps time of the undone turns as used
    charge: NotRequired[Literal["nobody", "mover", "resumed"]]


class ReopenBody(TypedDict):
    """Continues an expired or completed session. It is paused for the reason `reopened`, in the turn in which it
    ended.  `delta_ms` is added to the budgets of `participant_ids`, by default to the budget that ran in this turn.
    With `ends_at`, the new end is `delta_ms` from now. If time ran out, `delta_ms` is required and positive. Only
    the audit uses `reason`.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Time to add to each budget in ms. A negative value removes time. 0 is not allowed
    delta_ms: NotRequired[int]
    # Participants that the command changes. Default: all participants
    participant_ids: NotRequired[list[str]]
    # Name of the pause reason; several reasons can be active at the same time
    reason: NotRequired[str]


class AmendBody(TypedDict):
    """Replaces the times of an ended `count_up` session with one participant. Omitted times stay as they are.  Without
    `breaks`, the session keeps the breaks that it had: its pauses, if the clock measured its times. Breaks are in
    order, inside of the session, and do not overlap. Only the audit uses `reason`.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    # Id of the participant
    participant_id: NotRequired[str]
    # Instant of the first start; null before the first start
    started_at: NotRequired[str]
    # Instant at which the session ended, for any reason; null before the end
    completed_at: NotRequired[str]
    breaks: NotRequired[list[BreakBody]]
    # Name of the pause reason; several reasons can be active at the same time
    reason: NotRequired[str]


class AnnounceBody(TypedDict):
    """Shows a text to the audience. A null as text removes the announcement, without the other members.  `tone` is the
    importance of the text. If `flash` is true, pages flash the text for a short time, once per second. Pages show
    the text until the instant `until`. By default, they show it until the next announcement.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    text: str | None
    tone: NotRequired[Literal["info", "warning", "urgent"]]
    flash: NotRequired[bool]
    until: NotRequired[str]


class ScreenBody(TypedDict):
    """Changes what the screens of the audience show. The clocks do not change.  `blackout`: nothing. `focus`: only the
    clock that runs. `standby`: the title without clocks. `normal`: the whole session.
    """

    # Version that the caller expects. If the session has another version: CONFLICT
    expected_version: NotRequired[int]
    # Turn number that the caller expects. If the session has another turn number: TURN_OVER
    expected_turn: NotRequired[int]
    on_behalf_of: NotRequired[str]
    mode: Literal["normal", "blackout", "focus", "standby"]


class CommandToMany(TypedDict):
    """One command for many sessions: those of `session_ids`, or those that have all labels of `label` and did not end.
    A repeated request with the same `command_id` addresses the same sessions, and executes nothing twice.
    """

    session_ids: NotRequired[list[str]]
    label: NotRequired[list[str]]
    # Name of the command
    command: Literal[
        "start",
        "switch",
        "done",
        "finish",
        "pause",
        "resume",
        "adjust",
        "complete",
        "cancel",
        "add_participant",
        "remove_participant",
        "update_participant",
        "update_metadata",
        "update_session",
        "set_plan",
        "undo",
        "reopen",
        "amend",
        "announce",
        "screen",
        "delete",
    ]
    # Arguments of the command, as in its own request
    args: NotRequired[dict[str, Any]]
    # Id of the request. For each session, the command has the id `bulk:<command_id>`
    command_id: str


class CommandErrorView(TypedDict):
    """The refusal of a command for one session."""

    # Stable error code for programs
    code: str
    # Description of the error or refusal for people; its text can change
    message: str
    # Details of the refusal; absent if there are none
    details: NotRequired[Any]


class CommandResultView(TypedDict):
    """The result of a command for one session: its version after the command, or the refusal."""

    # Id of the session
    session_id: str
    # Version after the command; absent after a refusal
    version: NotRequired[int]
    error: NotRequired[CommandErrorView]


class CommandResults(TypedDict):
    results: list[CommandResultView]


# The time that an event adds to the used time of one participant. It begins at `from` and ends before `to`.
ChargeView = TypedDict(
    "ChargeView",
    {
        # Id of the participant
        "participant_id": str,
        "from": str,
        "to": str,
    },
)


class EventView(TypedDict):
    """One event of the audit trail. Members without a value are absent.  `time_used_ms` and `time_remaining_ms` are
    the times after the event.
    """

    # Random id of the session's life in the store. The id changes only after data loss
    epoch: str
    # Version of the session: begins at 1 and grows by 1 with each change
    version: int
    # Type of the event
    event_type: Literal[
        "session_created",
        "session_started",
        "cycle_switched",
        "session_paused",
        "session_resumed",
        "time_adjusted",
        "participant_added",
        "participant_removed",
        "participant_updated",
        "participant_done",
        "participant_started",
        "participant_paused",
        "participant_resumed",
        "participant_finished",
        "turn_undone",
        "participant_expired",
        "group_expired",
        "cycle_expired",
        "time_warning",
        "overtime_started",
        "metadata_updated",
        "session_updated",
        "plan_updated",
        "announcement_updated",
        "screen_updated",
        "session_reopened",
        "session_recorded",
        "session_amended",
        "session_expired",
        "session_completed",
        "session_cancelled",
        "session_deleted",
        "session_recovered",
        "session_imported",
    ]
    # Id of the participant
    participant_id: NotRequired[str]
    # Id of the group (team)
    group_id: NotRequired[str]
    # Actor that caused the event; absent below the role `controller`
    actor: NotRequired[str]
    # Instant when the event took effect
    occurred_at: str
    # Time in ms that the participant, group or session has used
    time_used_ms: NotRequired[int]
    # Remaining time in ms at the instant `cycle_started_at`; null if there is no time limit
    time_remaining_ms: NotRequired[int]
    # The session after the event; only if the query has `snapshots`
    state: NotRequired[SessionView | None]
    # Role of the actor on the session; absent if it had no credential, and below the role `controller`
    role: NotRequired[str]
    # Participant for which the actor acted; absent if there is none, and below the role `controller`
    on_behalf_of: NotRequired[str]
    # Times that the event charges, one for each participant, several only for recorded times; absent if it
    # charges no time, and for events of earlier releases until their charges are filled in
    charges: NotRequired[list[ChargeView]]
    # Command id that the actor gave; only in the last event of the command, and absent below the role
    # `controller`
    command_id: NotRequired[str]
    # Participants that the event concerns; absent unless there are several
    participant_ids: NotRequired[list[str]]


class EventPage(TypedDict):
    # The requested data
    data: list[EventView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class ParticipationView(TypedDict):
    """A session in the list of one participant's sessions."""

    # Id of the session
    session_id: str
    # Mode of the session: whose budget the clock charges
    sync_mode: Literal["per_participant", "per_cycle", "per_group", "global", "count_up", "individual"]
    # Status of the session
    status: Literal["pending", "running", "paused", "expired", "completed", "cancelled"]
    # Instant of the first start; null before the first start
    started_at: str | None
    # Instant at which the session ended, for any reason; null before the end
    completed_at: str | None
    # Time in ms that the participant, group or session has used
    time_used_ms: int
    # Total time in ms during which the session was paused
    paused_ms: int
    # Number of finished turns
    cycle_count: int
    # Free JSON of the application; the server stores it and does not interpret it
    metadata: dict[str, Any]
    # Whether Postgres has the newest version of the session
    synced: bool


class ParticipationPage(TypedDict):
    # The requested data
    data: list[ParticipationView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class TimeBucket(TypedDict):
    """The sum of the times of a participant in one bucket: a session, a day, a week or a month."""

    # Session id, day, week or month
    bucket: str
    # Value of the metadata member that `group_by` names; only with `group_by`
    key: NotRequired[str | None]
    # Time in ms that the participant, group or session has used
    time_used_ms: int
    # Number of sessions that the sum includes
    session_count: int


class HoursRow(TypedDict):
    """The sum of used times in one bucket. With `group_by=label.<key>`, it also has a member `label.<key>`."""

    # Session id, day, week or month
    bucket: str
    # Only with `group_by=participant`
    participant_id: NotRequired[str]
    # Time in ms that the participant, group or session has used
    time_used_ms: int
    # Number of sessions that the sum includes
    session_count: int


class HoursPage(TypedDict):
    # The requested data
    data: list[HoursRow]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class CreateWebhook(TypedDict):
    """A webhook endpoint to create. If `snapshots` is true, messages include the session's state after the event."""

    # URL with https:// on the public internet
    url: str
    # Free text of the application; the server does not interpret it
    description: NotRequired[str]
    # Event types to send. Default: all
    event_types: NotRequired[
        list[
            Literal[
                "session_created",
                "session_started",
                "cycle_switched",
                "session_paused",
                "session_resumed",
                "time_adjusted",
                "participant_added",
                "participant_removed",
                "participant_updated",
                "participant_done",
                "participant_started",
                "participant_paused",
                "participant_resumed",
                "participant_finished",
                "turn_undone",
                "participant_expired",
                "group_expired",
                "cycle_expired",
                "time_warning",
                "overtime_started",
                "metadata_updated",
                "session_updated",
                "plan_updated",
                "announcement_updated",
                "screen_updated",
                "session_reopened",
                "session_recorded",
                "session_amended",
                "session_expired",
                "session_completed",
                "session_cancelled",
                "session_deleted",
                "session_recovered",
                "session_imported",
            ]
        ]
    ]
    # Filter: only events of sessions whose metadata contains these members. Default: all sessions
    metadata: NotRequired[dict[str, Any]]
    # Whether each message includes the session's state after the event
    snapshots: NotRequired[bool]


class WebhookCreatedView(TypedDict):
    """A new webhook endpoint with its secret."""

    # Id of the webhook endpoint
    webhook_id: str
    # URL that receives the webhook messages
    url: str
    # Free text of the application; the server does not interpret it
    description: str
    # Event types that the endpoint receives; null if it receives all types
    event_types: (
        list[
            Literal[
                "session_created",
                "session_started",
                "cycle_switched",
                "session_paused",
                "session_resumed",
                "time_adjusted",
                "participant_added",
                "participant_removed",
                "participant_updated",
                "participant_done",
                "participant_started",
                "participant_paused",
                "participant_resumed",
                "participant_finished",
                "turn_undone",
                "participant_expired",
                "group_expired",
                "cycle_expired",
                "time_warning",
                "overtime_started",
                "metadata_updated",
                "session_updated",
                "plan_updated",
                "announcement_updated",
                "screen_updated",
                "session_reopened",
                "session_recorded",
                "session_amended",
                "session_expired",
                "session_completed",
                "session_cancelled",
                "session_deleted",
                "session_recovered",
                "session_imported",
            ]
        ]
        | None
    )
    # Free JSON of the application; the server stores it and does not interpret it
    metadata: dict[str, Any] | None
    # Whether each message includes the session's state after the event
    snapshots: bool
    # Whether the endpoint receives messages
    enabled: bool
    # Reason why the server disabled the endpoint; null if the server did not disable it
    disabled_reason: str | None
    # Instant of the first failed attempt after the last successful attempt
    failing_since: str | None
    # Instant of creation
    created_at: str
    # Instant of the last change
    updated_at: str
    # Signing secret, `whsec_…`. It is returned only once; the member is absent in a replayed response
    secret: NotRequired[str]


class WebhookView(TypedDict):
    """A webhook endpoint."""

    # Id of the webhook endpoint
    webhook_id: str
    # URL that receives the webhook messages
    url: str
    # Free text of the application; the server does not interpret it
    description: str
    # Event types that the endpoint receives; null if it receives all types
    event_types: (
        list[
            Literal[
                "session_created",
                "session_started",
                "cycle_switched",
                "session_paused",
                "session_resumed",
                "time_adjusted",
                "participant_added",
                "participant_removed",
                "participant_updated",
                "participant_done",
                "participant_started",
                "participant_paused",
                "participant_resumed",
                "participant_finished",
                "turn_undone",
                "participant_expired",
                "group_expired",
                "cycle_expired",
                "time_warning",
                "overtime_started",
                "metadata_updated",
                "session_updated",
                "plan_updated",
                "announcement_updated",
                "screen_updated",
                "session_reopened",
                "session_recorded",
                "session_amended",
                "session_expired",
                "session_completed",
                "session_cancelled",
                "session_deleted",
                "session_recovered",
                "session_imported",
            ]
        ]
        | None
    )
    # Free JSON of the application; the server stores it and does not interpret it
    metadata: dict[str, Any] | None
    # Whether each message includes the session's state after the event
    snapshots: bool
    # Whether the endpoint receives messages
    enabled: bool
    # Reason why the server disabled the endpoint; null if the server did not disable it
    disabled_reason: str | None
    # Instant of the first failed attempt after the last successful attempt
    failing_since: str | None
    # Instant of creation
    created_at: str
    # Instant of the last change
    updated_at: str


class WebhookList(TypedDict):
    # The requested data
    data: list[WebhookView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class PatchWebhook(TypedDict):
    """The members of a webhook endpoint to change. Absent members stay unchanged.  Null removes a filter. `enabled:
    true` also removes `failing_since` and `disabled_reason`.
    """

    # URL with https:// on the public internet
    url: NotRequired[str]
    # Free text of the application; the server does not interpret it
    description: NotRequired[str]
    # Event types that the endpoint receives; null if it receives all types
    event_types: NotRequired[
        list[
            Literal[
                "session_created",
                "session_started",
                "cycle_switched",
                "session_paused",
                "session_resumed",
                "time_adjusted",
                "participant_added",
                "participant_removed",
                "participant_updated",
                "participant_done",
                "participant_started",
                "participant_paused",
                "participant_resumed",
                "participant_finished",
                "turn_undone",
                "participant_expired",
                "group_expired",
                "cycle_expired",
                "time_warning",
                "overtime_started",
                "metadata_updated",
                "session_updated",
                "plan_updated",
                "announcement_updated",
                "screen_updated",
                "session_reopened",
                "session_recorded",
                "session_amended",
                "session_expired",
                "session_completed",
                "session_cancelled",
                "session_deleted",
                "session_recovered",
                "session_imported",
            ]
        ]
        | None
    ]
    # Free JSON of the application; the server stores it and does not interpret it
    metadata: NotRequired[dict[str, Any] | None]
    # Whether each message includes the session's state after the event
    snapshots: NotRequired[bool]
    # Whether the endpoint receives messages
    enabled: NotRequired[bool]


class RotateSecret(TypedDict):
    """Replaces the secret of a webhook endpoint by a new secret, which signs all later messages.  The old secrets also
    sign messages for at most `overlap_s` seconds more.
    """

    # Seconds during which old secrets also sign messages. Default: one day
    overlap_s: NotRequired[int]


class SecretView(TypedDict):
    """The new secret of a webhook endpoint."""

    # Id of the webhook endpoint
    webhook_id: str
    # Signing secret, `whsec_…`. It is returned only once; the member is absent in a replayed response
    secret: NotRequired[str]


# A body without members: an empty JSON object, or no bytes.
EmptyBody = dict[str, Any]


class AttemptView(TypedDict):
    """One attempt to deliver a message to a webhook endpoint."""

    # Number of the attempt, from 1
    attempt: int
    # Instant when the attempt began
    at: str
    # Duration of the attempt in ms
    duration_ms: int
    # HTTP status of the answer; null without an answer
    status_code: int | None
    # Reason why the attempt failed; null if it succeeded
    error: str | None
    # Instant of the next attempt; null if there is none
    next_try_at: str | None


class DeliveryView(TypedDict):
    """A delivery: a message to a webhook endpoint, and its attempts. A test message has no session."""

    # Id of the delivery; the header `webhook-id` of its message
    delivery_id: str
    # Id of the session
    session_id: str | None
    # Random id of the session's life in the store. The id changes only after data loss
    epoch: str | None
    # Version of the session: begins at 1 and grows by 1 with each change
    version: int | None
    # Type of the event
    event_type: str
    # Status of the delivery
    status: Literal["pending", "delivered", "failed"]
    # Instant of creation
    created_at: str
    # Instant of the next attempt; null if there is none
    next_try_at: str | None
    # The attempts to deliver the message, oldest first
    attempts: list[AttemptView]


class DeliveryPage(TypedDict):
    # The requested data
    data: list[DeliveryView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class AccessView(TypedDict):
    """An entry of the access log. An act has the caller and the action, a refusal has the reason and a number."""

    access_id: int
    # `act`: an administrative act. `refusal`: refused requests of one address in one minute
    entry: Literal["act", "refusal"]
    # Instant of the act, or begin of the minute of the refusals
    at: str
    # Kind of the caller: user, key or link; null for refusals
    kind: str | None
    # Name of the caller within its kind; null for refusals
    subject: str | None
    # Highest role of the caller; null for refusals
    role: str | None
    # IPv4 address or IPv6 /64 network of the client; empty if it is not known
    address: str
    # HTTP method and route, such as `DELETE /v1/webhooks/:wid`
    action: str | None
    # Ids of the objects, separated by spaces: those in the path, or that of a new object. For a disconnection or
    # a member, the subject. For several members, their number
    target: str | None
    # HTTP status of the answer; null for refusals
    status: int | None
    # Error code of the refusals, such as `UNAUTHORIZED`; null for acts
    reason: str | None
    # Number of refused requests; 1 for an act
    count: int


class AccessPage(TypedDict):
    # The requested data
    data: list[AccessView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class ArchiveView(TypedDict):
    """A session's archive. The role of the caller determines which members are present."""

    # Id of the session
    session_id: str
    # Version of the session: begins at 1 and grows by 1 with each change
    version: int
    # Random id of the session's life in the store. The id changes only after data loss
    epoch: str
    # Instant when the archive was written
    archived_at: str
    # Number of events in the archive
    event_count: int
    session: SessionView
    # Events of the session; only for roles that the server's settings allow
    events: NotRequired[list[EventView]]
    # Path in cold storage; only for admins
    path: NotRequired[str]
    # Size in bytes; only for admins
    size_bytes: NotRequired[int]
    # SHA-256 of the archive; only for admins
    checksum: NotRequired[str]


class OwnCredentialView(TypedDict):
    """The caller of this request."""

    # Kind of the credential. `anonymous` while authentication is off
    kind: Literal["user", "key", "link", "anonymous"]
    tenant: str
    # Name of the caller: the claim `sub` of a token
    subject: str
    # Highest role of the caller on any session
    role: Literal["viewer", "participant", "controller", "admin"]
    # Participant as which the caller acts, null if it is none
    participant_id: str | None
    # Milliseconds until the credential expires, null if it does not expire, or without a credential
    expires_in_ms: int | None
    # Role of the caller on the session of the query. It does not say whether the session exists. Null if the
    # caller cannot reach the session, or if the query has no session
    session_role: Literal["viewer", "participant", "controller", "admin"] | None


class CreateTicket(TypedDict):
    """The rights of a ticket. A ticket never has more rights than its caller."""

    # Sessions that the socket can reach. Default: those of the caller
    session_ids: NotRequired[list[str]]
    # Highest role of the socket, at most the role of the caller. Default: the role of the caller
    role: NotRequired[Literal["viewer", "participant", "controller"]]
    # Origin of the page that opens the socket. Default: the header `Origin` of this request, else none
    origin: NotRequired[str]
    # Seconds in which the ticket can be used. Default: 30
    ttl_s: NotRequired[int]


class TicketView(TypedDict):
    """A ticket for one socket: `GET /ws?ticket=<ticket>`."""

    ticket: str
    # Instant until which the ticket can be used
    expires_at: str


class CreateRevocation(TypedDict):
    """The credentials to revoke: exactly one of `jti`, `subject`, `grp`, `credential` and `all`."""

    # Claim `jti` of the token
    jti: NotRequired[str]
    # Claim `sub` of a user; `key:<id>` or `link:<id>:<number>` for the other kinds
    subject: NotRequired[str]
    issued_before: NotRequired[str | int]
    # Claim `grp` of the tokens, such as one login
    grp: NotRequired[str]
    # Id of an API key or a link
    credential: NotRequired[str]
    # `true` selects every credential of the tenant
    all: NotRequired[bool]
    # Seconds until the revocation takes effect. Sockets get REAUTH at once. Default: 0
    margin_s: NotRequired[int]


class RevocationView(TypedDict):
    """A revocation. It has exactly one of `jti`, `subject`, `grp`, `credential` and `all`."""

    revocation_id: str
    # Instant of the revocation
    at: str
    # Instant at which the revocation takes effect
    effective_at: str
    # Instant at which the revocation is forgotten: no selected token is valid then
    until: str
    # The caller that made the revocation, as the audit names actors
    revoked_by: str
    jti: NotRequired[str]
    subject: NotRequired[str]
    issued_before: NotRequired[str]
    grp: NotRequired[str]
    credential: NotRequired[str]
    all: NotRequired[bool]


class RevocationPage(TypedDict):
    # The requested data
    data: list[RevocationView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class Disconnect(TypedDict):
    """The subject whose sockets and streams are closed. Its credentials stay valid."""

    # Claim `sub` of a user; `key:<id>` or `link:<id>:<number>` for the other kinds
    subject: str


class Grant(TypedDict):
    """Sessions that the bearer can reach, and the role on them. Without `role`, it is the role of the credential."""

    sessions: list[str]
    role: NotRequired[Literal["viewer", "participant", "controller"]]


class CreateApiKey(TypedDict):
    """An API key to make. Its role is the highest role that the bearer can have on a session.  A key with the role
    `admin` reaches all sessions of the tenant. The other roles need `grants`. A key with the role `participant`
    acts as the participant `participant_id`. Without `expires_at`, the key has no expiry.
    """

    role: Literal["viewer", "participant", "controller", "admin"]
    label: NotRequired[str]
    grants: NotRequired[list[Grant]]
    # Id of the participant
    participant_id: NotRequired[str]
    expires_at: NotRequired[str]


class ApiKeySecret(TypedDict):
    """The id and the text of a key. `key` is absent in the replay of an answer."""

    # Id of the API key. Rotations keep it
    key_id: str
    # The key. It cannot be read again
    key: NotRequired[str]


class ApiKeyView(TypedDict):
    """An API key without its secret."""

    # Id of the API key. Rotations keep it
    key_id: str
    # Highest role of the bearer on any session
    role: str
    label: NotRequired[str]
    grants: list[Grant]
    # Id of the participant
    participant_id: NotRequired[str]
    # Instant of creation
    created_at: str
    # The caller that made the key, as the audit names actors
    created_by: str
    expires_at: NotRequired[str]
    # Late by up to a minute. Absent before a use
    last_used_at: NotRequired[str]


class ApiKeyPage(TypedDict):
    # The requested data
    data: list[ApiKeyView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class CreateLink(TypedDict):
    """A link to make. `role` is the role on the session, at most that of the caller.  A link with the role
    `participant` acts as the participant `participant_id`. Without `expires_at`, the link expires after 24 hours.
    `max_uses` is how many devices can use it.
    """

    # Session that the link opens
    session_id: str
    role: Literal["viewer", "participant", "controller"]
    # Id of the participant
    participant_id: NotRequired[str]
    expires_at: NotRequired[str]
    max_uses: NotRequired[int]
    label: NotRequired[str]


class LinkSecret(TypedDict):
    """The id, the secret and the URL of a link. `secret` and `url` are absent in the replay of an answer."""

    # Id of the link
    link_id: str
    # The secret. It cannot be read again
    secret: NotRequired[str]
    # URL of the page for the role. The secret is in its fragment
    url: NotRequired[str]


class LinkView(TypedDict):
    """A link without its secret."""

    # Id of the link
    link_id: str
    # Session that the link opens
    session_id: str
    role: Literal["viewer", "participant", "controller"]
    # Id of the participant
    participant_id: NotRequired[str]
    label: NotRequired[str]
    max_uses: int
    # How many times the link was redeemed
    uses: int
    # Instant of creation
    created_at: str
    # The caller that made the link, as the audit names actors
    created_by: str
    expires_at: str
    # Last redemption. Absent before a use
    last_used_at: NotRequired[str]


class LinkPage(TypedDict):
    # The requested data
    data: list[LinkView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class RedeemLink(TypedDict):
    """The secret of a link, from the fragment of its URL."""

    secret: str


class RedeemedLinkView(TypedDict):
    """A session token. A link for a sign-in has the role `admin` and no session."""

    # Token for requests, sockets and event streams. It cannot be read again
    token: str
    # Milliseconds until the token expires if it is not used
    expires_in_ms: int
    # Id of the session
    session_id: NotRequired[str]
    role: Literal["viewer", "participant", "controller", "admin"]
    # Id of the participant
    participant_id: NotRequired[str]


# A request for a session token. It has no members: the API key of the request decides.
CreateSessionToken = dict[str, Any]


class SessionTokenView(TypedDict):
    """A session token with the rights of the API key. `token` is absent in the replay of an answer."""

    # Token for requests and sockets. It cannot be read again
    token: NotRequired[str]
    # Milliseconds until the token expires if it is not used
    expires_in_ms: int


class RequestReconciliation(TypedDict):
    """A reconciliation of the members of the tenant with their source, on demand."""

    # Maximum share of the members that may be removed, in percent. Default: the setting of the workers. A larger
    # value confirms a large removal
    max_removed_percent: NotRequired[int]


class ReconciliationView(TypedDict):
    """A reconciliation of the members of the tenant. It is a background job."""

    job_id: int
    # Status of the session
    status: Literal["queued", "running", "done", "failed"]
    # Number of attempts, also those that did not end
    attempts: int
    max_removed_percent: NotRequired[int]
    # Instant of the nightly schedule, absent on demand
    scheduled_for: NotRequired[str]
    # Instant of creation
    created_at: str
    # Instant at which the last attempt ended
    finished_at: NotRequired[str]
    # Numbers of rows: `rows`, `repeated`, `added`, `changed`, `removed`, `unchanged`. If the source was refused,
    # it has `refused` with the reason, and can have `faults` with lines
    report: NotRequired[dict[str, Any]]
    # Text of the fault of the last attempt
    error: NotRequired[str]


class ReconciliationPage(TypedDict):
    # The requested data
    data: list[ReconciliationView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class MemberRow(TypedDict):
    """The role of a subject on a resource."""

    # Claim `sub` of a user, or `key:<key id>` for an API key
    subject: str
    # A session id, or `label:<key>=<value>` for all sessions with this label
    resource: str
    role: Literal["viewer", "participant", "controller"]


class PutMembers(TypedDict):
    """Members to add or to change: one row (`subject`, `resource` and `role`), or up to 10,000 rows in `members`.  All
    rows or none are stored. A row replaces the role of the subject on the resource. Other rows stay.
    """

    # Claim `sub` of a user, or `key:<key id>` for an API key
    subject: NotRequired[str]
    # A session id, or `label:<key>=<value>` for all sessions with this label
    resource: NotRequired[str]
    role: NotRequired[Literal["viewer", "participant", "controller"]]
    # Ids of the participants in this group
    members: NotRequired[list[MemberRow]]


class MembersPut(TypedDict):
    """The result of a change of members."""

    # Number of rows in the request
    member_count: int
    # Number of subjects whose roles were changed
    changed_subject_count: int


class MemberView(TypedDict):
    """The role of a subject on a resource."""

    # Claim `sub` of a user, or `key:<key id>` for an API key
    subject: str
    # A session id, or `label:<key>=<value>` for all sessions with this label
    resource: str
    role: Literal["viewer", "participant", "controller"]


class MemberPage(TypedDict):
    # The requested data
    data: list[MemberView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class CreateSigningKey(TypedDict):
    """A public key to add: exactly one of `pem` and `jwk`. `kid` can be absent if the `jwk` has a `kid`."""

    # Key id (`kid`) in the header of its tokens
    kid: NotRequired[str]
    # The public key in PEM, `BEGIN PUBLIC KEY`
    pem: NotRequired[str]
    # The public key as a JSON Web Key (RFC 7517) of RSA, P-256 or Ed25519, without private members
    jwk: NotRequired[dict[str, Any]]
    # The only `iss` of its tokens. Default: each issuer
    issuer: NotRequired[str]


class SigningKeyView(TypedDict):
    """A signing key: a public key that verifies tokens of the tenant."""

    signing_key_id: str
    # Key id in the header of its tokens
    kid: str
    # The only algorithm of its tokens: RS256, ES256 or EdDSA
    algorithm: str
    # The public key in PEM
    pem: str
    issuer: NotRequired[str]
    # Instant of creation
    created_at: str
    # The caller that added the key, as the audit names actors
    created_by: str


class SigningKeyPage(TypedDict):
    # The requested data
    data: list[SigningKeyView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class TenantLimitChanges(TypedDict):
    """Limits of a tenant to change. Absent limits stay unchanged. Null sets the default of a limit again."""

    live_sessions: NotRequired[int | None]
    sockets: NotRequired[int | None]
    sockets_per_subject: NotRequired[int | None]
    requests_per_min: NotRequired[int | None]
    presses_per_s: NotRequired[int | None]
    simulations_per_min: NotRequired[int | None]
    outbox_share: NotRequired[int | None]
    archive_bytes: NotRequired[int | None]


class CreateTenant(TypedDict):
    """A tenant to create. Limits that are absent have their defaults."""

    # Name of the tenant: lower-case letters, digits, dots, hyphens and underscores, with a letter or digit first
    tenant: str
    # Free text of the application; the server does not interpret it
    description: NotRequired[str]
    limits: NotRequired[TenantLimitChanges]
    # Origins of the tenant's web pages, such as https://app.example.org. They replace the origins of the setting
    # for this tenant
    origins: NotRequired[list[str]]


class TenantLimitsView(TypedDict):
    """The limits of a tenant with the defaults. Null: no limit."""

    # Sessions that have not ended
    live_sessions: int | None
    # Open sockets, event streams and live tails on each instance
    sockets: int | None
    # The same for one subject of the tenant
    sockets_per_subject: int | None
    # REST requests and socket commands a minute on each instance
    requests_per_min: int | None
    # Presses a second on each instance
    presses_per_s: int | None
    # Simulations a minute on each instance
    simulations_per_min: int | None
    # Percent of the outbox that the versions of the tenant may fill
    outbox_share: int | None
    # Bytes of archives
    archive_bytes: int | None


class TenantView(TypedDict):
    """A tenant. The name of a deleted tenant stays refused."""

    # Name of the tenant
    tenant: str
    # Status of the tenant. Credentials are accepted only if it is `active`
    status: Literal["active", "suspended", "deleting", "deleted"]
    # Free text of the application; the server does not interpret it
    description: str
    limits: TenantLimitsView
    # Origins of the tenant's web pages; null: those of the setting
    origins: list[str] | None
    # Instant of creation
    created_at: str
    # The caller that created the tenant, as the audit names actors
    created_by: str
    # Instant of the last change
    updated_at: str


class TenantPage(TypedDict):
    # The requested data
    data: list[TenantView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class PatchTenant(TypedDict):
    """The members of a tenant to change. Absent members stay unchanged.  Null in place of `origins` lets the origins
    of the setting hold again.
    """

    # Free text of the application; the server does not interpret it
    description: NotRequired[str]
    limits: NotRequired[TenantLimitChanges]
    origins: NotRequired[list[str] | None]


class JobView(TypedDict):
    """A background job."""

    job_id: int
    # Tenant of the data on which the job works
    tenant: str
    # Kind of the job, such as `export`
    type: str
    # Status of the session
    status: Literal["queued", "running", "done", "failed"]
    # Number of attempts, also those that did not end
    attempts: int
    params: dict[str, Any]
    # Result of the job. While the job runs, it can have what the job has done so far
    result: NotRequired[dict[str, Any]]
    # Text of the fault of the last attempt
    error: NotRequired[str]
    # Instant of creation
    created_at: str
    # Earliest instant of the next attempt
    due_at: str
    # Instant at which the last attempt began
    started_at: NotRequired[str]
    # Instant at which the last attempt ended
    finished_at: NotRequired[str]
    # Duration of the last attempt in ms
    duration_ms: NotRequired[int]


class JobPage(TypedDict):
    # The requested data
    data: list[JobView]
    # Value of `cursor` for the next page; null on the last page
    next_cursor: str | None


class SetAsideEntryView(TypedDict):
    """A version that Postgres rejected. It stays in Redis until a retry succeeds."""

    entry_id: str
    tenant: NotRequired[str]
    # A text that is no UUID if the data of the entry are invalid
    session_id: NotRequired[str]
    # Random id of the session's life in the store. The id changes only after data loss
    epoch: NotRequired[str]
    # Version of the session: begins at 1 and grows by 1 with each change
    version: NotRequired[int]
    attempts: int
    first_failed_at: str
    # Text of the error of Postgres at the last attempt
    error: str


class RetrySetAside(TypedDict):
    """The entries to retry."""

    # One entry. Default: all entries
    entry_id: NotRequired[str]


class RetriedEntries(TypedDict):
    # Number of entries that a worker writes at its next sweep
    retried: int


class TimedCommand(TypedDict):
    """A command of a simulation. It is executed `at_ms` ms after the creation of the session."""

    # ms after the creation of the session
    at_ms: int
    # Name of the command, as in REST
    command: str
    # Arguments of the command: the body of the REST request
    args: NotRequired[dict[str, Any]]


class SimulationBody(TypedDict):
    """A session to simulate, and its commands. The server stores nothing.  The timeline ends `until_ms` ms after the
    creation of the session, which is at `created_at`.
    """

    session: CreateSession
    # Commands to simulate, each with its instant
    commands: NotRequired[list[TimedCommand]]
    # End of the simulation in ms after the creation of the session
    until_ms: int
    # Instant of creation
    created_at: NotRequired[str]


class SimulatedChargeView(TypedDict):
    """The time that an event adds to the used time of one participant, in ms since the creation of the session."""

    # Id of the participant
    participant_id: str
    from_ms: int
    to_ms: int


class TimelineRow(TypedDict):
    """One event of the simulation, or one refused command with the code of the refusal and the reason."""

    # ms after the creation of the session
    at_ms: int
    # Type of the event
    event_type: NotRequired[
        Literal[
            "session_created",
            "session_started",
            "cycle_switched",
            "session_paused",
            "session_resumed",
            "time_adjusted",
            "participant_added",
            "participant_removed",
            "participant_updated",
            "participant_done",
            "participant_started",
            "participant_paused",
            "participant_resumed",
            "participant_finished",
            "turn_undone",
            "participant_expired",
            "group_expired",
            "cycle_expired",
            "time_warning",
            "overtime_started",
            "metadata_updated",
            "session_updated",
            "plan_updated",
            "announcement_updated",
            "screen_updated",
            "session_reopened",
            "session_recorded",
            "session_amended",
            "session_expired",
            "session_completed",
            "session_cancelled",
            "session_deleted",
            "session_recovered",
            "session_imported",
        ]
    ]
    # Version of the session: begins at 1 and grows by 1 with each change
    version: NotRequired[int]
    # Id of the participant
    participant_id: NotRequired[str]
    # Code of the refusal. A row of a refused command has no event
    refused: NotRequired[str]
    # Description of the error or refusal for people; its text can change
    message: NotRequired[str]
    # Times that the event charges; absent if it charges no time
    charges: NotRequired[list[SimulatedChargeView]]
    # Participants that the event concerns; absent unless there are several
    participant_ids: NotRequired[list[str]]


class Timeline(TypedDict):
    """The result of a simulation: its events and refused commands, and the session at the end."""

    # All events and refused commands, in the order of their instants
    timeline: list[TimelineRow]
    final: SessionView


class PresetViewStyle(TypedDict):
    """The style of the clocks of a preset on a page."""

    # Face of the clocks, as the element `sync-clock` shows it
    face: Literal["chess", "go", "stage", "sport"]
    # `versus`: a clock for each of two participants. `single`: one clock. `agenda`: one clock with the plan.
    # `list`: a row for each participant
    layout: Literal["versus", "single", "agenda", "list"]


class PresetSummary(TypedDict):
    """A preset in the list."""

    # Category and name, such as `chess/fide-blitz`
    name: str
    # Title for people
    title: str
    # Description for people: what the clock does
    text: str
    view: PresetViewStyle


class PresetDetails(TypedDict):
    """A preset with its session."""

    # Category and name, such as `chess/fide-blitz`
    name: str
    # Title for people
    title: str
    # Description for people: what the clock does
    text: str
    view: PresetViewStyle
    # Whether the participants are the roles of the format. Otherwise they are examples, which the participants of
    # a request replace
    has_fixed_roles: bool
    # URLs of the rules that the preset follows
    sources: list[str]
    # Body of a creation. Ids of participants are names, which the creation replaces by UUIDs
    session: dict[str, Any]


class TimeView(TypedDict):
    """The time of Redis, and the version of the server."""

    # Time of Redis in ms since the Unix epoch
    timestamp_ms: int
    # Version of the server
    server_version: str
    drift_tolerance_ms: Literal[50]
