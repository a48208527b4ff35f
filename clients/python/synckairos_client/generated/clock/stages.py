# Generated from synckairos.clock.stages by `make python-client`. Do not edit.
"""The clock system `stages`: several time controls in sequence."""

from dataclasses import dataclass, replace
from typing import ClassVar

from synckairos_client.generated.clock.budget import Budget, BudgetHolder, ClockReadingDetails, Countdown


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a time control.

    Each turn in the stage adds `increment_ms`, or has `delay_ms` of free time. The stage ends after `moves` turns of a
    participant or group, or, if `at_zero` is True, when its time runs out. The budget then gets `add_ms` once and the
    next stage begins. If `moves` is None and `at_zero` is not True, the stage does not end and `add_ms` is not added.
    """

    moves: int | None = None
    add_ms: int = 0
    increment_ms: int = 0
    delay_ms: int | None = None
    at_zero: bool | None = None


@dataclass(frozen=True, slots=True)
class Stages(Countdown):
    """Several time controls in sequence. The increment of the last stage continues for the rest of the session.

    The last stage also adds its `add_ms` only once, after its `moves` turns. If a stage ends at zero within a turn, the
    turn continues in the next stage. It then has free time only if the delay of the next stage is longer than the time
    that the turn has used.
    """

    name: ClassVar[str] = "stages"
    stages: tuple[Stage, ...]

    def free_time_left_ms(self, budget: BudgetHolder, turn_used_ms: int) -> int:
        """Return the free time in ms that is left in a turn that has already used `turn_used_ms`."""
        return _free_ms(self.stages[_stage_of(budget)], turn_used_ms)

    def make_initial_budget(self, budget_ms: int) -> BudgetHolder:
        return Budget(budget_ms, ClockReadingDetails(stage=0, moves_left=self.stages[0].moves))

    def time_to_zero_ms(self, budget: BudgetHolder, turn_used_ms: int) -> int:
        if budget.remaining_ms < 0:
            return budget.remaining_ms  # as in `clock_systems.Delay`
        number, left_ms, used_ms = _stage_of(budget), budget.remaining_ms, turn_used_ms
        used_ms += _free_ms(self.stages[number], used_ms) + left_ms
        while self._ends_at_zero(number):
            left_ms = self.stages[number].add_ms
            number += 1
            used_ms += _free_ms(self.stages[number], used_ms) + left_ms
        return used_ms - turn_used_ms

    def charge_elapsed(self, budget: BudgetHolder, turn_used_ms: int, elapsed_ms: int) -> BudgetHolder:
        number, left_ms, used_ms = _stage_of(budget), budget.remaining_ms, turn_used_ms
        reading = budget.reading
        while True:
            free_ms = _free_ms(self.stages[number], used_ms)
            if elapsed_ms < free_ms + left_ms or not self._ends_at_zero(number):
                return Budget(left_ms - max(0, elapsed_ms - free_ms), reading)
            # The time of this stage has run out, so the turn continues in the next stage.
            elapsed_ms -= free_ms + left_ms
            used_ms += free_ms + left_ms
            left_ms = self.stages[number].add_ms
            number += 1
            reading = ClockReadingDetails(stage=number, moves_left=self.stages[number].moves)

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        assert budget.reading is not None
        number, left = _stage_of(budget), budget.reading.moves_left
        stage = self.stages[number]
        raised_ms = budget.remaining_ms + stage.increment_ms
        if left is None:
            return Budget(raised_ms, budget.reading)
        if left > 1:
            return Budget(raised_ms, replace(budget.reading, moves_left=left - 1))
        # The stage is complete, so its bonus `add_ms` is added once. After the last stage only the increment continues.
        following = min(number + 1, len(self.stages) - 1)
        moves = self.stages[following].moves if following > number else None
        return Budget(raised_ms + stage.add_ms, ClockReadingDetails(stage=following, moves_left=moves))

    def add_time(self, budget: BudgetHolder, delta_ms: int, may_fall_below_zero: bool = False) -> BudgetHolder:
        has_following_time = self._ends_at_zero(_stage_of(budget))
        return Countdown.add_time(self, budget, delta_ms, may_fall_below_zero and not has_following_time)

    def _ends_at_zero(self, number: int) -> bool:
        return bool(self.stages[number].at_zero) and number + 1 < len(self.stages)


def _stage_of(budget: BudgetHolder) -> int:
    assert budget.reading is not None
    assert budget.reading.stage is not None
    return budget.reading.stage


def _free_ms(stage: Stage, turn_used_ms: int) -> int:
    return max(0, (stage.delay_ms or 0) - turn_used_ms)
