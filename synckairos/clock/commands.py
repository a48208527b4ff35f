"""What can be asked of a session, as values. Shapes are checked by `wire`; whether they fit the state, by `engine`."""

from dataclasses import dataclass, field, replace
from typing import Any

from synckairos.clock.clock_systems import System
from synckairos.clock.model import OnTimeout, SyncMode


@dataclass(frozen=True, slots=True)
class NewParticipant:
    """A participant to be: `index` None takes the next place, `total_time_ms` None follows from the mode."""

    participant_id: str
    index: int | None = None
    total_time_ms: int | None = None
    display_name: str | None = None
    group_id: str | None = None
    clock: System | None = None


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group to be: `total_time_ms` None takes the members' sum."""

    group_id: str
    total_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Make a session, pending. What is None follows from the mode (`membership.create`)."""

    sync_mode: SyncMode
    participants: tuple[NewParticipant, ...] = ()
    groups: tuple[NewGroup, ...] = ()
    total_time_ms: int | None = None
    time_per_cycle_ms: int | None = None
    increment_ms: int | None = None
    max_time_ms: int | None = None
    max_cycles: int | None = None
    clock: System | None = None
    on_timeout: OnTimeout | None = None
    warnings_ms: tuple[int, ...] = ()
    extend_on_switch_ms: int | None = None
    pause_budget: int | None = None
    lag_compensation: bool = False
    active_participant_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Start:
    pass


@dataclass(frozen=True, slots=True)
class Switch:
    """End the turn. `current_participant_id` guards against a late press, `next_participant_id` overrides the order.

    `lag_ms` is how much of the turn the network took, as the client claims, and `measured_lag_ms` as the server
    measured it (None: it couldn't). Only sessions that compensate lag look at them.
    """

    next_participant_id: str | None = None
    current_participant_id: str | None = None
    lag_ms: int | None = None
    measured_lag_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PauseFor:
    """Stop the clock for a reason; `max_ms` (> 0) lifts it by itself. `by` is who asks, see `asked_by`."""

    reason: str = "manual"
    max_ms: int | None = None
    by: str = "anonymous"


@dataclass(frozen=True, slots=True)
class Resume:
    """Lift one reason, or all of them where `reason` is None."""

    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    pass


@dataclass(frozen=True, slots=True)
class Cancel:
    pass


@dataclass(frozen=True, slots=True)
class Adjust:
    """Add (or take, below 0) `delta_ms` for some participants, one group, or everyone where neither is named."""

    delta_ms: int
    participant_ids: tuple[str, ...] | None = None
    group_id: str | None = None


@dataclass(frozen=True, slots=True)
class AddParticipant:
    participant: NewParticipant


@dataclass(frozen=True, slots=True)
class RemoveParticipant:
    participant_id: str


@dataclass(frozen=True, slots=True)
class UpdateMetadata:
    """Merge `patch` into the metadata by RFC 7396: null removes, objects merge, all else replaces."""

    patch: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    pass


@dataclass(frozen=True, slots=True)
class Expire:
    """Commit what has fallen due and nothing else: the timekeeper's command, and a late reader's."""


Command = (
    Start
    | Switch
    | PauseFor
    | Resume
    | Complete
    | Cancel
    | Adjust
    | AddParticipant
    | RemoveParticipant
    | UpdateMetadata
    | Delete
    | Expire
)


def with_actor(command: Command, actor: str) -> Command:
    """Return a command with the name of who asks, where the session remembers it: who paused takes from a budget."""
    return replace(command, by=actor) if isinstance(command, PauseFor) else command


@dataclass(frozen=True, slots=True)
class Precondition:
    """What the caller believes: `version` alone (`expected_version`), or ETags' versions and epochs (`If-Match`).

    Of several `etags` one must be right; none means that any will do.
    """

    version: int | None = None
    etags: tuple[tuple[int, str], ...] = ()
