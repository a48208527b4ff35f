"""The command `done`, which marks a participant as done in the current turn."""

from synckairos.clock.commands import Done
from synckairos.clock.make_transition import find_participant_index, make_event, with_next_version
from synckairos.clock.model import Session
from synckairos.clock.timing import replace_item
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace


def mark_done(state: Session, command: Done, now_ms: int) -> Transition | None:
    """Return the transition that marks a participant as done, None if it is already done in this turn.

    The clock continues. If the rules of the session close the turn, the end of the turn is due at `now_ms`, and the
    caller must apply it (see `upcoming_event.next_upcoming_event`).

    Raises:
        ParticipantNotFound: the session has no such participant.
        ValidationFailed: the session is of the first edition.
    """
    if not state.is_second_edition:
        raise ValidationFailed.at_path("", "sessions of the first edition have no done participants")
    position = find_participant_index(state, command.participant_id)
    participant = state.participants[position]
    if participant.done_turn == state.turn_number:
        return None
    done = replace(participant, done_turn=state.turn_number)
    marked = replace(with_next_version(state, now_ms), participants=replace_item(state.participants, position, done))
    return Transition(make_event(EventType.PARTICIPANT_DONE, marked, now_ms, done), marked)
