"""Pydantic models of clock systems in requests: an object with one member, whose name is the system."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from synckairos.clock.clock_systems import ClockSystem
from synckairos.wire.clock_system_json import parse_clock_system
from synckairos.wire.field_types import MAX_STAGES, BudgetMs, DurationMs, Omittable, StrictModel

MoveCount = Annotated[int, Field(ge=1, le=1_000, description="Number of turns")]


class NoSettings(StrictModel):
    """This clock system has no settings."""


class FischerSettings(StrictModel):
    """Each finished turn adds `increment_ms`. The increment does not raise the budget above `cap_ms`."""

    increment_ms: DurationMs
    cap_ms: Omittable[BudgetMs] = None


class DelaySettings(StrictModel):
    """The first `delay_ms` of each turn are given back at its end (bronstein) or are free (delay)."""

    delay_ms: DurationMs


class ByoyomiSettings(StrictModel):
    """Main time, then `periods` overtime periods of `period_ms` each."""

    periods: Annotated[int, Field(ge=1, le=100)]
    period_ms: BudgetMs


class CanadianSettings(StrictModel):
    """Main time, then `moves` turns in each period of `period_ms`."""

    moves: MoveCount
    period_ms: BudgetMs


class PerMoveSettings(StrictModel):
    """Each turn has `move_ms`."""

    move_ms: BudgetMs


class StageSettings(StrictModel):
    """A stage: each turn adds `increment_ms`, and after `moves` turns `add_ms` is added.

    All stages but the last need `moves`.
    """

    moves: Omittable[MoveCount] = None
    add_ms: DurationMs = 0
    increment_ms: DurationMs = 0


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
        """Return the clock's value for this model."""
        return parse_clock_system(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return the system as JSON values, without the members that the request omitted."""
        return self.model_dump(exclude_none=True)
