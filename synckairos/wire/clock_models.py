"""A clock system as a request names it: one member, the system's name, holding its settings."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from synckairos.clock.clock_systems import ClockSystem
from synckairos.wire.clock_json import parse_clock
from synckairos.wire.field_types import MAX_STAGES, Budget, Maybe, Span, Strict

Moves = Annotated[int, Field(ge=1, le=1_000, description="Turns")]


class NoSettings(Strict):
    """No settings."""


class FischerSettings(Strict):
    """Each finished turn adds `increment_ms`, never past `cap_ms`."""

    increment_ms: Span
    cap_ms: Maybe[Budget] = None


class DelaySettings(Strict):
    """`delay_ms` of each turn: given back (bronstein) or free (delay)."""

    delay_ms: Span


class ByoyomiSettings(Strict):
    """Main time, then `periods` of `period_ms`."""

    periods: Annotated[int, Field(ge=1, le=100)]
    period_ms: Budget


class CanadianSettings(Strict):
    """Main time, then `moves` turns in each `period_ms`."""

    moves: Moves
    period_ms: Budget


class PerMoveSettings(Strict):
    """`move_ms` for every turn."""

    move_ms: Budget


class StageSettings(Strict):
    """After `moves` turns `add_ms` is added; each turn adds `increment_ms`. The last stage may go without `moves`."""

    moves: Maybe[Moves] = None
    add_ms: Span = 0
    increment_ms: Span = 0


class Clock(Strict):
    """Exactly one clock system."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    sudden_death: Maybe[NoSettings] = None
    fischer: Maybe[FischerSettings] = None
    bronstein: Maybe[DelaySettings] = None
    delay: Maybe[DelaySettings] = None
    byoyomi: Maybe[ByoyomiSettings] = None
    canadian: Maybe[CanadianSettings] = None
    per_move: Maybe[PerMoveSettings] = None
    hourglass: Maybe[NoSettings] = None
    stages: Maybe[Annotated[list[StageSettings], Field(min_length=1, max_length=MAX_STAGES)]] = None

    def system(self) -> ClockSystem:
        """Return the system as the clock knows it."""
        return parse_clock(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return the system as JSON values, what was left out left out."""
        return self.model_dump(exclude_none=True)
