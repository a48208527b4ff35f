"""Construction of transitions and their events."""

from synckairos.clock.active_pause import ActivePause
from synckairos.clock.individual.clock_rows import ClockRows
from synckairos.clock.model import Group, Participant, Session, Status, SyncMode
from synckairos.clock.plan_items import end_item
from synckairos.clock.timing import session_remaining_ms
from synckairos.clock.transition import Event, EventType, Transition
from synckairos.errors import ParticipantNotFound
from synckairos.frozen_replace import replace


def with_next_version(state: Session, at_ms: int) -> Session:
    """Return the state with its version increased by 1 and `at_ms` as the instant of its last transition."""
    return replace(state, version=state.version + 1, updated_at_ms=at_ms)


def stop_clock(charged: Session, status: Status, pauses: tuple[ActivePause, ...], at_ms: int) -> Session:
    """Return the state, with the next version, in which no clock runs since `at_ms`.

    `status` and `pauses` are those of the new state. Expects a state in which elapsed time is charged.
    """
    return replace(
        charged, version=charged.version + 1, updated_at_ms=at_ms, status=status, anchor_ms=None, pauses=pauses
    )


def make_event(event_type: EventType, state: Session, at_ms: int, subject: Participant | Group | None = None) -> Event:
    """Return the event of the transition to `state`. `state` is the state after the event.

    The event concerns `subject`. If `subject` is None, the event concerns the active participant of `state`. If
    `subject` is None and no participant is active, the event concerns the session.
    """
    match subject or state.active_participant:
        case Participant() as participant:
            is_per_cycle = state.rules.sync_mode is SyncMode.PER_CYCLE
            left_ms = state.remaining_ms if is_per_cycle else participant.remaining_ms
            return Event(
                event_type, at_ms, participant.participant_id, participant.group_id, participant.used_ms, left_ms
            )
        case Group() as group:
            return Event(event_type, at_ms, None, group.group_id, group.used_ms, group.remaining_ms)
        case None:
            return make_session_event(event_type, state, at_ms)


def make_turn_end_event(event_type: EventType, ended: Session, begun: Session, at_ms: int) -> Event:
    """Return the event of the end of a turn. It concerns the participant whose turn ended.

    `ended` is the state after the end of the turn, and `begun` the state after the beginning of the next turn or hold.
    If the turn was an item of a plan that belonged to no participant, the event concerns the session.
    """
    if ended.plan and ended.active_participant is None:
        return make_session_event(event_type, begun, at_ms)
    return make_event(event_type, begun, at_ms, ended.active_participant)


def make_session_event(event_type: EventType, state: Session, at_ms: int) -> Event:
    """Return an event that concerns the session as a whole. Its used and remaining times are those of the session."""
    return Event(event_type, at_ms, used_ms=state.used_ms, remaining_ms=session_remaining_ms(state))


def make_end_transition(charged: Session, status: Status, event_type: EventType, at_ms: int) -> Transition:
    """Return the transition that ends the session at `at_ms` with the final `status`.

    In `charged` the time until `at_ms` must be charged. In the new state no clock runs, and no participant and no plan
    item is active. The event concerns the participant that is active in `charged`.
    """
    stopped = stop_clock(end_item(charged), status, (), at_ms)
    ended = replace(stopped, active_position=None, next_item_position=None, completed_at_ms=at_ms)
    return Transition(make_event(event_type, ended, at_ms, charged.active_participant), ended)


def find_participant_index(state: Session, participant_id: str) -> int:
    """Return the position of a participant in `state.participants`.

    Raises: ParticipantNotFound if the session has no such participant.
    """
    if isinstance(state.participants, ClockRows):
        if (found := state.participants.position_of(participant_id)) is not None:
            return found
        raise ParticipantNotFound(participant_id)
    for position, participant in enumerate(state.participants):
        if participant.participant_id == participant_id:
            return position
    raise ParticipantNotFound(participant_id)
