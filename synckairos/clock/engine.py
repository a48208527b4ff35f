"""The engine: `apply` turns a state, a command and an instant into transitions.

Overdue transitions (`overdue.py`) come first, each at its own deadline. The transition of the command follows. The
module is pure: it does no I/O, reads no clock and makes no ids.
"""

from msgspec import Struct

from synckairos.clock import join_leave, pauses, turns
from synckairos.clock.adjust import adjust
from synckairos.clock.change_audience_display import announce, change_screen
from synckairos.clock.charges import with_charges
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Amend,
    Announce,
    Cancel,
    Command,
    Complete,
    Delete,
    Done,
    Expire,
    Finish,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    Screen,
    SetPlan,
    Start,
    Switch,
    Undo,
    UpdateMetadata,
    UpdateParticipant,
    UpdateSession,
    VersionPrecondition,
)
from synckairos.clock.done import mark_done
from synckairos.clock.individual.apply_command import (
    INDIVIDUAL_COMMANDS,
    apply_individual_command,
    refuse_individual_fields,
)
from synckairos.clock.make_transition import make_end_transition, make_session_event, with_next_version
from synckairos.clock.model import Session, Status, SyncMode
from synckairos.clock.overdue import overdue_transitions, state_before_first_timeout
from synckairos.clock.plan_items import ran_out_of_time
from synckairos.clock.recorded_times import amend
from synckairos.clock.reopen import reopen
from synckairos.clock.set_plan import set_plan
from synckairos.clock.status_table import status_table_for
from synckairos.clock.timing import charge_session_until, number_of_turn
from synckairos.clock.transition import EventType, Transition
from synckairos.clock.undo import undo
from synckairos.clock.update_participant import update_participant
from synckairos.clock.update_session import update_metadata, update_session
from synckairos.errors import (
    CannotUndo,
    InvalidTransition,
    PreconditionFailed,
    SessionNotFound,
    SyncKairosError,
    TurnOver,
    VersionConflict,
)
from synckairos.frozen_replace import replace

REFUSED_VERBS: dict[type[Command], str] = {
    Start: "started",
    Pause: "paused",
    Resume: "resumed",
    Complete: "completed",
    Cancel: "cancelled",
    Adjust: "adjusted",
    AddParticipant: "joined",
    RemoveParticipant: "left",
    UpdateSession: "updated",
    SetPlan: "replanned",
    Reopen: "reopened",
    Amend: "amended",
    Finish: "finished",
}
"""The verb of each command in the error text of its refusal. v2 uses the same words."""


class CommandDecision(Struct, frozen=True):
    """The result of a command.

    `overdue`: transitions that were due before the command. `own`: the transition of the command, empty if the command
    changed nothing, was refused, or is not decided yet. `follow_up`: transitions that the command made due at the same
    instant. `refusal`: the reason of the refusal, None without a refusal. The overdue transitions are valid even if the
    command is refused.

    `expired_participant_id`: the participant whose time ran out before a switch, if the switch therefore changes
    nothing. It is None in all other cases. `has_more_overdue`: the decision contains only overdue
    transitions, possibly not all of them, and the command is not decided. Commit that part and apply the command again.
    """

    overdue: tuple[Transition, ...] = ()
    own: tuple[Transition, ...] = ()
    follow_up: tuple[Transition, ...] = ()
    refusal: SyncKairosError | None = None
    expired_participant_id: str | None = None
    has_more_overdue: bool = False

    @property
    def all_transitions(self) -> tuple[Transition, ...]:
        """Return all transitions of the decision in the order in which they take effect."""
        return (*self.overdue, *self.own, *self.follow_up)


def apply(
    state: Session,
    command: Command,
    now_ms: int,
    precondition: VersionPrecondition | None = None,
    out_of_time_id: str | None = None,
) -> CommandDecision:
    """Return the decision of a command at the instant `now_ms`. `state` is not changed.

    If `now_ms` is before the last transition of `state`, the instant of that transition is used, so time never runs
    backwards. The checks come in this order: final status, expected version, expected turn, other status, conditions of
    the command. A refusal is in the decision and is not raised. A decision that refuses the command still contains the
    overdue transitions.

    `out_of_time_id` matters only for a switch on a `state` that time has already ended. It is the participant that had
    the turn at the end, None if no participant had the turn. The caller must give this id, because `state` does not
    contain it.
    """
    now_ms = max(now_ms, state.updated_at_ms)
    overdue, has_more = _overdue_before(state, command, now_ms)
    if has_more:
        return CommandDecision(overdue, has_more_overdue=True)
    reached = overdue[-1].state if overdue else state
    if overdue and (isinstance(command, Undo) or (isinstance(command, (Reopen, Amend)) and reached.status.is_final)):
        # The caller finds the facts of earlier versions only after the overdue transitions are committed.
        return CommandDecision(overdue, has_more_overdue=True)
    if isinstance(command, Switch) and ran_out_of_time(reached):
        if overdue:
            out_of_time_id = overdue[-1].event.participant_id
        if _is_consumed_by_end(reached, command, precondition, out_of_time_id):
            return CommandDecision(overdue, expired_participant_id=out_of_time_id)
    try:
        _check_allowed(reached, command, precondition)
        # A switch that names neither its participant nor its turn was meant for the turn that has just run out, so it
        # must not end the next turn. Any other switch is decided after the overdue transitions. So its result is the
        # same if the timekeeper committed them first.
        names_turn = precondition is not None and precondition.turn is not None
        if isinstance(command, Switch) and command.current_participant_id is None and not names_turn:
            at_timeout = state_before_first_timeout(state, overdue)
            if at_timeout is not None:
                expired = at_timeout.active_participant
                return CommandDecision(
                    overdue, expired_participant_id=None if expired is None else expired.participant_id
                )
        own = _apply_command(reached, command, now_ms)
    except SyncKairosError as refusal:
        return CommandDecision(overdue, refusal=refusal)
    if own is None:
        return CommandDecision(overdue)
    if not isinstance(command, Undo):
        own = with_charges(reached, own)
    follow_up, _ = overdue_transitions(own.state, now_ms)
    return CommandDecision(overdue, (own,), follow_up)


def _overdue_before(state: Session, command: Command, now_ms: int) -> tuple[tuple[Transition, ...], bool]:
    """Return the transitions that are overdue before a command, and whether some overdue transitions are missing.

    A timeout within its grace at the flag is not overdue before `Expire`, nor before a switch that counts or that names
    another participant. Any other command, and a switch that comes too late, makes it overdue.
    """
    if isinstance(command, Expire):
        return overdue_transitions(state, now_ms, waits_for_grace=not command.ignores_grace)
    if isinstance(command, Switch) and state.rules.lag_compensation:
        overdue, has_more = overdue_transitions(state, now_ms, waits_for_grace=True)
        reached = overdue[-1].state if overdue else state
        if has_more or not turns.comes_too_late(reached, command, now_ms):
            return overdue, has_more
    return overdue_transitions(state, now_ms)


def _is_consumed_by_end(
    expired: Session, command: Switch, precondition: VersionPrecondition | None, out_of_time_id: str | None
) -> bool:
    """Return whether a switch was meant for the turn in which the session expired.

    Such a switch changes nothing and is not refused, even long after the expiry: the participant pressed, but the clock
    was faster. A switch that names another participant or expects another version is refused like every command on a
    final session.
    """
    if expired.deleted or command.current_participant_id not in (None, out_of_time_id):
        return False
    return precondition is None or _unmet_precondition(expired, precondition) is None


def _check_allowed(state: Session, command: Command, precondition: VersionPrecondition | None) -> None:
    """Raise the refusal of the first failed check. `Expire` passes all checks.

    The order is: deleted session, final status, expected version, expected turn, other status that does not allow the
    command.
    """
    if isinstance(command, Expire):
        return
    if state.deleted:
        raise SessionNotFound(state.session_id)
    is_allowed = type(command) in status_table_for(state.rules.sync_mode)[state.status]
    if not is_allowed and state.status.is_final:
        raise _wrong_status(state, command)
    if precondition is not None and (unmet := _unmet_precondition(state, precondition)) is not None:
        raise unmet
    if not is_allowed:
        raise _wrong_status(state, command)


def _unmet_precondition(state: Session, precondition: VersionPrecondition) -> SyncKairosError | None:
    """Return the refusal of a command that expects another version or turn, None if `state` has the expected ones."""
    if precondition.etags and (state.version, state.epoch) not in precondition.etags:
        return PreconditionFailed(f"The session is at version {state.version} of epoch {state.epoch}")
    if precondition.version is not None and precondition.version != state.version:
        return VersionConflict(precondition.version, state.version)
    if precondition.turn is not None and precondition.turn != (turn_number := number_of_turn(state)):
        return TurnOver(precondition.turn, turn_number)
    return None


def _wrong_status(state: Session, command: Command) -> SyncKairosError:
    if isinstance(command, Finish) and state.rules.sync_mode is not SyncMode.INDIVIDUAL:
        return InvalidTransition(f"Only individual sessions have clocks to finish (this session is {state.status})")
    if isinstance(command, (Switch, Done)) and state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return InvalidTransition(f"An individual session has no turns (it is {state.status})")
    if isinstance(command, Undo):
        return CannotUndo(f"No turn of a session in {state.rules.sync_mode} can be undone if it is {state.status}")
    if isinstance(command, Switch):
        return InvalidTransition(f"Session is not running (it is {state.status})")
    if isinstance(command, Done):
        return InvalidTransition(f"A participant can be done only in a running session (it is {state.status})")
    return InvalidTransition(f"Session cannot be {REFUSED_VERBS[type(command)]}: the session is {state.status}")


def _apply_command(state: Session, command: Command, now_ms: int) -> Transition | None:
    """Return the transition of the command, None if the command changes nothing.

    Expects a state to which all overdue transitions are applied.

    Raises: SyncKairosError if the command is refused.
    """
    if state.rules.sync_mode is SyncMode.INDIVIDUAL and isinstance(command, INDIVIDUAL_COMMANDS):
        if not (isinstance(command, Delete) and state.status.is_final):
            return apply_individual_command(state, command, now_ms)
    else:
        refuse_individual_fields(command)
    match command:
        case Start():
            return turns.start(state, now_ms)
        case Switch():
            return turns.switch(state, command, now_ms)
        case Done():
            return mark_done(state, command, now_ms)
        case Pause():
            return pauses.pause(state, command, now_ms)
        case Resume():
            return pauses.resume(state, command, now_ms)
        case Complete():
            return make_end_transition(
                charge_session_until(state, now_ms), Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms
            )
        case Cancel():
            return make_end_transition(
                charge_session_until(state, now_ms), Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms
            )
        case Adjust():
            return adjust(state, command, now_ms)
        case AddParticipant():
            return join_leave.join(state, command.participant, now_ms)
        case RemoveParticipant():
            return join_leave.leave(state, command.participant_id, now_ms)
        case UpdateParticipant():
            return update_participant(state, command, now_ms)
        case UpdateMetadata():
            return update_metadata(state, command.patch, now_ms)
        case SetPlan():
            return set_plan(state, command, now_ms)
        case UpdateSession():
            return update_session(state, command, now_ms)
        case Announce():
            return announce(state, command, now_ms)
        case Screen():
            return change_screen(state, command, now_ms)
        case Undo():
            return undo(state, command, now_ms)
        case Reopen():
            return reopen(state, command, now_ms)
        case Amend():
            return amend(state, command, now_ms)
        case Delete():
            return _delete(state, now_ms)
        case Finish() | Expire():
            return None  # the status table allows `Finish` only in individual


def _delete(state: Session, now_ms: int) -> Transition:
    """Return the transition to the tombstone, at the next version. A session that has not ended is also cancelled."""
    if state.status.is_final:
        last = with_next_version(state, now_ms)
    else:
        last = make_end_transition(
            charge_session_until(state, now_ms), Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms
        ).state
    return Transition(make_session_event(EventType.SESSION_DELETED, last, now_ms), replace(last, deleted=True))
