"""The ticking clock of one budget. It shares only the settings of the clock systems with `synckairos.clock`.

The clock advances by one tick of 0.1 s. It calculates no deadline and no reading.
"""

import copy
from dataclasses import dataclass
from typing import Any

from synckairos.clock.budget import BudgetHolder
from synckairos.clock.clock_systems import Bronstein, ClockSystem, Delay, Fischer, PerMove
from synckairos.clock.overtime_period_systems import Byoyomi, Canadian
from synckairos.clock.stages import Stages

TICK_MS = 100


@dataclass
class TickingClock:
    """One budget in ticks: the shown time `left`, and the other facts of its clock system.

    `free` is the free time that is left in the turn, and `turn` the time that the turn has used.
    """

    system: ClockSystem
    left: int
    in_main: bool = True
    periods: int = 0
    moves: int = 0
    period_moves: int = 0
    stage: int = 0
    free: int = 0
    turn: int = 0

    def __post_init__(self) -> None:
        match self.system:
            case Byoyomi():
                self.periods = self.system.periods
                if not self.left:
                    self.in_main, self.left = False, self.system.period_ms // TICK_MS
            case Canadian():
                self.moves = self.period_moves = self.system.moves
                if not self.left:
                    self.in_main, self.left = False, self.system.period_ms // TICK_MS
            case PerMove():
                self.left = self.system.move_ms // TICK_MS
            case Stages():
                self.moves = self.system.stages[0].moves or 0

    def __deepcopy__(self, memo: object) -> "TickingClock":
        return copy.copy(self)  # all values are immutable

    @property
    def has_following_time(self) -> bool:
        """Return whether the turn goes on after the end of this main time, period or stage."""
        match self.system:
            case Byoyomi():
                return self.in_main or self.periods > 1
            case Canadian():
                return self.in_main
            case Stages(stages=stages):
                return bool(stages[self.stage].at_zero) and self.stage + 1 < len(stages)
            case _:
                return False

    @property
    def has_run_out(self) -> bool:
        """Return whether no time is left. A clock with a debt has run out, even if its turn has free time."""
        return self.left < 0 or (self.left == 0 and not self.free and not self.has_following_time)

    def begin(self) -> None:
        """Begin a turn."""
        self.turn = self.free = 0
        match self.system:
            case Delay(delay_ms=delay_ms):
                self.free = delay_ms // TICK_MS
            case Stages(stages=stages):
                self.free = (stages[self.stage].delay_ms or 0) // TICK_MS

    def tick(self) -> None:
        """Let 0.1 s of the turn pass."""
        self._continue_after_zero()
        self.turn += 1
        if self.free:
            self.free -= 1
        else:
            self.left -= 1
        self._continue_after_zero()
        if isinstance(self.system, Byoyomi) and self.has_run_out:
            self.periods = 0

    def _continue_after_zero(self) -> None:
        """Begin the next period or stage if the time of the present one is used up."""
        while self.left <= 0 and not self.free and self.has_following_time:
            match self.system:
                case Byoyomi(period_ms=period_ms):
                    self.periods -= not self.in_main
                    self.in_main, self.left = False, period_ms // TICK_MS
                case Canadian(period_ms=period_ms):
                    self.in_main, self.left = False, period_ms // TICK_MS
                case Stages(stages=stages):
                    self.left = stages[self.stage].add_ms // TICK_MS
                    self.stage += 1
                    self.moves = stages[self.stage].moves or 0
                    self.free = max(0, (stages[self.stage].delay_ms or 0) // TICK_MS - self.turn)

    def ticks_to_zero(self) -> int:
        """Return after how many ticks the clock runs out. Below 0, minus the ticks since then."""
        if self.has_run_out:
            return self.left
        ahead, count = copy.copy(self), 0
        while not ahead.has_run_out:
            ahead.tick()
            count += 1
        return count

    def end(self, is_flagged: bool) -> None:
        """End the turn. If the clock ran out in this turn, the turn earns no time."""
        if is_flagged:
            if isinstance(self.system, PerMove):
                self.left = self.system.move_ms // TICK_MS
            return
        match self.system:
            case Fischer(increment_ms=increment_ms, cap_ms=None):
                self.left += increment_ms // TICK_MS
            case Fischer(increment_ms=increment_ms, cap_ms=int(cap_ms)):
                if self.left < cap_ms // TICK_MS:
                    self.left = min(self.left + increment_ms // TICK_MS, cap_ms // TICK_MS)
            case Bronstein(delay_ms=delay_ms):
                self.left += min(self.turn, delay_ms // TICK_MS)
            case Byoyomi(period_ms=period_ms) if not self.in_main:
                self.left = period_ms // TICK_MS
            case Byoyomi(increment_ms=int(increment_ms)):
                self.left += increment_ms // TICK_MS
            case Canadian(period_ms=period_ms, moves_step=step, moves_max=most) if not self.in_main:
                self.moves -= 1
                if not self.moves:
                    self.period_moves = min(self.period_moves + (step or 0), most or self.period_moves)
                    self.moves, self.left = self.period_moves, period_ms // TICK_MS
            case PerMove(move_ms=move_ms):
                self.left = move_ms // TICK_MS
            case Stages(stages=stages):
                self.left += stages[self.stage].increment_ms // TICK_MS
                if self.moves:
                    self.moves -= 1
                    if not self.moves:
                        self.left += stages[self.stage].add_ms // TICK_MS
                        if self.stage + 1 < len(stages):
                            self.stage += 1
                            self.moves = stages[self.stage].moves or 0

    def add(self, ticks: int, is_overtime: bool) -> None:
        """Add time, or take time away. Only the last time of a clock in overtime falls below zero."""
        may_fall_below_zero = is_overtime and not self.has_following_time
        self.left = add_ticks(self.left, ticks, may_fall_below_zero)
        if isinstance(self.system, Byoyomi):
            if self.left > 0 and not self.in_main and not self.periods:
                self.periods = 1
            elif self.left <= 0 and may_fall_below_zero:
                self.periods = 0

    @property
    def face(self) -> tuple[Any, ...]:
        """Return the shown values."""
        match self.system:
            case Byoyomi():
                return self.left, "main" if self.in_main else "overtime", self.periods
            case Canadian():
                return self.left, "main" if self.in_main else "overtime", self.moves
            case Stages():
                return self.left, self.stage, self.moves
            case _:
                return (self.left,)


def add_ticks(left: int, ticks: int, may_fall_below_zero: bool) -> int:
    """Return the time that is left after `ticks` are added. It falls to below zero only if it may."""
    if may_fall_below_zero or left + ticks >= 0:
        return left + ticks
    if left >= 0:
        return 0
    return max(left, left + ticks)


def shown(budget: BudgetHolder, system: ClockSystem) -> tuple[Any, ...]:
    """Return the engine's reading of a budget in the form of `TickingClock.face`."""
    left = in_ticks(budget.remaining_ms)
    reading = budget.reading
    match system:
        case Byoyomi():
            assert reading is not None
            return left, reading.phase, reading.periods_left
        case Canadian():
            assert reading is not None
            return left, reading.phase, reading.moves_left
        case Stages():
            assert reading is not None
            return left, reading.stage, reading.moves_left or 0
        case _:
            return (left,)


def in_ticks(time_ms: int) -> int:
    """Return a time of the engine in ticks. It is a whole number of ticks."""
    return whole_ticks(time_ms, TICK_MS)


def whole_ticks(time_ms: int, tick_ms: int) -> int:
    """Return a time in ticks of `tick_ms` milliseconds. It is a whole number of ticks."""
    ticks, odd = divmod(time_ms, tick_ms)
    assert odd == 0
    return ticks
