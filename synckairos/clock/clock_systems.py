"""Clock systems: how time is taken from a budget, and what a finished turn gives back.

Each system is data with five laws over a `Budget`, all closed-form: what a budget opens with, how long until its flag
falls, what is left after some time, what the end of a turn does, and what added time does. Only a turn that didn't
flag is finished, so nothing is ever given once flagged. `docs/reference/clock-systems.md` has each system's formula, an
example and the source of its rules: FIDE, US Chess, online-go.com, lichess' scalachess.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from synckairos.fast_dataclass import fast_dataclass, replace

Phase = Literal["main", "overtime"]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Facts a clock needs beyond its remaining time. Which of them are set depends on the system.

    phase: main time or overtime (byo-yomi, canadian). periods_left: periods not yet lost, the running one included.
    moves_left: turns until the period refills (canadian) or the stage ends (stages). stage: its place, from 0.
    """

    phase: Phase | None = None
    periods_left: int | None = None
    moves_left: int | None = None
    stage: int | None = None


class BudgetLike(Protocol):
    """Time to spend, as of the anchor: what a clock face shows, and the facts beyond it.

    Participants and groups carry theirs in these two fields; by itself it is a `Purse`.
    """

    @property
    def remaining_ms(self) -> int: ...

    @property
    def reading(self) -> ClockReading | None: ...


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Budget:
    """A budget by itself."""

    remaining_ms: int
    reading: ClockReading | None = None


class _Countdown:
    """The laws of a budget that just runs down: what the other systems differ from."""

    __slots__ = ()

    def open(self, budget_ms: int) -> BudgetLike:
        """Return what an allotment of `budget_ms` (0 or more) starts as."""
        return Budget(budget_ms)

    def time_to_zero_ms(self, budget: BudgetLike, turn_used_ms: int) -> int:
        """Return how many ms of running time remain until the flag falls, `turn_used_ms` into the turn.

        Below 0 only in overtime, by as much as the clock has run past its zero.
        """
        return budget.remaining_ms

    def charge(self, budget: BudgetLike, turn_used_ms: int, elapsed_ms: int) -> BudgetLike:
        """Return the budget after `elapsed_ms` more of the turn; below zero only where overtime is allowed."""
        return Budget(budget.remaining_ms - elapsed_ms, budget.reading)

    def finish_turn(self, budget: BudgetLike, turn_used_ms: int) -> BudgetLike:
        """Return the budget after a turn of `turn_used_ms` in all that ended before its flag fell."""
        return budget

    def finish_flagged_turn(self, budget: BudgetLike) -> BudgetLike:
        """Return the budget after a turn that ended past its zero: nothing is given back."""
        return budget

    def adjust(self, budget: BudgetLike, delta_ms: int) -> BudgetLike:
        """Return the budget with `delta_ms` added; taking stops at zero, and a debt from overtime stays a debt."""
        floor_ms = min(budget.remaining_ms, 0)
        return Budget(max(budget.remaining_ms + delta_ms, floor_ms), budget.reading)


@dataclass(frozen=True, slots=True)
class SuddenDeath(_Countdown):
    """One budget, nothing given back."""

    name: ClassVar[str] = "sudden_death"


@dataclass(frozen=True, slots=True)
class Fischer(_Countdown):
    """Each finished turn adds `increment_ms`, never past `cap_ms` where one is given."""

    name: ClassVar[str] = "fischer"
    increment_ms: int
    cap_ms: int | None = None

    def finish_turn(self, budget: BudgetLike, turn_used_ms: int) -> BudgetLike:
        raised_ms = budget.remaining_ms + self.increment_ms
        if self.cap_ms is not None:
            # Time beyond the cap, from the budget or an adjustment, isn't taken away.
            raised_ms = max(budget.remaining_ms, min(raised_ms, self.cap_ms))
        return Budget(raised_ms)


@dataclass(frozen=True, slots=True)
class Bronstein(_Countdown):
    """Each finished turn gives back what it used, at most `delay_ms`: never a gain."""

    name: ClassVar[str] = "bronstein"
    delay_ms: int

    def finish_turn(self, budget: BudgetLike, turn_used_ms: int) -> BudgetLike:
        return Budget(budget.remaining_ms + min(turn_used_ms, self.delay_ms))


@dataclass(frozen=True, slots=True)
class Delay(_Countdown):
    """US delay: the first `delay_ms` of each turn are free, so the flag falls that much later than with bronstein."""

    name: ClassVar[str] = "delay"
    delay_ms: int

    def free_time_left_ms(self, turn_used_ms: int) -> int:
        """Return what is left of this turn's free time."""
        return max(0, self.delay_ms - turn_used_ms)

    def time_to_zero_ms(self, budget: BudgetLike, turn_used_ms: int) -> int:
        if budget.remaining_ms < 0:
            # In overtime the zero lies behind: free time only holds the debt where it is.
            return budget.remaining_ms
        return self.free_time_left_ms(turn_used_ms) + budget.remaining_ms

    def charge(self, budget: BudgetLike, turn_used_ms: int, elapsed_ms: int) -> BudgetLike:
        charged_ms = max(0, elapsed_ms - self.free_time_left_ms(turn_used_ms))
        return Budget(budget.remaining_ms - charged_ms)


@dataclass(frozen=True, slots=True)
class Byoyomi(_Countdown):
    """Main time, then `periods` of `period_ms`: one is lost when it runs out, and whole again after a turn in it."""

    name: ClassVar[str] = "byoyomi"
    periods: int
    period_ms: int

    def open(self, budget_ms: int) -> BudgetLike:
        if budget_ms == 0:
            return Budget(self.period_ms, ClockReading(phase="overtime", periods_left=self.periods))
        return Budget(budget_ms, ClockReading(phase="main", periods_left=self.periods))

    def time_to_zero_ms(self, budget: BudgetLike, turn_used_ms: int) -> int:
        phase, left = _phase_and_periods(budget)
        whole = left if phase == "main" else max(0, left - 1)
        return budget.remaining_ms + whole * self.period_ms

    def charge(self, budget: BudgetLike, turn_used_ms: int, elapsed_ms: int) -> BudgetLike:
        phase, left = _phase_and_periods(budget)
        if phase == "main" and elapsed_ms < budget.remaining_ms:
            return Budget(budget.remaining_ms - elapsed_ms, budget.reading)
        rest_ms = self.time_to_zero_ms(budget, turn_used_ms) - elapsed_ms
        if rest_ms <= 0:
            return Budget(rest_ms, ClockReading(phase="overtime", periods_left=0))
        # A period that has run out exactly is lost: what is left fills so many periods, the running one included.
        left = min(left, -(-rest_ms // self.period_ms))
        return Budget(rest_ms - (left - 1) * self.period_ms, ClockReading(phase="overtime", periods_left=left))

    def finish_turn(self, budget: BudgetLike, turn_used_ms: int) -> BudgetLike:
        phase, _ = _phase_and_periods(budget)
        return Budget(self.period_ms, budget.reading) if phase == "overtime" else budget

    def adjust(self, budget: BudgetLike, delta_ms: int) -> BudgetLike:
        adjusted = _Countdown.adjust(self, budget, delta_ms)
        if adjusted.remaining_ms > 0 and _phase_and_periods(budget) == ("overtime", 0):
            # Time for one who had lost every period is a last period.
            return Budget(adjusted.remaining_ms, ClockReading(phase="overtime", periods_left=1))
        return adjusted


def _phase_and_periods(budget: BudgetLike) -> tuple[Phase, int]:
    assert budget.reading is not None
    assert budget.reading.phase is not None
    assert budget.reading.periods_left is not None
    return budget.reading.phase, budget.reading.periods_left


@dataclass(frozen=True, slots=True)
class Canadian(_Countdown):
    """Main time, then `moves` turns in each `period_ms`; only a finished turn counts, never a pause."""

    name: ClassVar[str] = "canadian"
    moves: int
    period_ms: int

    def open(self, budget_ms: int) -> BudgetLike:
        if budget_ms == 0:
            return self._open_overtime_period(self.period_ms)
        return Budget(budget_ms, ClockReading(phase="main", moves_left=self.moves))

    def time_to_zero_ms(self, budget: BudgetLike, turn_used_ms: int) -> int:
        return budget.remaining_ms + (self.period_ms if _is_main_time(budget) else 0)

    def charge(self, budget: BudgetLike, turn_used_ms: int, elapsed_ms: int) -> BudgetLike:
        left_ms = budget.remaining_ms - elapsed_ms
        if _is_main_time(budget) and left_ms <= 0:
            return self._open_overtime_period(self.period_ms + left_ms)
        return Budget(left_ms, budget.reading)

    def finish_turn(self, budget: BudgetLike, turn_used_ms: int) -> BudgetLike:
        if _is_main_time(budget):
            return budget
        assert budget.reading is not None
        assert budget.reading.moves_left is not None
        left = budget.reading.moves_left - 1
        if left == 0:
            return self._open_overtime_period(self.period_ms)
        return Budget(budget.remaining_ms, replace(budget.reading, moves_left=left))

    def _open_overtime_period(self, remaining_ms: int) -> BudgetLike:
        return Budget(remaining_ms, ClockReading(phase="overtime", moves_left=self.moves))


def _is_main_time(budget: BudgetLike) -> bool:
    return budget.reading is not None and budget.reading.phase == "main"


@dataclass(frozen=True, slots=True)
class PerMove(_Countdown):
    """`move_ms` for every turn; what a turn has left survives a pause and ends with the turn."""

    name: ClassVar[str] = "per_move"
    move_ms: int

    def open(self, budget_ms: int) -> BudgetLike:
        return Budget(self.move_ms)

    def finish_turn(self, budget: BudgetLike, turn_used_ms: int) -> BudgetLike:
        return Budget(self.move_ms)

    def finish_flagged_turn(self, budget: BudgetLike) -> BudgetLike:
        return Budget(self.move_ms)


@dataclass(frozen=True, slots=True)
class Hourglass(_Countdown):
    """What one uses the other gains (`timing.settle`): two participants, and their sum never changes."""

    name: ClassVar[str] = "hourglass"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a game: after `moves` turns in it `add_ms` is added; each turn in it adds `increment_ms`."""

    moves: int | None = None
    add_ms: int = 0
    increment_ms: int = 0


@dataclass(frozen=True, slots=True)
class Stages(_Countdown):
    """Several time controls in a row; the last one's increment lasts for the rest of the session."""

    name: ClassVar[str] = "stages"
    stages: tuple[Stage, ...]

    def open(self, budget_ms: int) -> BudgetLike:
        return Budget(budget_ms, ClockReading(stage=0, moves_left=self.stages[0].moves))

    def finish_turn(self, budget: BudgetLike, turn_used_ms: int) -> BudgetLike:
        assert budget.reading is not None
        assert budget.reading.stage is not None
        place, left = budget.reading.stage, budget.reading.moves_left
        stage = self.stages[place]
        raised_ms = budget.remaining_ms + stage.increment_ms
        if left is None:
            return Budget(raised_ms, budget.reading)
        if left > 1:
            return Budget(raised_ms, replace(budget.reading, moves_left=left - 1))
        # The move count is reached: the bonus comes once, after the last stage the increments go on without it.
        after = min(place + 1, len(self.stages) - 1)
        moves = self.stages[after].moves if after > place else None
        return Budget(raised_ms + stage.add_ms, ClockReading(stage=after, moves_left=moves))


ClockSystem = SuddenDeath | Fischer | Bronstein | Delay | Byoyomi | Canadian | PerMove | Hourglass | Stages

CLOCK_SYSTEMS: dict[str, type[ClockSystem]] = {
    system.name: system
    for system in (SuddenDeath, Fischer, Bronstein, Delay, Byoyomi, Canadian, PerMove, Hourglass, Stages)
}
"""Every clock system by the name it has on the wire."""
