"""The facts of a ticking session, as plain values."""

from dataclasses import dataclass

from synckairos.clock.clock_systems import ClockSystem
from synckairos.clock.plan_item import ItemStatus
from tests.unit.clock.oracle.ticking_clock import TickingClock


class RefusedError(Exception):
    """The rules do not allow a command."""


def refuse_if(condition: bool) -> None:
    """Refuse the command if the condition holds."""
    if condition:
        raise RefusedError


@dataclass
class Seat:
    """A participant. `clock` is its clock in `per_participant`, None in other modes.

    `own` is the clock system that only this participant has, None if it has that of the session.
    """

    name: str
    team: str | None
    clock: TickingClock | None
    own: ClockSystem | None = None
    used: int = 0
    turns: int = 0
    is_out: bool = False
    done_in: int | None = None


@dataclass
class Team:
    """A group. `clock` is its clock in `per_group`, None in other modes."""

    name: str
    clock: TickingClock | None
    used: int = 0
    is_out: bool = False


@dataclass
class Item:
    """An item of a plan. `warnings` are its thresholds in ticks, None for those of the session."""

    name: str
    ticks: int
    owner: str | None
    warnings: list[int] | None
    status: ItemStatus = ItemStatus.PENDING
    used: int = 0


@dataclass
class PauseReason:
    """A reason of a pause, which time lifts at the tick `until`, None if only a command lifts it."""

    name: str
    until: int | None = None


@dataclass
class Facts:
    """The facts that an undo restores."""

    seats: list[Seat]
    teams: list[Team]
    budget: TickingClock | None
    plan: list[Item]
    active: str | None
    item: str | None
    used: int
    ended_turns: int
    extensions: tuple[int, int]


@dataclass
class BegunTurn:
    """A turn that began: the facts at its beginning, and the ticks for which it has run."""

    facts: Facts
    ran: int = 0


@dataclass
class EndedIn:
    """The turn in which the session ended."""

    active: str | None
    turn_used: int
    ended_turns: int
    was_held: bool
    next_item: str | None
    counted: bool
    by_time: bool
