# Generated from synckairos.clock.model by `make python-client`. Do not edit.
"""The facts of a session as frozen values. Readings are not stored; `timing.py` calculates them from the facts.

All durations are whole milliseconds (`_ms`). All instants are whole milliseconds since the Unix epoch (`_at_ms`). A
transition (`transition.py`) makes new values and shares the unchanged values with the state before.

| term | meaning |
|---|---|
| active | the participant that has the turn |
| anchor | the instant from which the running clock is measured |
| budget | the remaining time that a clock charges; its owner is a participant, a group or the session |
| charge | to subtract elapsed time from a budget and add it to the used time of its participant |
| zero | the instant at which the running clock has no time left |
| flagged | the turn has run to its zero or past its zero |
| rotation | the participants that can still get turns, in index order |
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from synckairos_client.generated.clock.active_pause import ActivePause
from synckairos_client.generated.clock.audience_display import Announcement, ScreenMode
from synckairos_client.generated.clock.budget import ClockReadingDetails
from synckairos_client.generated.clock.clock_systems import ClockSystem
from synckairos_client.generated.clock.individual_clock import IndividualClock
from synckairos_client.generated.clock.lag_compensation import LagAccount, LagReceipt
from synckairos_client.generated.clock.plan_item import PlanItem


class SyncMode(StrEnum):
    """The mode of a session. It determines which budget runs: of the participant, group, cycle or session, or none.

    In `individual` there are no turns: the budgets of several participants run at the same time.
    """

    PER_PARTICIPANT = "per_participant"
    PER_CYCLE = "per_cycle"
    PER_GROUP = "per_group"
    GLOBAL = "global"
    COUNT_UP = "count_up"
    INDIVIDUAL = "individual"


TURN_MODES: tuple[SyncMode, ...] = tuple(mode for mode in SyncMode if mode is not SyncMode.INDIVIDUAL)
"""The modes in which participants take turns. SyncKairos v2 has exactly these modes."""


class Status(StrEnum):
    """The status of a session. `status_table` lists the commands that each status allows."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    EXPIRED = "expired"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Return whether a session with this status has ended."""
        return self in FINAL


FINAL = frozenset({Status.EXPIRED, Status.COMPLETED, Status.CANCELLED})
"""Statuses of ended sessions. Only a reopening changes the status of an ended session."""


class OnTimeout(StrEnum):
    """The action when the running clock reaches zero.

    `expire`: the session expires. `advance`: the next turn begins. `pause`: the session is paused. `overtime`: the
    clock continues below zero.
    """

    EXPIRE = "expire"
    ADVANCE = "advance"
    PAUSE = "pause"
    OVERTIME = "overtime"


class ExtendBy(StrEnum):
    """The way in which a switch extends the budget. `reset`: to at least a given time. `add`: by a given time."""

    RESET = "reset"
    ADD = "add"


MAX_CYCLES = 1_000
"""Maximum number of cycles of a `per_cycle` session that was created without `max_cycles`."""


@dataclass(frozen=True, slots=True)
class Participant:
    """A participant and its clock.

    In `per_participant`, `remaining_ms` is the budget that the clock charges. In `per_cycle` it is 0. In other modes it
    is the unused part of the participant's share. That part is only informative and never falls below 0. `used_ms` is
    the time of all turns of the participant before the anchor, including the free time of a delay. `cycle_count` is the
    number of turns of the participant that have ended. `clock` is the participant's own clock system, None if the
    participant uses the session's clock system. `done_turn` is the number of the last turn in which the
    participant was done, None if it never was. `individual` is the participant's clock in `individual`, None in other
    modes; there `remaining_ms` and `used_ms` are those at its anchor.
    """

    participant_id: str
    index: int
    remaining_ms: int
    used_ms: int = 0
    cycle_count: int = 0
    has_expired: bool = False
    display_name: str | None = None
    group_id: str | None = None
    clock: ClockSystem | None = None
    reading: ClockReadingDetails | None = None
    lag: LagAccount | None = None
    done_turn: int | None = None
    individual: IndividualClock | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A team with one budget.

    The clock charges this budget only in `per_group`. In other modes the budget is only informative.
    """

    group_id: str
    remaining_ms: int
    used_ms: int = 0
    has_expired: bool = False
    reading: ClockReadingDetails | None = None


@dataclass(frozen=True, slots=True)
class CurrentTurn:
    """The progress of the current turn.

    `used_ms` is the time of this turn before the anchor. `cycles` is the number of turns that ended in the session
    before this turn. `warned_ms` holds, in ms before zero, each warning threshold that was sent in this turn, or that
    the clock had already passed when this turn began. `is_in_overtime` is True if the overtime of this turn has begun,
    or if the turn began at or below zero. Sessions of the first edition do not use it.

    `began_version` is the version that began this turn. In a turn that an undo restored, it is the version that began
    this turn the first time, and in a hold the version that began the ended turn. It is None if an undo of this turn is
    not possible: before the start, in the first edition, and after a change that an undo must not cross
    (`begin_turn.block_undo`).
    """

    used_ms: int = 0
    cycles: int = 0
    warned_ms: tuple[int, ...] = ()
    is_in_overtime: bool = False
    began_version: int | None = None


@dataclass(frozen=True, slots=True)
class RestRule:
    """The rest days of a session: weekdays from 1 (Monday) to 7 (Sunday) in order, at least one and at most six.

    A day begins at midnight of local time, which is UTC plus `utc_offset_minutes`.
    """

    weekdays: tuple[int, ...]
    utc_offset_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a session, fixed at creation.

    `clock` is the session's clock system, which the creation names or implies. A participant can have its own clock
    system instead. `warnings_ms` holds the warning thresholds in ms before zero, the greatest first. `pause_budget` is
    the number of pauses that each actor is allowed, None without a maximum. If `switch_while_paused`, a switch is
    allowed during a pause. If `holds_between_turns`, each turn ends with a hold. If `closes_when_all_done`, a turn ends
    when all participants that can get turns are done.

    `rest` has the rest days, on which the clock pauses by itself, None without rest days.

    `free_first_turn_ms` is the maximum time in ms of the first turn of each participant in `per_participant`, which its
    budget is not charged for. None if the first turn is like the others.

    `initial_ms` is the time of a `count_up` session at its start, None for 0. It counts in the session's used time, but
    in no participant's used time.

    In `global` and `count_up`, `extend_on_switch_ms` is the minimum time that is left after a switch (`extend_by` is
    `reset`), or the time that a switch adds (`extend_by` is `add`). A switch extends the budget only if at most
    `extend_window_ms` is left before the switch. If `extend_window_ms` is None, `extend_on_switch_ms` is used instead.
    `max_extension_ms` limits the sum of all extensions and `max_extensions` their number, None without a limit.
    """

    session_id: str
    sync_mode: SyncMode
    on_timeout: OnTimeout
    created_at_ms: int
    clock: ClockSystem
    increment_ms: int | None = None
    time_per_cycle_ms: int | None = None
    max_time_ms: int | None = None
    max_cycles: int | None = None
    warnings_ms: tuple[int, ...] = ()
    extend_on_switch_ms: int | None = None
    pause_budget: int | None = None
    lag_compensation: bool = False
    extend_window_ms: int | None = None
    extend_by: ExtendBy | None = None
    max_extension_ms: int | None = None
    max_extensions: int | None = None
    switch_while_paused: bool = False
    holds_between_turns: bool = False
    initial_ms: int | None = None
    closes_when_all_done: bool = False
    free_first_turn_ms: int | None = None
    rest: RestRule | None = None


@dataclass(frozen=True, slots=True)
class Extensions:
    """The extensions of a soft close so far: their number, and the time in ms that they added."""

    count: int = 0
    added_ms: int = 0


@dataclass(frozen=True, slots=True)
class Break:
    """A time within a recorded or amended session that is not charged.

    It lasts from `began_at_ms` (included) to `ended_at_ms` (excluded), both in ms since the Unix epoch.
    """

    began_at_ms: int
    ended_at_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """The state of a session after its last transition.

    `updated_at_ms` is the instant of that transition. `anchor_ms` is the instant from which the running clock is
    measured, None if no clock runs. `participants` is in index order. `active_position` is the position of the active
    participant in `participants`, None if no participant is active.

    `remaining_ms` is the budget of the session itself. In `global` it is the remaining time of the session. In
    `per_cycle` it is the remaining time of the current cycle. In `count_up` it is the time until the maximum, None
    without a maximum. It is None in the other modes.

    `pauses_taken` holds the number of pauses of each actor, if there is a pause budget. `lag_receipt` is the charge of
    the most recently finished turn, None if there is none or the session does not use lag compensation. `deleted` is
    True in a tombstone.

    `turn_number` is the number of turns that have begun, 0 while the session is pending. It never decreases. It is None
    in a session of the first edition. `extensions` is None without a soft close, and in the first edition.

    `starts_at_ms` is the instant at which a pending session starts by itself, None if only a command starts it. It
    stays after the start. `ends_at_ms` is the instant at which the clock of the session reaches zero, also during a
    pause. The session then has no budget of its own, so `remaining_ms` is None. Both are None in the first edition.

    `breaks` holds the breaks of a session whose times a caller stated (`recorded_times.py`), in order. It is None if
    the clock measured the times.
    `plan` is empty in a session without a plan. `item_position` is the position in `plan` of the item of the most
    recently begun turn, None before the start. `next_item_position` is the position of the item that begins after a
    hold, None outside a hold. `schedule_offset_ms` is the time in ms by which this item began later than planned,
    negative if it began earlier. An item without a planned start does not change it. It is None before the start.

    `announcement` is the newest announcement, None if it was removed. `screen` is the mode of the screens of the
    audience, None if they show the whole session.
    """

    rules: Rules
    epoch: str
    version: int
    status: Status
    updated_at_ms: int
    participants: tuple[Participant, ...] = ()
    groups: tuple[Group, ...] = ()
    active_position: int | None = None
    used_ms: int = 0
    remaining_ms: int | None = None
    turn: CurrentTurn = CurrentTurn()
    pauses: tuple[ActivePause, ...] = ()
    pauses_taken: dict[str, int] = field(default_factory=dict)
    lag_receipt: LagReceipt | None = None
    anchor_ms: int | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    turn_number: int | None = None
    extensions: Extensions | None = None
    starts_at_ms: int | None = None
    ends_at_ms: int | None = None
    breaks: tuple[Break, ...] | None = None
    plan: tuple[PlanItem, ...] = ()
    item_position: int | None = None
    next_item_position: int | None = None
    schedule_offset_ms: int | None = None
    announcement: Announcement | None = None
    screen: ScreenMode | None = None

    @property
    def is_second_edition(self) -> bool:
        """Return whether the rules of the second edition apply: the session has a turn number."""
        return self.turn_number is not None

    @property
    def session_id(self) -> str:
        """Return the id of the session."""
        return self.rules.session_id

    @property
    def active_participant(self) -> Participant | None:
        """Return the participant that has the turn, None if no participant has it."""
        return None if self.active_position is None else self.participants[self.active_position]
