"""The facts of a session. Readings are derived from them (`timing.py`), they are never stored twice.

All durations are whole milliseconds, all instants whole milliseconds since the Unix epoch. Values are frozen: a
transition makes new ones and shares what didn't change.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from synckairos.clock.clock_systems import ClockReading, System
from synckairos.clock.lag_compensation import Lag, Receipt
from synckairos.fast_dataclass import fast_dataclass


class SyncMode(StrEnum):
    """Whose clock runs."""

    PER_PARTICIPANT = "per_participant"
    PER_CYCLE = "per_cycle"
    PER_GROUP = "per_group"
    GLOBAL = "global"
    COUNT_UP = "count_up"


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    EXPIRED = "expired"
    COMPLETED = "completed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL


FINAL = frozenset({Status.EXPIRED, Status.COMPLETED, Status.CANCELLED})


class OnTimeout(StrEnum):
    """What happens when the running clock reaches zero."""

    EXPIRE = "expire"
    ADVANCE = "advance"
    PAUSE = "pause"
    OVERTIME = "overtime"


class EventType(StrEnum):
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


TIMEOUT_REASON = "timeout"
"""The pause reason the clock itself gives at zero under `on_timeout: pause`; callers can't use it."""

MAX_CYCLES = 1_000
"""Cycles of a `per_cycle` session where `max_cycles` isn't given."""


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Participant:
    """One who takes turns.

    `remaining_ms` is the budget that runs in `per_participant`; elsewhere it is what is left of the participant's own
    share, for the record and never below 0. `used_ms` is all time spent in its turns, free time of a delay included.
    """

    participant_id: str
    index: int
    remaining_ms: int
    used_ms: int = 0
    cycle_count: int = 0
    has_expired: bool = False
    display_name: str | None = None
    group_id: str | None = None
    clock: System | None = None
    reading: ClockReading | None = None
    lag: Lag | None = None


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Group:
    """A team with one budget, which runs in `per_group`."""

    group_id: str
    remaining_ms: int
    used_ms: int = 0
    has_expired: bool = False
    reading: ClockReading | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """One standing reason why nothing runs; `max_ms` lifts it by itself that long after `paused_at_ms`.

    `by` is who paused, by the name the audit trail keeps; None is the clock itself.
    """

    reason: str
    paused_at_ms: int
    max_ms: int | None = None
    by: str | None = None

    @property
    def lifts_at_ms(self) -> int | None:
        return None if self.max_ms is None else self.paused_at_ms + self.max_ms


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Turn:
    """The turn that runs.

    `used_ms` is its time before the anchor, `cycles` the turns ended in the session before it, `warned_ms` the warning
    thresholds that its clock has passed, or began below.
    """

    used_ms: int = 0
    cycles: int = 0
    warned_ms: tuple[int, ...] = ()


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Rules:
    """What was agreed at creation and doesn't change.

    `clock` is the one in effect, be it named or implied. `warnings_ms` is sorted, greatest first. `pause_budget` is how
    many pauses each who asks may take, None any number.
    """

    session_id: str
    sync_mode: SyncMode
    on_timeout: OnTimeout
    created_at_ms: int
    clock: System
    increment_ms: int | None = None
    time_per_cycle_ms: int | None = None
    max_time_ms: int | None = None
    max_cycles: int | None = None
    warnings_ms: tuple[int, ...] = ()
    extend_on_switch_ms: int | None = None
    pause_budget: int | None = None
    lag_compensation: bool = False


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Session:
    """A session as of its last transition.

    `anchor_ms` is the instant from which the running clock is measured, None when nothing runs. `active` is a position
    in `participants`, which are kept in index order. `remaining_ms` is the session's own budget: what is left of it in
    `global`, of this cycle in `per_cycle`, of the cap in `count_up` (None without one); unused elsewhere (None).
    `pauses_taken` counts the pauses of each who took some, where there is a budget for them. `lag_receipt`
    tells how the last finished turn was charged, where lag is compensated.
    """

    rules: Rules
    epoch: str
    version: int
    status: Status
    updated_at_ms: int
    participants: tuple[Participant, ...] = ()
    groups: tuple[Group, ...] = ()
    active: int | None = None
    used_ms: int = 0
    remaining_ms: int | None = None
    turn: Turn = Turn()
    pauses: tuple[Pause, ...] = ()
    pauses_taken: dict[str, int] = field(default_factory=dict)
    lag_receipt: Receipt | None = None
    anchor_ms: int | None = None
    started_at_ms: int | None = None
    completed_at_ms: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False

    @property
    def session_id(self) -> str:
        return self.rules.session_id

    @property
    def active_participant(self) -> Participant | None:
        return None if self.active is None else self.participants[self.active]


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Event:
    """What happened, and to whom: `used_ms` and `remaining_ms` are that one's after it, or else the session's."""

    type: EventType
    at_ms: int
    participant_id: str | None = None
    group_id: str | None = None
    used_ms: int | None = None
    remaining_ms: int | None = None


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Transition:
    """One fact: an event and the state it leads to, one version on."""

    event: Event
    state: Session
