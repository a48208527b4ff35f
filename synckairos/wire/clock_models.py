"""A clock system as a request names it: one member, the system's name, holding its settings."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from synckairos.clock.clock_systems import ClockSystem
from synckairos.wire.clock_json import parse_clock
from synckairos.wire.field_types import MAX_STAGES, BudgetMs, DurationMs, Omittable, StrictModel

MoveCount = Annotated[int, Field(ge=1, le=1_000, description="Turns")]


class NoSettings(StrictModel):
    """No settings."""


class FischerSettings(StrictModel):
    """Each finished turn adds `increment_ms`, never past `cap_ms`."""

    increment_ms: DurationMs
    cap_ms: Omittable[BudgetMs] = None


class DelaySettings(StrictModel):
    """`delay_ms` of each turn: given back (bronstein) or free (delay)."""

    delay_ms: DurationMs


class ByoyomiSettings(StrictModel):
    """Main time, then `periods` of `period_ms`."""

    periods: Annotated[int, Field(ge=1, le=100)]
    period_ms: BudgetMs


class CanadianSettings(StrictModel):
    """Main time, then `moves` turns in each `period_ms`."""

    moves: MoveCount
    period_ms: BudgetMs


class PerMoveSettings(StrictModel):
    """`move_ms` for every turn."""

    move_ms: BudgetMs


class StageSettings(StrictModel):
    """After `moves` turns `add_ms` is added; each turn adds `increment_ms`. The last stage may go without `moves`."""

    moves: Omittable[MoveCount] = None
    add_ms: DurationMs = 0
    increment_ms: DurationMs = 0


class Clock(StrictModel):
    """Exactly one clock system."""

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
        """Return the system as the clock knows it."""
        return parse_clock(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return the system as JSON values, what was left out left out."""
        return self.model_dump(exclude_none=True)
