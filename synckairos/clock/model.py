"""The facts of a session as frozen values. `timing.py` calculates readings from them, so no reading is stored.

All durations are whole milliseconds (`_ms`). All instants are whole milliseconds since the Unix epoch (`_at_ms`). A
transition makes new values and shares the unchanged ones.

| term | meaning |
|---|---|
| active | the participant that has the turn |
| anchor | the instant from which the running clock is measured |
| budget | the remaining time that a clock charges; its owner is a participant, a group or the session |
| charge | to subtract elapsed time from a budget |
| zero | the instant at which the running clock has no time left |
| flagged | the turn has run to its zero or past it |
| rotation | the participants that can still get turns, in index order |
"""

from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from synckairos.clock.clock_systems import ClockReading, ClockSystem
from synckairos.clock.lag_compensation import LagAccount, LagReceipt


class SyncMode(StrEnum):
    """The owner of the running clock."""

    PER_PARTICIPANT = "per_participant"
    PER_CYCLE = "per_cycle"
    PER_GROUP = "per_group"
    GLOBAL = "global"
    COUNT_UP = "count_up"


class Status(StrEnum):
    """The status of a session. `status_table` says which commands each status allows."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    EXPIRED = "expired"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Return whether the session has ended."""
        return self in FINAL


FINAL = frozenset({Status.EXPIRED, Status.COMPLETED, Status.CANCELLED})
"""The statuses that a session never leaves."""


class OnTimeout(StrEnum):
    """The action at the zero of the running clock."""

    EXPIRE = "expire"
    ADVANCE = "advance"
    PAUSE = "pause"
    OVERTIME = "overtime"


class EventType(StrEnum):
    """The type of a transition. `docs/reference/events.md` describes each type."""

    SESSION_CREATED = "session_created"
    SESSION_STARTED = "session_started"
    CYCLE_SWITCHED = "cycle_switched"
    SESSION_PAUSED = "session_paused"
    SESSION_RESUMED = "session_resumed"
    TIME_ADJUSTED = "time_adjusted"
    PARTICIPANT_ADDED = "participant_added"
    PARTICIPANT_REMOVED = "participant_removed"
    PARTICIPANT_EXPIRED = "participant_expired"
    GROUP_EXPIRED = "group_expired"
    CYCLE_EXPIRED = "cycle_expired"
    TIME_WARNING = "time_warning"
    METADATA_UPDATED = "metadata_updated"
    SESSION_EXPIRED = "session_expired"
    SESSION_COMPLETED = "session_completed"
    SESSION_CANCELLED = "session_cancelled"
    SESSION_DELETED = "session_deleted"
    SESSION_RECOVERED = "session_recovered"
    SESSION_IMPORTED = "session_imported"


TIMEOUT_REASON = "timeout"
"""The reason of the pause that the clock makes at zero under `on_timeout: pause`. Callers cannot use it."""

MAX_CYCLES = 1_000
"""Cycles of a `per_cycle` session whose creation gives no `max_cycles`."""


class Participant(Struct, frozen=True):
    """A participant and its clock.

    In `per_participant`, `remaining_ms` is the budget that runs. In other modes it is the rest of the participant's
    share; it serves only as a record and never falls below 0. `used_ms` is all time of its turns, including the free
    time of a delay. `clock` is the participant's own clock system, None if it uses the session's.
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
    reading: ClockReading | None = None
    lag: LagAccount | None = None


class Group(Struct, frozen=True):
    """A team with one budget. The budget runs in `per_group`; in other modes it serves only as a record."""

    group_id: str
    remaining_ms: int
    used_ms: int = 0
    has_expired: bool = False
    reading: ClockReading | None = None


class PauseReason(Struct, frozen=True):
    """One reason for which the session is paused. A session can be paused for several reasons at the same time.

    If `max_ms` is given, the reason ends by itself `max_ms` after `paused_at_ms`. `paused_by` is the actor that paused,
    as the audit records it; None if the clock itself paused at zero.
    """

    reason: str
    paused_at_ms: int
    max_ms: int | None = None
    paused_by: str | None = None

    @property
    def lifts_at_ms(self) -> int | None:
        """Return the instant at which this reason ends by itself, None if it does not."""
        return None if self.max_ms is None else self.paused_at_ms + self.max_ms


class TurnProgress(Struct, frozen=True):
    """The current turn.

    `used_ms` is the time of this turn before the anchor. `cycles` is the number of turns that ended in the session
    before this turn. `warned_ms` holds the warning thresholds that this turn has passed, or had passed when it began.
    """

    used_ms: int = 0
    cycles: int = 0
    warned_ms: tuple[int, ...] = ()


class Rules(Struct, frozen=True):
    """The settings of a session. They are fixed at creation.

    `clock` is the clock system in effect, whether the creation named it or the mode implied it. `warnings_ms` is
    sorted, greatest first. `pause_budget` is the number of pauses that each actor may make; None means no limit.
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


class Session(Struct, frozen=True):
    """The state of a session after its last transition.

    `anchor_ms` is the instant from which the running clock is measured, None if no clock runs. `active_position` is
    the position of the active participant in `participants`, which are in index order.

    `remaining_ms` is the session's own budget. It is the rest of the whole time in `global`, of the current cycle in
    `per_cycle`, of the cap in `count_up` (None without a cap). It is None in the other modes.

    `pauses_taken` counts the pauses of each actor, if there is a pause budget. `lag_receipt` is the charge of the last
    finished turn, if the session compensates lag. `deleted` marks a tombstone.
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
    turn: TurnProgress = TurnProgress()
    pauses: tuple[PauseReason, ...] = ()
    pauses_taken: dict[str, int] = field(default_factory=dict)
    lag_receipt: LagReceipt | None = None
    anchor_ms: int | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False

    @property
    def session_id(self) -> str:
        """Return the id of the session."""
        return self.rules.session_id

    @property
    def active_participant(self) -> Participant | None:
        """Return the participant that has the turn, None if the turn has no owner."""
        return None if self.active_position is None else self.participants[self.active_position]


class Event(Struct, frozen=True):
    """The event of one transition, and the participant or group that it concerns.

    `used_ms` and `remaining_ms` are the times of that participant or group after the event. If the event concerns
    neither, they are the times of the session.
    """

    type: EventType
    at_ms: int
    participant_id: str | None = None
    group_id: str | None = None
    used_ms: int | None = None
    remaining_ms: int | None = None


class Transition(Struct, frozen=True):
    """One fact: an event and the next state, whose version is greater by 1."""

    event: Event
    state: Session
