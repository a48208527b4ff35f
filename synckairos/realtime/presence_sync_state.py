"""State machine of presence synchronisation: the known change messages and the known other instances. Pure.

Each instance writes its counts to the presence store, then publishes a change message. A counter in the store numbers
the messages of all instances. Messages can be lost, and the store can lose writes in a failover. The functions decide
when counts must be read again. They also decide when this instance must write its counts again under a new name.
"""

from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class SyncState:
    """Knowledge of this instance about the presence store."""

    registrations: int = 0
    """Names that this instance has had in the store. Under a new name the store has none of its counts."""

    living: frozenset[str] = frozenset()
    """Names of the living instances at the last heartbeat."""

    last_message: int | None = None
    """Number of the last change message received. None before the first one, and after the counter went back."""

    covered: int = 0
    """All messages up to this number were received, or all counts were marked to be read again after them."""

    counter: int = 0
    """The store's counter of messages at the last heartbeat."""

    suspects_loss: bool = False
    """Whether the store may have lost counts of this instance. The next heartbeat then registers a new name."""


class Reread(Enum):
    """Sessions whose counts must be read again."""

    NONE = "none"
    NAMED = "named"
    """The sessions that the message names."""
    ALL = "all"
    """All sessions watched here."""


@dataclass(frozen=True, slots=True)
class SyncStep:
    """A transition: the new state, and the work that it causes.

    `rewrites_all`: all counts of this instance must be written again. `dead` are instances that died since
    the last heartbeat: sessions with their counts must be read again.
    """

    state: SyncState
    reread: Reread = Reread.NONE
    rewrites_all: bool = False
    dead: frozenset[str] = frozenset()


def after_change_message(state: SyncState, number: int, *, is_own: bool) -> SyncStep:
    """Take a change message. `is_own`: this instance published it."""
    suspects_loss = state.suspects_loss
    if state.last_message is not None and number <= state.last_message:
        suspects_loss = True  # the counter went back: the store lost writes
    elif number <= state.covered:
        return SyncStep(replace(state, last_message=number))  # late; all counts were marked after it was published
    after = replace(state, last_message=number, covered=number, suspects_loss=suspects_loss)
    if number != state.covered + 1:
        return SyncStep(after, Reread.ALL)  # messages in between were lost
    return SyncStep(after, Reread.NONE if is_own else Reread.NAMED)


def finish_beat(
    state: SyncState, *, is_new_name: bool, counter: int, living: frozenset[str], covered_before: int
) -> SyncStep:
    """Take the reply to a heartbeat: whether it registered a new name, the counter, and the living instances.

    `covered_before` is `SyncState.covered` when the heartbeat was sent: messages may have been received since.
    """
    went_back = counter < max(covered_before, state.counter)  # after a failover, or after a loss of all data
    misses_messages = state.covered < state.counter or went_back
    return SyncStep(
        SyncState(
            registrations=state.registrations + is_new_name,
            living=living,
            last_message=None if went_back else state.last_message,
            covered=counter if misses_messages else state.covered,
            counter=counter,
            # A message received since the heartbeat was sent may have set it.
            suspects_loss=(went_back or state.suspects_loss) and not is_new_name,
        ),
        reread=Reread.ALL if misses_messages else Reread.NONE,
        rewrites_all=is_new_name,
        dead=state.living - living,
    )
