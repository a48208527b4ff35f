"""The rules: `apply` turns a state, a command and an instant into transitions.

What is overdue comes first (`chain.py`), each link effective at its own deadline, then the command. Pure: no I/O, no
clock read, no ids made.
"""

import json
from dataclasses import dataclass

from synckairos.clock import join_leave, pauses, turns
from synckairos.clock.adjust import adjust
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Delete,
    Expire,
    Pause,
    Precondition,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.merge_patch import is_same_json, merge_patch
from synckairos.clock.model import EventType, Session, Status, Transition
from synckairos.clock.overdue import overdue_transitions, state_before_first_timeout
from synckairos.clock.status_table import STATUS_TABLE
from synckairos.clock.timing import charge_until
from synckairos.clock.transitions import close_session, make_session_event, make_transition
from synckairos.errors import (
    InvalidTransition,
    PreconditionFailed,
    SessionNotFound,
    SyncKairosError,
    ValidationFailed,
    VersionConflict,
)
from synckairos.fast_dataclass import fast_dataclass, replace

MAX_METADATA_BYTES = 32 * 1024

REFUSED_VERBS: dict[type[Command], str] = {
    Start: "started",
    Pause: "paused",
    Resume: "resumed",
    Complete: "completed",
    Cancel: "cancelled",
    Adjust: "adjusted",
    AddParticipant: "joined",
    RemoveParticipant: "left",
}
"""What can't be done with a session in some statuses, in v2's words."""


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a command: what fell due before it, what it brings about itself, what that makes due at once.

    `refusal` says why the command was refused, where it was; the links stand all the same. `expired_participant_id` is
    whose time ran out where a switch was consumed by that. `more` says that the chain of overdue links is longer than
    one decision carries: commit these and decide again.
    """

    overdue: tuple[Transition, ...] = ()
    own: tuple[Transition, ...] = ()
    follow_up: tuple[Transition, ...] = ()
    refusal: SyncKairosError | None = None
    expired_participant_id: str | None = None
    has_more_overdue: bool = False

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """All of them in the order in which they take effect."""
        return (*self.overdue, *self.own, *self.follow_up)


def apply(state: Session, command: Command, now_ms: int, precondition: Precondition | None = None) -> Decision:
    """Decide a command at an instant.

    `now_ms` before the state's last transition counts as that transition: time never runs backwards. Checks come in
    the order final status, version, then what the command itself needs. A refused command still carries the links
    that fell due. Never raises and never mutates `state`.
    """
    now_ms = max(now_ms, state.updated_at_ms)
    overdue, has_more = overdue_transitions(state, now_ms)
    if has_more:
        return Decision(overdue, has_more_overdue=True)
    reached = overdue[-1].state if overdue else state
    try:
        _check(reached, command, precondition)
        # A plain press was meant for the turn that just ran out, so it passes nobody else's. One that names its turn
        # is judged by the state it meets: its verdict doesn't depend on who noticed the expiry first.
        if isinstance(command, Switch) and command.current_participant_id is None:
            met = state_before_first_timeout(state, overdue)
            if met is not None:
                late = met.active_participant
                return Decision(overdue, expired_participant_id=None if late is None else late.participant_id)
        own = _decide(reached, command, now_ms)
    except SyncKairosError as refusal:
        return Decision(overdue, refusal=refusal)
    if own is None:
        return Decision(overdue)
    follow_up, _ = overdue_transitions(own.state, now_ms)
    return Decision(overdue, (own,), follow_up)


def _check(state: Session, command: Command, precondition: Precondition | None) -> None:
    """Refuse by final status, then by version, then by any other status."""
    if isinstance(command, Expire):
        return
    if state.deleted:
        raise SessionNotFound(state.session_id)
    is_allowed = type(command) in STATUS_TABLE[state.status]
    if not is_allowed and state.status.is_final:
        raise _wrong_status(state, command)
    if precondition is not None:
        if precondition.etags and (state.version, state.epoch) not in precondition.etags:
            raise PreconditionFailed(f"The session is at version {state.version} of epoch {state.epoch}")
        if precondition.version is not None and precondition.version != state.version:
            raise VersionConflict(precondition.version, state.version)
    if not is_allowed:
        raise _wrong_status(state, command)


def _wrong_status(state: Session, command: Command) -> InvalidTransition:
    if isinstance(command, Switch):
        return InvalidTransition(f"Session is not running (it is {state.status})")
    return InvalidTransition(f"Session cannot be {REFUSED_VERBS[type(command)]}: the session is {state.status}")


def _decide(state: Session, command: Command, now_ms: int) -> Transition | None:
    """Return what the command brings about, None where it changes nothing."""
    match command:
        case Start():
            return turns.start(state, now_ms)
        case Switch():
            return turns.switch(state, command, now_ms)
        case Pause():
            return pauses.pause(state, command, now_ms)
        case Resume():
            return pauses.resume(state, command, now_ms)
        case Complete():
            return close_session(charge_until(state, now_ms), Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms)
        case Cancel():
            return close_session(charge_until(state, now_ms), Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms)
        case Adjust():
            return adjust(state, command, now_ms)
        case AddParticipant():
            return join_leave.join(state, command.participant, now_ms)
        case RemoveParticipant():
            return join_leave.leave(state, command.participant_id, now_ms)
        case UpdateMetadata():
            return _update_metadata(state, command, now_ms)
        case Delete():
            return _delete(state, now_ms)
        case Expire():
            return None


def _update_metadata(state: Session, command: UpdateMetadata, now_ms: int) -> Transition | None:
    metadata = merge_patch(state.metadata, command.patch)
    if is_same_json(metadata, state.metadata):
        return None
    # The patch alone was measured at the door; many small ones must not add up to more than one big one may bring.
    if len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_METADATA_BYTES:
        raise ValidationFailed.at("metadata", f"the whole would be larger than {MAX_METADATA_BYTES} bytes of JSON")
    updated = replace(make_transition(state, now_ms), metadata=metadata)
    return Transition(make_session_event(EventType.METADATA_UPDATED, updated, now_ms), updated)


def _delete(state: Session, now_ms: int) -> Transition:
    """Make the tombstone: a version like any other; what still lived counts as cancelled."""
    if state.status.is_final:
        gone = make_transition(state, now_ms)
    else:
        gone = close_session(charge_until(state, now_ms), Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms).state
    return Transition(make_session_event(EventType.SESSION_DELETED, gone, now_ms), replace(gone, deleted=True))
