"""Pydantic models of clock systems in requests. Each is an object with one member, named after the clock system."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from synckairos.clock.clock_systems import ClockSystem
from synckairos.wire.clock_system_json import parse_clock_system
from synckairos.wire.field_types import MAX_STAGES, BudgetMs, DurationMs, Omittable, StrictModel

MoveCount = Annotated[int, Field(ge=1, le=1_000, description="Number of turns")]


class NoSettings(StrictModel):
    """The settings of a clock system without settings: an empty object."""


class FischerSettings(StrictModel):
    """Each turn that ends before its zero adds `increment_ms`, but does not raise the budget above `cap_ms`.

    A budget that is already above `cap_ms` stays unchanged.
    """

    increment_ms: DurationMs
    cap_ms: Omittable[BudgetMs] = None


class DelaySettings(StrictModel):
    """The time `delay_ms` of each turn.

    `bronstein` charges the turn, and then gives back the time that the turn used, but at most `delay_ms`. `delay` does
    not charge the first `delay_ms` of the turn.
    """

    delay_ms: DurationMs


class ByoyomiSettings(StrictModel):
    """Main time, then `periods` overtime periods of `period_ms` each.

    A period that runs out is lost. A turn that ends within a period makes that period full again. A turn that ends in
    main time adds `increment_ms`.
    """

    periods: Annotated[int, Field(ge=1, le=100)]
    period_ms: BudgetMs
    increment_ms: Omittable[DurationMs] = None


class CanadianSettings(StrictModel):
    """Main time, then overtime periods of `period_ms`. A full period begins again after each `moves` finished turns.

    If `moves_step` is given, each further period needs that many turns more, but at most `moves_max` turns.
    """

    moves: MoveCount
    period_ms: BudgetMs
    moves_step: Omittable[MoveCount] = None
    moves_max: Omittable[MoveCount] = None


class PerMoveSettings(StrictModel):
    """Each turn has a new budget of `move_ms`."""

    move_ms: BudgetMs


class StageSettings(StrictModel):
    """A stage: each turn adds `increment_ms`. After `moves` turns, `add_ms` is added once and the next stage begins.

    Each stage except the last stage needs `moves` or `at_zero`. The increment of the last stage continues for the rest
    of the session. With `at_zero`, the stage ends when its time runs out. With `delay_ms`, the first `delay_ms` of each
    turn are not charged. `delay_ms` excludes `increment_ms`.
    """

    moves: Omittable[MoveCount] = None
    add_ms: DurationMs = 0
    increment_ms: DurationMs = 0
    delay_ms: Omittable[DurationMs] = None
    at_zero: Omittable[bool] = None


class Clock(StrictModel):
    """Exactly one clock system with its settings."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    sudden_death: Omittable[NoSettings] = None
    fischer: Omittable[FischerSettings] = None
    bronstein: Omittable[DelaySettings] = None
    delay: Omittable[DelaySettings] = None
    byoyomi: Omittable[ByoyomiSettings] = None
    canadian: Omittable[CanadianSettings] = None
    per_move: Omittable[PerMoveSettings] = None
    hourglass: Omittable[NoSettings] = None
    stages: Omittable[Annotated[list[StageSettings], Field(min_length=1, max_length=MAX_STAGES)]] = None

    def to_system(self) -> ClockSystem:
        """Return the clock system as a value of `clock`."""
        return parse_clock_system(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return the clock system as JSON values, without the members that the request omitted."""
        return self.model_dump(exclude_none=True)
