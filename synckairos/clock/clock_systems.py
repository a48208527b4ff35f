"""Clock systems: rules for how elapsed time is charged to a budget, and how much time a finished turn adds.

Each clock system is a frozen value with six pure operations, all in closed form: make an initial budget, return the
time to zero of a budget, charge elapsed time, finish a turn, finish a flagged turn, and add time. A flagged turn adds
no time to the budget. Only in `per_move` it is followed by a new budget. `docs/reference/clock-systems.md` has the
formula, an example and the source of each clock system: FIDE, US Chess, online-go.com, lichess' scalachess.
"""

from typing import ClassVar, Literal, Protocol

from msgspec import Struct

from synckairos.frozen_replace import replace

Phase = Literal["main", "overtime"]
"""Phase of a budget: main time, or the overtime periods after main time (byo-yomi, canadian)."""


class ClockReadingDetails(Struct, frozen=True):
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


class Budget(Struct, frozen=True):
    """A budget that is not part of a participant or a group."""

    remaining_ms: int
    reading: ClockReadingDetails | None = None


class _Countdown:
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
        left_ms = budget.remaining_ms + delta_ms
        if not may_fall_below_zero:
            left_ms = max(left_ms, min(budget.remaining_ms, 0))
        return Budget(left_ms, budget.reading)


class SuddenDeath(_Countdown, Struct, frozen=True):
    """One budget for all turns of its owner. The end of a turn adds no time."""

    name: ClassVar[str] = "sudden_death"


class Fischer(_Countdown, Struct, frozen=True):
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


class Bronstein(_Countdown, Struct, frozen=True):
    """Each turn that ends before its zero gives back the time that it used, but at most `delay_ms`.

    So a turn cannot increase the budget.
    """

    name: ClassVar[str] = "bronstein"
    delay_ms: int

    def replenish_after_turn(self, budget: BudgetHolder, turn_used_ms: int) -> BudgetHolder:
        return Budget(budget.remaining_ms + min(turn_used_ms, self.delay_ms))


class Delay(_Countdown, Struct, frozen=True):
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


class Byoyomi(_Countdown, Struct, frozen=True):
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
        adjusted = _Countdown.add_time(self, budget, delta_ms, may_fall_below_zero)
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


class Canadian(_Countdown, Struct, frozen=True):
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
        return _Countdown.add_time(self, budget, delta_ms, may_fall_below_zero and not _is_main_time(budget))

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


class PerMove(_Countdown, Struct, frozen=True):
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


class Hourglass(_Countdown, Struct, frozen=True):
    """Two participants: each millisecond that one participant uses is added to the budget of the other participant.

    `timing.charge_session_until` adds this time. So a turn does not change the sum of the two budgets.
    """

    name: ClassVar[str] = "hourglass"


class Stage(Struct, frozen=True):
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


class Stages(_Countdown, Struct, frozen=True):
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
            return budget.remaining_ms  # as in `Delay`
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
        return _Countdown.add_time(self, budget, delta_ms, may_fall_below_zero and not has_following_time)

    def _ends_at_zero(self, number: int) -> bool:
        return bool(self.stages[number].at_zero) and number + 1 < len(self.stages)


def _stage_of(budget: BudgetHolder) -> int:
    assert budget.reading is not None
    assert budget.reading.stage is not None
    return budget.reading.stage


def _free_ms(stage: Stage, turn_used_ms: int) -> int:
    return max(0, (stage.delay_ms or 0) - turn_used_ms)


ClockSystem = SuddenDeath | Fischer | Bronstein | Delay | Byoyomi | Canadian | PerMove | Hourglass | Stages

CLOCK_SYSTEMS: dict[str, type[ClockSystem]] = {
    system.name: system
    for system in (SuddenDeath, Fischer, Bronstein, Delay, Byoyomi, Canadian, PerMove, Hourglass, Stages)
}
"""Clock system classes by their names in JSON."""
