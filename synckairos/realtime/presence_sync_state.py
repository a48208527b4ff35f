"""State machine of presence synchronisation between instances. Pure functions without I/O.

Each instance writes its watcher counts to the presence store, then publishes a change message. A counter in the store
numbers the change messages of all instances. Messages can be lost, and the store can lose writes in a failover. The
functions decide when an instance must read counts again. They also decide when an instance must write its own counts
again under a new name.
"""

from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class PresenceSyncState:
    """State of the presence store, as far as this instance has received it."""

    registrations: int = 0
    """Number of names that this instance has registered in the store. The store has no counts for a new name."""

    living: frozenset[str] = frozenset()
    """Names of the living instances at the latest heartbeat of this instance."""

    last_message: int | None = None
    """Number of the latest received change message. None before the first message and after the counter went back."""

    covered: int = 0
    """Highest number without lost messages: each message up to this number was received or replaced by a reread."""

    counter: int = 0
    """The store's counter of change messages at the latest heartbeat of this instance."""

    suspects_loss: bool = False
    """Whether the store may have lost counts of this instance. If so, the next heartbeat registers a new name."""


class RereadScope(Enum):
    """Which sessions' counts must be read again."""

    NONE = "none"
    NAMED = "named"
    """The sessions that the change message names."""
    ALL = "all"
    """All sessions with watchers on this instance."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """Result of a message or heartbeat: the new synchronisation state, and the work that the instance must do.

    - `reread`: the sessions whose counts must be read again.
    - `rewrites_all`: whether all counts of this instance must be written again.
    - `dead`: names of the instances that were living at the previous heartbeat and are not living at this heartbeat.
      Sessions with counts of these instances must be read again.
    """

    state: PresenceSyncState
    reread: RereadScope = RereadScope.NONE
    rewrites_all: bool = False
    dead: frozenset[str] = frozenset()


def apply_change_message(state: PresenceSyncState, number: int, *, is_own: bool) -> SyncResult:
    """Return the new synchronisation state and the work after a received change message.

    `number` is the message's number. `is_own` is True if this instance published the message.
    """
    suspects_loss = state.suspects_loss
    if state.last_message is not None and number <= state.last_message:
        suspects_loss = True  # the counter went back: the store lost writes
    elif number <= state.covered:
        return SyncResult(replace(state, last_message=number))  # a late message, already covered by a reread of all
    after = replace(state, last_message=number, covered=number, suspects_loss=suspects_loss)
    if number != state.covered + 1:
        return SyncResult(after, RereadScope.ALL)  # messages in between were lost
    return SyncResult(after, RereadScope.NONE if is_own else RereadScope.NAMED)


def apply_heartbeat_reply(
    state: PresenceSyncState, *, is_new_name: bool, counter: int, living: frozenset[str], covered_before: int
) -> SyncResult:
    """Return the new synchronisation state and the work after the store's reply to a heartbeat.

    - `is_new_name`: whether the heartbeat registered a new name for this instance.
    - `counter`: the store's counter of change messages.
    - `living`: names of the living instances.
    - `covered_before`: `PresenceSyncState.covered` at the moment when the heartbeat was sent. `state.covered` can be
      higher, because messages can arrive during the heartbeat.
    """
    went_back = counter < max(covered_before, state.counter)  # after a failover, or after a loss of all data
    misses_messages = state.covered < state.counter or went_back
    return SyncResult(
        PresenceSyncState(
            registrations=state.registrations + is_new_name,
            living=living,
            last_message=None if went_back else state.last_message,
            covered=counter if misses_messages else state.covered,
            counter=counter,
            # A message that arrived during the heartbeat can have set this flag.
            suspects_loss=(went_back or state.suspects_loss) and not is_new_name,
        ),
        reread=RereadScope.ALL if misses_messages else RereadScope.NONE,
        rewrites_all=is_new_name,
        dead=state.living - living,
    )
