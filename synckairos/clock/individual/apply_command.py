"""The commands that change clocks in `individual`. The engine applies all other commands as in the other modes."""

from synckairos.clock.commands import (
    Adjust,
    Cancel,
    Command,
    Complete,
    Delete,
    Finish,
    Pause,
    Reopen,
    Resume,
    Start,
)
from synckairos.clock.individual.adjust_clocks import adjust
from synckairos.clock.individual.clock_commands import finish, pause, resume, start
from synckairos.clock.individual.end_and_reopen import end, reopen
from synckairos.clock.make_transition import make_session_event
from synckairos.clock.model import Session, Status
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace

INDIVIDUAL_COMMANDS = (Start, Finish, Pause, Resume, Adjust, Complete, Cancel, Reopen, Delete)
"""The commands that `apply_individual_command` applies. A `Delete` only if the session has not ended."""


def apply_individual_command(state: Session, command: Command, now_ms: int) -> Transition | None:
    """Return the transition of a command in `INDIVIDUAL_COMMANDS`, None if the command changes nothing.

    Expects a session in `individual` to which all overdue transitions are applied, and whose status allows the command.

    Raises: SyncKairosError if the command is refused.
    """
    match command:
        case Start():
            return start(state, command, now_ms)
        case Finish():
            return finish(state, command, now_ms)
        case Pause():
            return pause(state, command, now_ms)
        case Resume():
            return resume(state, command, now_ms)
        case Adjust():
            return adjust(state, command, now_ms)
        case Reopen():
            return reopen(state, command, now_ms)
        case Complete():
            return end(state, Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms)
        case Cancel():
            return end(state, Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms)
        case _:
            assert isinstance(command, Delete)
            ended = end(state, Status.CANCELLED, EventType.SESSION_CANCELLED, now_ms).state
            event = make_session_event(EventType.SESSION_DELETED, ended, now_ms)
            return Transition(event, replace(ended, deleted=True))


def refuse_individual_fields(command: Command) -> None:
    """Check that a command to a session in another mode has no field that only `individual` has.

    Raises: ValidationFailed.
    """
    if isinstance(command, (Start, Pause, Resume)):
        for path, value in (("participant_ids", command.participant_ids), ("group_id", command.group_id)):
            if value is not None:
                raise ValidationFailed.at_path(path, "is allowed only in individual")
    elif isinstance(command, Adjust) and command.scaled:
        raise ValidationFailed.at_path("scaled", "is allowed only in individual")
