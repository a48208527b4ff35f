# Generated from synckairos.clock.budget by `make python-client`. Do not edit.
"""Budgets, and the base class of all clock systems: a plain countdown with the six operations of a clock system."""

from dataclasses import dataclass
from typing import Literal, Protocol

Phase = Literal["main", "overtime"]
"""Phase of a budget: main time, or the overtime periods after main time (byo-yomi, canadian)."""


@dataclass(frozen=True, slots=True)
class ClockReadingDetails:
    """The facts of a budget other than its remaining time. A field is None if the clock system does not use the field.

    `phase`: main time or overtime periods (byo-yomi, canadian). `periods_left`: number of periods that are not lost,
    including the running period (byo-yomi). `moves_left`: number of turns that must still end before the period is full
    again (canadian) or before the stage ends (stages). `stage`: position of the current stage in `Stages.stages`,
    counted from 0. `period_moves`: number of turns that the current period needs (canadian with `moves_step`).
    """

    phase: Phase | None = None
    periods_left: int | None = None
    moves_left: int | None = None
    stage: int | None = None
    period_moves: int | None = None


class BudgetHolder(Protocol):
    """A budget at the anchor: the remaining time, and the other facts of the clock.

    `Participant` and `Group` also have these two fields. `Budget` has no other fields.
    """

    @property
    def remaining_ms(self) -> int: ...

    @property
    def reading(self) -> ClockReadingDetails | None: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget that is not part of a participant or a group."""

    remaining_ms: int
    reading: ClockReadingDetails | None = None


class Countdown:
    """The six operations of a plain countdown. Each clock system overrides the operations in which it differs."""

    __slots__ = ()

    def make_initial_budget(self, budget_ms: int) -> BudgetHolder:
        """Return the budget before the first turn. `budget_ms` (0 or more) is the main time in ms.

        Byo-yomi and canadian begin in an overtime period if `budget_ms` is 0. `per_move` ignores `budget_ms`.
        """
        return Budget(budget_ms)

    def time_to_zero_ms(self, budget: BudgetHolder, turn_used_ms: int) -> int:
        """Return the time in ms that the clock must still run after the anchor until the flag falls.

        The result includes the overtime periods of byo-yomi and canadian. `turn_used_ms` is the time that the turn used
        before the anchor. A result below 0 occurs only under `on_timeout: overtime`. It is then minus the time that was
        charged after the zero.
        """
        return budget.remaining_ms

    def charge_elapsed(self, budget: BudgetHolder, turn_used_ms: int, elapsed_ms: int) -> BudgetHolder:
        """Return the budget after the current turn has used `elapsed_ms` more.

        `turn_used_ms` is the time that the turn used before these `elapsed_ms`. The remaining time of the result can be
        below 0 only under `on_timeout: overtime`.
        """
        return Budget(budget.remaining_ms - elapsed_ms, budget.reading)

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        """Return the budget after a turn that ended before its flag fell. The turn used `turn_used_ms` in total.

        `budget` is the budget to which all time of the turn is already charged.
        """
        return budget

    def replenish_after_flag(self, budget: BudgetHolder) -> BudgetHolder:
        """Return the budget after a turn that ended at or after its zero.

        The budget stays unchanged. Only `per_move` returns a new budget for the next turn.
        """
        return budget

    def add_time(self, budget: BudgetHolder, delta_ms: int, may_fall_below_zero: bool = False) -> BudgetHolder:
        """Return the budget with `delta_ms` added, which can be negative.

        If `may_fall_below_zero` is False, a negative `delta_ms` cannot lower the remaining time below 0, and leaves a
        budget below 0 unchanged. Main time or a period that another period follows never falls below 0.
        """
        return Budget(add_to_remaining(budget.remaining_ms, delta_ms, may_fall_below_zero), budget.reading)


def add_to_remaining(remaining_ms: int, delta_ms: int, may_fall_below_zero: bool) -> int:
    """Return the remaining time in ms of a plain countdown after `delta_ms` are added. See `Countdown.add_time`."""
    left_ms = remaining_ms + delta_ms
    if may_fall_below_zero or left_ms >= 0:
        return left_ms
    return max(left_ms, min(remaining_ms, 0))
