"""Clock systems: how time is taken from a budget, and what a finished turn gives back.

Each system is data with four laws over a `Purse`, all closed-form: what a budget opens with, how long until its flag
falls, what is left after some time, and what the end of a turn does. Only a turn that didn't flag is finished, so no
increment is ever given once flagged. Rules after the FIDE Laws of Chess (guidelines III), the US Chess Federation's
rulebook (5F, delay), OGS's documentation (byo-yomi, canadian) and lichess' scalachess (stages by move count).
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

Phase = Literal["main", "overtime"]


@dataclass(frozen=True, slots=True)
class Reading:
    """Facts a clock needs beyond its remaining time. Which of them are set depends on the system.

    phase: main time or overtime (byo-yomi, canadian). periods_left: periods not yet lost, the running one included.
    moves_left: turns until the period refills (canadian) or the stage ends (stages). stage: its place, from 0.
    """

    phase: Phase | None = None
    periods_left: int | None = None
    moves_left: int | None = None
    stage: int | None = None


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget as of the anchor: `remaining_ms` as a clock face shows it, and the facts beyond it."""

    remaining_ms: int
    reading: Reading | None = None


class _Plain:
    """The laws of a budget that just runs down: what the other systems differ from."""

    __slots__ = ()

    def open(self, budget_ms: int) -> Purse:
        """Return the purse that a budget of `budget_ms` starts with."""
        return Purse(budget_ms)

    def to_zero_ms(self, purse: Purse, turn_used_ms: int) -> int:
        """Return how many ms of running time remain until the flag falls, `turn_used_ms` into the turn."""
        return purse.remaining_ms

    def spend(self, purse: Purse, turn_used_ms: int, elapsed_ms: int) -> Purse:
        """Return the purse after `elapsed_ms` more of the turn; below zero only where overtime is allowed."""
        return replace(purse, remaining_ms=purse.remaining_ms - elapsed_ms)

    def finish(self, purse: Purse, turn_used_ms: int) -> Purse:
        """Return the purse after a turn of `turn_used_ms` in all that ended before its flag fell."""
        return purse

    def lapse(self, purse: Purse) -> Purse:
        """Return the purse after a turn that ended past its zero: nothing is given back."""
        return purse


@dataclass(frozen=True, slots=True)
class SuddenDeath(_Plain):
    """One budget, nothing given back."""

    name: ClassVar[str] = "sudden_death"


@dataclass(frozen=True, slots=True)
class Fischer(_Plain):
    """Each finished turn adds `increment_ms`, never past `cap_ms` where one is given."""

    name: ClassVar[str] = "fischer"
    increment_ms: int
    cap_ms: int | None = None

    def finish(self, purse: Purse, turn_used_ms: int) -> Purse:
        raised = purse.remaining_ms + self.increment_ms
        if self.cap_ms is not None:
            raised = max(purse.remaining_ms, min(raised, self.cap_ms))
        return replace(purse, remaining_ms=raised)


@dataclass(frozen=True, slots=True)
class Bronstein(_Plain):
    """Each finished turn gives back what it used, at most `delay_ms`: never a gain."""

    name: ClassVar[str] = "bronstein"
    delay_ms: int

    def finish(self, purse: Purse, turn_used_ms: int) -> Purse:
        return replace(purse, remaining_ms=purse.remaining_ms + min(turn_used_ms, self.delay_ms))


@dataclass(frozen=True, slots=True)
class Delay(_Plain):
    """US delay: the first `delay_ms` of each turn are free, so the flag falls that much later than with bronstein."""

    name: ClassVar[str] = "delay"
    delay_ms: int

    def free_left_ms(self, turn_used_ms: int) -> int:
        """Return what is left of this turn's free time."""
        return max(0, self.delay_ms - turn_used_ms)

    def to_zero_ms(self, purse: Purse, turn_used_ms: int) -> int:
        return self.free_left_ms(turn_used_ms) + purse.remaining_ms

    def spend(self, purse: Purse, turn_used_ms: int, elapsed_ms: int) -> Purse:
        charged = max(0, elapsed_ms - self.free_left_ms(turn_used_ms))
        return replace(purse, remaining_ms=purse.remaining_ms - charged)


@dataclass(frozen=True, slots=True)
class Byoyomi(_Plain):
    """Main time, then `periods` of `period_ms`: one is lost when it runs out, and whole again after a turn in it."""

    name: ClassVar[str] = "byoyomi"
    periods: int
    period_ms: int

    def open(self, budget_ms: int) -> Purse:
        if budget_ms == 0:
            return Purse(self.period_ms, Reading(phase="overtime", periods_left=self.periods))
        return Purse(budget_ms, Reading(phase="main", periods_left=self.periods))

    def to_zero_ms(self, purse: Purse, turn_used_ms: int) -> int:
        phase, left = self._facts(purse)
        whole = left if phase == "main" else max(0, left - 1)
        return purse.remaining_ms + whole * self.period_ms

    def spend(self, purse: Purse, turn_used_ms: int, elapsed_ms: int) -> Purse:
        phase, left = self._facts(purse)
        if phase == "main" and elapsed_ms < purse.remaining_ms:
            return replace(purse, remaining_ms=purse.remaining_ms - elapsed_ms)
        rest_ms = self.to_zero_ms(purse, turn_used_ms) - elapsed_ms
        if rest_ms <= 0:
            return Purse(rest_ms, Reading(phase="overtime", periods_left=0))
        left = min(left, -(-rest_ms // self.period_ms))
        return Purse(rest_ms - (left - 1) * self.period_ms, Reading(phase="overtime", periods_left=left))

    def finish(self, purse: Purse, turn_used_ms: int) -> Purse:
        phase, left = self._facts(purse)
        return replace(purse, remaining_ms=self.period_ms) if phase == "overtime" and left else purse

    def _facts(self, purse: Purse) -> tuple[Phase, int]:
        reading = purse.reading or Reading()
        return reading.phase or "main", reading.periods_left or 0


@dataclass(frozen=True, slots=True)
class Canadian(_Plain):
    """Main time, then `moves` turns in each `period_ms`; only a finished turn counts, never a pause."""

    name: ClassVar[str] = "canadian"
    moves: int
    period_ms: int

    def open(self, budget_ms: int) -> Purse:
        if budget_ms == 0:
            return Purse(self.period_ms, Reading(phase="overtime", moves_left=self.moves))
        return Purse(budget_ms, Reading(phase="main", moves_left=self.moves))

    def to_zero_ms(self, purse: Purse, turn_used_ms: int) -> int:
        return purse.remaining_ms + (self.period_ms if self._in_main(purse) else 0)

    def spend(self, purse: Purse, turn_used_ms: int, elapsed_ms: int) -> Purse:
        if self._in_main(purse) and elapsed_ms >= purse.remaining_ms:
            over_ms = elapsed_ms - purse.remaining_ms
            return Purse(self.period_ms - over_ms, Reading(phase="overtime", moves_left=self.moves))
        return replace(purse, remaining_ms=purse.remaining_ms - elapsed_ms)

    def finish(self, purse: Purse, turn_used_ms: int) -> Purse:
        if self._in_main(purse) or purse.reading is None:
            return purse
        left = (purse.reading.moves_left or self.moves) - 1
        if left > 0:
            return replace(purse, reading=replace(purse.reading, moves_left=left))
        return Purse(self.period_ms, replace(purse.reading, moves_left=self.moves))

    def _in_main(self, purse: Purse) -> bool:
        return purse.reading is not None and purse.reading.phase == "main"


@dataclass(frozen=True, slots=True)
class PerMove(_Plain):
    """`move_ms` for every turn; what a turn has left survives a pause and ends with the turn."""

    name: ClassVar[str] = "per_move"
    move_ms: int

    def open(self, budget_ms: int) -> Purse:
        return Purse(self.move_ms)

    def finish(self, purse: Purse, turn_used_ms: int) -> Purse:
        return replace(purse, remaining_ms=self.move_ms)

    def lapse(self, purse: Purse) -> Purse:
        return replace(purse, remaining_ms=self.move_ms)


@dataclass(frozen=True, slots=True)
class Hourglass(_Plain):
    """What one uses the other gains: two participants, and their sum never changes."""

    name: ClassVar[str] = "hourglass"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a game: after `moves` turns in it `add_ms` is added; each turn in it adds `increment_ms`."""

    moves: int | None = None
    add_ms: int = 0
    increment_ms: int = 0


@dataclass(frozen=True, slots=True)
class Stages(_Plain):
    """Several time controls in a row; the last stage lasts for the rest where its `moves` is None."""

    name: ClassVar[str] = "stages"
    stages: tuple[Stage, ...]

    def open(self, budget_ms: int) -> Purse:
        return Purse(budget_ms, Reading(stage=0, moves_left=self.stages[0].moves))

    def finish(self, purse: Purse, turn_used_ms: int) -> Purse:
        reading = purse.reading or Reading(stage=0, moves_left=self.stages[0].moves)
        place = reading.stage or 0
        stage = self.stages[place]
        raised_ms = purse.remaining_ms + stage.increment_ms
        if reading.moves_left is None:
            return Purse(raised_ms, reading)
        if reading.moves_left > 1:
            return Purse(raised_ms, replace(reading, moves_left=reading.moves_left - 1))
        if place + 1 == len(self.stages):
            return Purse(raised_ms + stage.add_ms, replace(reading, moves_left=None))
        after = self.stages[place + 1]
        return Purse(raised_ms + stage.add_ms, Reading(stage=place + 1, moves_left=after.moves))


System = SuddenDeath | Fischer | Bronstein | Delay | Byoyomi | Canadian | PerMove | Hourglass | Stages

SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (SuddenDeath, Fischer, Bronstein, Delay, Byoyomi, Canadian, PerMove, Hourglass, Stages)
}
"""Every clock system by the name it has on the wire."""
