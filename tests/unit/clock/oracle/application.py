"""What both kinds of ticking sessions do: they apply a command completely or not at all, and move start and end."""

import copy
from collections.abc import Callable
from typing import ClassVar, Protocol, TypeVar

from synckairos.clock.commands import Command, UpdateSession
from synckairos.clock.model import Status
from tests.unit.clock.oracle.facts import RefusedError, refuse_if
from tests.unit.clock.oracle.ticking_clock import whole_ticks
from tests.unit.clock.script import T0


class Ticking(Protocol):
    """A ticking session. Its attribute `spec` never changes. Times are in ticks of `tick_ms` since the creation."""

    tick_ms: ClassVar[int]
    now: int
    starts: int | None
    ends: int | None
    status: Status

    def apply_due(self) -> None:
        """Apply everything that is due."""


Session = TypeVar("Session", bound=Ticking)


def apply_or_restore(session: Session, command: Command, change: Callable[[Session, Command], bool]) -> bool:
    """Apply a command by `change`, and everything that it makes due. Return whether it changed the session.

    If `change` returns False or raises RefusedError, the session is as before.
    """
    before = copy.deepcopy({name: value for name, value in session.__dict__.items() if name != "spec"})
    try:
        changed = change(session, command)
    except RefusedError:
        changed = False
    if not changed:
        session.__dict__.update(before)
        return False
    session.apply_due()
    return True


def move_start_and_end(session: Ticking, command: UpdateSession) -> bool:
    """Move the start and the end of a session. Return whether one of them changed."""
    changes_start = command.removes_start or command.starts_at_ms is not None
    refuse_if(command.ends_at_ms is not None and (session.ends is None or session.status.is_final))
    refuse_if(changes_start and session.status is not Status.PENDING)
    starts, ends = session.starts, session.ends
    if changes_start:
        starts = None if command.starts_at_ms is None else whole_ticks(command.starts_at_ms - T0, session.tick_ms)
    if command.ends_at_ms is not None:
        ends = whole_ticks(command.ends_at_ms - T0, session.tick_ms)
    if (starts, ends) == (session.starts, session.ends):
        return False
    if session.status is Status.PENDING:
        refuse_if(starts is not None and starts < session.now)
        refuse_if(ends is not None and starts is not None and ends <= starts)
    refuse_if(ends is not None and ends <= session.now)
    session.starts, session.ends = starts, ends
    return True
