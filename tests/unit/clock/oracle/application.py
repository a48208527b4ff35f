"""Application of a command to a ticking session: completely, or not at all."""

import copy
from collections.abc import Callable
from typing import Protocol, TypeVar

from synckairos.clock.commands import Command
from tests.unit.clock.oracle.facts import RefusedError


class Ticking(Protocol):
    """A ticking session. Its attribute `spec` never changes."""

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
