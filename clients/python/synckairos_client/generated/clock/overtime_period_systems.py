# Generated from synckairos.clock.overtime_period_systems by `make python-client`. Do not edit.
"""Clock systems with overtime periods after the main time: byo-yomi and canadian."""

from dataclasses import dataclass, replace
from typing import ClassVar

from synckairos_client.generated.clock.budget import Budget, BudgetHolder, ClockReadingDetails, Countdown, Phase


@dataclass(frozen=True, slots=True)
class Byoyomi(Countdown):
    """Main time, then `periods` periods of `period_ms` each.

    A period that runs out is lost. A turn that ends within a period makes that period full again. A turn that ends in
    main time adds `increment_ms`, if it is set.
    """

    name: ClassVar[str] = "byoyomi"
    periods: int
    period_ms: int
    increment_ms: int | None = None

    def make_initial_budget(self, budget_ms: int) -> BudgetHolder:
        if budget_ms == 0:
            return Budget(self.period_ms, ClockReadingDetails(phase="overtime", periods_left=self.periods))
        return Budget(budget_ms, ClockReadingDetails(phase="main", periods_left=self.periods))

    def time_to_zero_ms(self, budget: BudgetHolder, turn_used_ms: int) -> int:
        phase, left = _phase_and_periods(budget)
        full_periods = left if phase == "main" else max(0, left - 1)
        return budget.remaining_ms + full_periods * self.period_ms

    def charge_elapsed(self, budget: BudgetHolder, turn_used_ms: int, elapsed_ms: int) -> BudgetHolder:
        phase, left = _phase_and_periods(budget)
        if phase == "main" and elapsed_ms < budget.remaining_ms:
            return Budget(budget.remaining_ms - elapsed_ms, budget.reading)
        rest_ms = self.time_to_zero_ms(budget, turn_used_ms) - elapsed_ms
        if rest_ms <= 0:
            return Budget(rest_ms, ClockReadingDetails(phase="overtime", periods_left=0))
        # A period that has run out exactly is lost. So the number of periods is the remaining time divided by
        # `period_ms`, rounded up.
        left = min(left, -(-rest_ms // self.period_ms))
        return Budget(rest_ms - (left - 1) * self.period_ms, ClockReadingDetails(phase="overtime", periods_left=left))

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        phase, _ = _phase_and_periods(budget)
        if phase == "overtime":
            return Budget(self.period_ms, budget.reading)
        return budget if self.increment_ms is None else Budget(budget.remaining_ms + self.increment_ms, budget.reading)

    def add_time(self, budget: BudgetHolder, delta_ms: int, may_fall_below_zero: bool = False) -> BudgetHolder:
        phase, left = _phase_and_periods(budget)
        has_following_period = phase == "main" or left > 1
        may_fall_below_zero = may_fall_below_zero and not has_following_period
        adjusted = Countdown.add_time(self, budget, delta_ms, may_fall_below_zero)
        if adjusted.remaining_ms > 0 and (phase, left) == ("overtime", 0):
            # If all periods are lost, the added time becomes one final period.
            return Budget(adjusted.remaining_ms, ClockReadingDetails(phase="overtime", periods_left=1))
        if adjusted.remaining_ms <= 0 and may_fall_below_zero:
            return Budget(adjusted.remaining_ms, ClockReadingDetails(phase="overtime", periods_left=0))
        return adjusted


def _phase_and_periods(budget: BudgetHolder) -> tuple[Phase, int]:
    assert budget.reading is not None
    assert budget.reading.phase is not None
    assert budget.reading.periods_left is not None
    return budget.reading.phase, budget.reading.periods_left


@dataclass(frozen=True, slots=True)
class Canadian(Countdown):
    """Main time, then overtime periods of `period_ms`. A full period begins again after each `moves` finished turns.

    The clock reaches zero if a period runs out before `moves` turns have ended in it. A pause inside a turn does not
    finish the turn. If `moves_step` is set, each further period needs that many turns more than the period before, but
    at most `moves_max` turns.
    """

    name: ClassVar[str] = "canadian"
    moves: int
    period_ms: int
    moves_step: int | None = None
    moves_max: int | None = None

    def make_initial_budget(self, budget_ms: int) -> BudgetHolder:
        if budget_ms == 0:
            return self._open_overtime_period(self.period_ms, self.moves)
        return Budget(budget_ms, self._reading("main", self.moves))

    def time_to_zero_ms(self, budget: BudgetHolder, turn_used_ms: int) -> int:
        return budget.remaining_ms + (self.period_ms if _is_main_time(budget) else 0)

    def charge_elapsed(self, budget: BudgetHolder, turn_used_ms: int, elapsed_ms: int) -> BudgetHolder:
        left_ms = budget.remaining_ms - elapsed_ms
        if _is_main_time(budget) and left_ms <= 0:
            return self._open_overtime_period(self.period_ms + left_ms, self.moves)
        return Budget(left_ms, budget.reading)

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        if _is_main_time(budget):
            return budget
        assert budget.reading is not None
        assert budget.reading.moves_left is not None
        left = budget.reading.moves_left - 1
        if left == 0:
            return self._open_overtime_period(self.period_ms, self._moves_after(budget.reading.period_moves))
        return Budget(budget.remaining_ms, replace(budget.reading, moves_left=left))

    def add_time(self, budget: BudgetHolder, delta_ms: int, may_fall_below_zero: bool = False) -> BudgetHolder:
        return Countdown.add_time(self, budget, delta_ms, may_fall_below_zero and not _is_main_time(budget))

    def _open_overtime_period(self, remaining_ms: int, moves: int) -> BudgetHolder:
        return Budget(remaining_ms, self._reading("overtime", moves))

    def _reading(self, phase: Phase, moves: int) -> ClockReadingDetails:
        return ClockReadingDetails(phase, moves_left=moves, period_moves=None if self.moves_step is None else moves)

    def _moves_after(self, period_moves: int | None) -> int:
        """Return the number of turns of the period after a period that needed `period_moves` turns."""
        if self.moves_step is None or period_moves is None:
            return self.moves
        moves = period_moves + self.moves_step
        return moves if self.moves_max is None else min(moves, max(self.moves_max, self.moves))


def _is_main_time(budget: BudgetHolder) -> bool:
    return budget.reading is not None and budget.reading.phase == "main"
