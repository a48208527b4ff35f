"""Commands to a session as frozen values. `wire` checks their shapes; `engine` checks them against the state."""

from typing import Any

from msgspec import Struct, field

from synckairos.clock.clock_systems import ClockSystem
from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.frozen_replace import replace


class NewParticipant(Struct, frozen=True):
    """A participant that is to be added.

    If `index` is None, the participant gets the next index. If `total_time_ms` is None, the mode implies the budget.
    `counts_byoyomi` is the rule of the lag account (`open_lag_account`). It is False only in a replay of old rows.
    """

    participant_id: str
    index: int | None = None
    total_time_ms: int | None = None
    display_name: str | None = None
    group_id: str | None = None
    clock: ClockSystem | None = None
    counts_byoyomi: bool = True


class NewGroup(Struct, frozen=True):
    """A group that is to be created. If `total_time_ms` is None, its budget is the sum of its members' budgets."""

    group_id: str
    total_time_ms: int | None = None


class Create(Struct, frozen=True):
    """Create a pending session. The mode implies all values that are None (`creation.create`)."""

    sync_mode: SyncMode
    participants: tuple[NewParticipant, ...] = ()
    groups: tuple[NewGroup, ...] = ()
    total_time_ms: int | None = None
    time_per_cycle_ms: int | None = None
    increment_ms: int | None = None
    max_time_ms: int | None = None
    max_cycles: int | None = None
    clock: ClockSystem | None = None
    on_timeout: OnTimeout | None = None
    warnings_ms: tuple[int, ...] = ()
    extend_on_switch_ms: int | None = None
    pause_budget: int | None = None
    lag_compensation: bool = False
    active_participant_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class Start(Struct, frozen=True):
    """Start a pending session and its first turn."""


class Switch(Struct, frozen=True):
    """End the turn and begin the next turn, as the press of a chess clock does.

    With `current_participant_id` the switch is refused if another participant has the turn: this guards against a late
    press. `next_participant_id` overrides the order of the rotation. `lag_ms` is the network's part of the turn as the
    client claims it. `measured_lag_ms` is that part as the server measured it, None without a measurement. Only
    sessions that compensate lag use these two.
    """

    next_participant_id: str | None = None
    current_participant_id: str | None = None
    lag_ms: int | None = None
    measured_lag_ms: int | None = None


class Pause(Struct, frozen=True):
    """Pause the session for a reason. If `max_ms` (> 0) is given, the reason ends by itself after that time.

    `actor` is the actor of the command, see `with_actor`.
    """

    reason: str = "manual"
    max_ms: int | None = None
    actor: str = "anonymous"


class Resume(Struct, frozen=True):
    """End one pause reason, or all of them if `reason` is None."""

    reason: str | None = None


class Complete(Struct, frozen=True):
    """End the session as completed."""


class Cancel(Struct, frozen=True):
    """End the session as cancelled."""


class Adjust(Struct, frozen=True):
    """Add `delta_ms` to budgets, or subtract it if it is negative.

    The command names some participants or one group. If it names neither, all budgets change.
    """

    delta_ms: int
    participant_ids: tuple[str, ...] | None = None
    group_id: str | None = None


class AddParticipant(Struct, frozen=True):
    """Add a participant to a session that is not final."""

    participant: NewParticipant


class RemoveParticipant(Struct, frozen=True):
    """Remove a participant from a session that is not final."""

    participant_id: str


class UpdateMetadata(Struct, frozen=True):
    """Merge `patch` into the metadata by RFC 7396: null removes a member, objects merge, other values replace."""

    patch: dict[str, Any]


class Delete(Struct, frozen=True):
    """Delete the session: make its last version, a tombstone."""


class Expire(Struct, frozen=True):
    """Commit the overdue transitions and do nothing else. The timekeeper sends it; a read after a deadline does too."""


Command = (
    Start
    | Switch
    | Pause
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
    """Return the command with its actor, if the session keeps that. It does for pauses, which have a budget."""
    return replace(command, actor=actor) if isinstance(command, Pause) else command


class Precondition(Struct, frozen=True):
    """The version that the caller expects: `version` alone (`expected_version`), or `etags` (`If-Match`).

    An ETag is a version and an epoch. At least one of `etags` must match; an empty tuple sets no condition.
    """

    version: int | None = None
    etags: tuple[tuple[int, str], ...] = ()
