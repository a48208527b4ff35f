# Generated from synckairos.clock.clock_systems by `make python-client`. Do not edit.
"""Clock systems: rules for how elapsed time is charged to a budget, and how much time a finished turn adds.

Each clock system is a frozen value with six pure operations, all in closed form: make an initial budget, return the
time to zero of a budget, charge elapsed time, finish a turn, finish a flagged turn, and add time. A flagged turn adds
no time to the budget. Only in `per_move` it is followed by a new budget. `docs/reference/clock-systems.md` has the
formula, an example and the source of each clock system: FIDE, US Chess, online-go.com, lichess' scalachess.
"""

from dataclasses import dataclass
from typing import ClassVar

from synckairos_client.generated.clock.budget import Budget, BudgetHolder, Countdown
from synckairos_client.generated.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos_client.generated.clock.stages import Stages


@dataclass(frozen=True, slots=True)
class SuddenDeath(Countdown):
    """One budget for all turns of its owner. The end of a turn adds no time."""

    name: ClassVar[str] = "sudden_death"


@dataclass(frozen=True, slots=True)
class Fischer(Countdown):
    """Each turn that ends before its zero adds `increment_ms`.

    If `cap_ms` is set, the increment does not raise the budget above `cap_ms`. A budget that is already above `cap_ms`
    stays unchanged.
    """

    name: ClassVar[str] = "fischer"
    increment_ms: int
    cap_ms: int | None = None

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        raised_ms = budget.remaining_ms + self.increment_ms
        if self.cap_ms is not None:
            # Time above the cap comes from the initial budget or an adjustment, and is not taken away.
            raised_ms = max(budget.remaining_ms, min(raised_ms, self.cap_ms))
        return Budget(raised_ms)


@dataclass(frozen=True, slots=True)
class Bronstein(Countdown):
    """Each turn that ends before its zero gives back the time that it used, but at most `delay_ms`.

    So a turn cannot increase the budget.
    """

    name: ClassVar[str] = "bronstein"
    delay_ms: int

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        return Budget(budget.remaining_ms + min(turn_used_ms, self.delay_ms))


@dataclass(frozen=True, slots=True)
class Delay(Countdown):
    """US delay: the first `delay_ms` of each turn are not charged.

    So the flag falls `delay_ms` later than in bronstein with the same budget.
    """

    name: ClassVar[str] = "delay"
    delay_ms: int

    def free_time_left_ms(self, turn_used_ms: int) -> int:
        """Return the free time in ms that is left in a turn that has already used `turn_used_ms`."""
        return max(0, self.delay_ms - turn_used_ms)

    def time_to_zero_ms(self, budget: BudgetHolder, turn_used_ms: int) -> int:
        if budget.remaining_ms < 0:
            # In overtime the zero is in the past. Free time then only delays the growth of the debt, so it moves no
            # zero.
            return budget.remaining_ms
        return self.free_time_left_ms(turn_used_ms) + budget.remaining_ms

    def charge_elapsed(self, budget: BudgetHolder, turn_used_ms: int, elapsed_ms: int) -> BudgetHolder:
        charged_ms = max(0, elapsed_ms - self.free_time_left_ms(turn_used_ms))
        return Budget(budget.remaining_ms - charged_ms)


@dataclass(frozen=True, slots=True)
class PerMove(Countdown):
    """A new budget of `move_ms` for each turn.

    A pause keeps the remaining time of the turn. The remaining time is not carried to the next turn.
    """

    name: ClassVar[str] = "per_move"
    move_ms: int

    def make_initial_budget(self, budget_ms: int) -> BudgetHolder:
        return Budget(self.move_ms)

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        return Budget(self.move_ms)

    def replenish_after_flag(self, budget: BudgetHolder) -> BudgetHolder:
        return Budget(self.move_ms)


@dataclass(frozen=True, slots=True)
class Hourglass(Countdown):
    """Two participants: each millisecond that one participant uses is added to the budget of the other participant.

    `timing.charge_session_until` adds this time. So a turn does not change the sum of the two budgets.
    """

    name: ClassVar[str] = "hourglass"


ClockSystem = SuddenDeath | Fischer | Bronstein | Delay | Byoyomi | Canadian | PerMove | Hourglass | Stages

CLOCK_SYSTEMS: dict[str, type[ClockSystem]] = {
    system.name: system
    for system in (SuddenDeath, Fischer, Bronstein, Delay, Byoyomi, Canadian, PerMove, Hourglass, Stages)
}
"""Clock system classes by their names in JSON."""
