"""The facts of a ticking session in which participants take turns, and what follows from them."""

from dataclasses import dataclass, field
from typing import ClassVar

from synckairos.clock.clock_systems import SuddenDeath
from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import OnTimeout, Status, SyncMode
from synckairos.clock.transition import EventType
from tests.unit.clock.oracle.facts import BegunTurn, EndedIn, Item, PauseReason, Seat, Team
from tests.unit.clock.oracle.ticking_clock import TICK_MS, TickingClock, in_ticks
from tests.unit.clock.script import T0

SUDDEN_DEATH = SuddenDeath()


@dataclass
class SessionFacts:
    """A session in a mode with turns. All times are in ticks since the creation."""

    tick_ms: ClassVar[int] = TICK_MS
    spec: Create
    now: int = 0
    status: Status = Status.PENDING
    seats: list[Seat] = field(default_factory=list)
    teams: list[Team] = field(default_factory=list)
    budget: TickingClock | None = None
    plan: list[Item] = field(default_factory=list)
    active: str | None = None
    item: str | None = None
    next_item: str | None = None
    used: int = 0
    turn_used: int = 0
    turn_number: int = 0
    ended_turns: int = 0
    warned: set[int] = field(default_factory=set)
    is_in_overtime: bool = False
    pauses: list[PauseReason] = field(default_factory=list)
    pauses_taken: int = 0
    starts: int | None = None
    ends: int | None = None
    has_started: bool = False
    extensions: tuple[int, int] = (0, 0)
    begun: list[BegunTurn] = field(default_factory=list)
    ended_in: EndedIn | None = None
    log: list[tuple[int, EventType]] = field(default_factory=list)
    timeouts: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        spec, mode = self.spec, self.spec.sync_mode
        self.overtime = spec.on_timeout is OnTimeout.OVERTIME
        self.system = spec.clock or SUDDEN_DEATH
        given = {group.group_id: group.total_time_ms for group in spec.groups}
        for new in spec.participants:
            sum_ms = sum(each.total_time_ms or 0 for each in spec.participants if each.group_id == new.group_id)
            team_ms = given.get(new.group_id or "")
            self.add_seat(new, sum_ms if team_ms is None else team_ms)
        self.plan = [
            Item(
                each.item_id,
                in_ticks(each.time_ms),
                each.participant_id,
                None if each.warnings_ms is None else [in_ticks(at_ms) for at_ms in each.warnings_ms],
            )
            for each in spec.plan
        ]
        left_ms = {
            SyncMode.GLOBAL: spec.total_time_ms,
            SyncMode.PER_CYCLE: spec.plan[0].time_ms if spec.plan else spec.time_per_cycle_ms,
            SyncMode.COUNT_UP: None if spec.max_time_ms is None else spec.max_time_ms - (spec.initial_ms or 0),
        }.get(mode)
        if left_ms is not None:
            self.budget = TickingClock(SUDDEN_DEATH, in_ticks(left_ms))
        self.used = in_ticks(spec.initial_ms or 0)
        self.active = spec.active_participant_id
        self.starts = None if spec.starts_at_ms is None else in_ticks(spec.starts_at_ms - T0)
        self.ends = None if spec.ends_at_ms is None else in_ticks(spec.ends_at_ms - T0)
        self.free_limit = None if spec.free_first_turn_ms is None else in_ticks(spec.free_first_turn_ms)

    def add_seat(self, new: NewParticipant, team_ms: int) -> None:
        """Add a participant, and its group with the budget `team_ms` if the session does not have the group."""
        mode, clock = self.spec.sync_mode, None
        if mode is SyncMode.PER_PARTICIPANT:
            clock = TickingClock(new.clock or self.system, in_ticks(new.total_time_ms or 0))
        self.seats.append(Seat(new.participant_id, new.group_id, clock, new.clock))
        if new.group_id is not None and self.team_of(new.group_id) is None:
            team_clock = TickingClock(self.system, in_ticks(team_ms)) if mode is SyncMode.PER_GROUP else None
            self.teams.append(Team(new.group_id, team_clock))

    def seat(self, name: str | None) -> Seat | None:
        """Return a participant."""
        return next((each for each in self.seats if each.name == name), None)

    def team_of(self, name: str | None) -> Team | None:
        """Return a group."""
        return next((each for each in self.teams if each.name == name), None)

    def item_of(self, name: str | None) -> Item | None:
        """Return an item of the plan."""
        return next((each for each in self.plan if each.name == name), None)

    @property
    def has_seat_clocks(self) -> bool:
        return self.spec.sync_mode is SyncMode.PER_PARTICIPANT

    @property
    def is_over(self) -> bool:
        return self.status.is_final

    @property
    def is_held(self) -> bool:
        return any(each.name == "hold" for each in self.pauses)

    @property
    def is_at_zero(self) -> bool:
        """Return whether the session is paused because its clock reached zero."""
        return any(each.name == "timeout" for each in self.pauses)

    @property
    def names_owners(self) -> bool:
        """Return whether the plan decides whose turn it is."""
        return any(each.owner is not None for each in self.plan)

    @property
    def is_free(self) -> bool:
        """Return whether the turn is a free first turn."""
        seat = self.seat(self.active)
        return self.free_limit is not None and seat is not None and not seat.turns

    @property
    def running_clock(self) -> TickingClock | None:
        """Return the clock of the turn, None if another fact limits the turn or nothing does."""
        seat = self.seat(self.active)
        match self.spec.sync_mode:
            case SyncMode.PER_PARTICIPANT:
                return None if seat is None else seat.clock
            case SyncMode.PER_GROUP:
                team = None if seat is None else self.team_of(seat.team)
                return None if team is None else team.clock
            case _:
                return self.budget

    @property
    def left(self) -> int | None:
        """Return the ticks that the clock of the turn must still run until its zero, None without a limit."""
        if self.ends is not None:
            return self.ends - self.now
        if self.is_free:
            assert self.free_limit is not None
            return self.free_limit - self.turn_used
        clock = self.running_clock
        return None if clock is None else clock.ticks_to_zero()

    @property
    def thresholds(self) -> list[int]:
        """Return the thresholds of the warnings of this turn, the greatest first."""
        if self.is_free:
            return []
        item = self.item_of(self.item)
        if item is not None and item.warnings is not None:
            return sorted(item.warnings, reverse=True)
        return sorted({in_ticks(each) for each in self.spec.warnings_ms}, reverse=True)

    def can_get_turns(self, seat: Seat) -> bool:
        if self.overtime:
            return True
        if self.spec.sync_mode is SyncMode.PER_GROUP:
            team = self.team_of(seat.team)
            return team is None or not team.is_out
        return not seat.is_out

    def following(self, after: str | None) -> str | None:
        """Return the next participant in the rotation."""
        names = [each.name for each in self.seats]
        first = 0 if after is None else names.index(after) + 1
        order = self.seats[first:] + self.seats[:first]
        return next((each.name for each in order if self.can_get_turns(each)), None)
