"""Making a transition: one version on, and what is told about it."""

from synckairos.clock.model import Event, EventType, Group, Participant, Session, Status, SyncMode, Transition
from synckairos.errors import ParticipantNotFound
from synckairos.fast_dataclass import replace


def make_transition(state: Session, at_ms: int) -> Session:
    """Return the state one version on, in effect from `at_ms`."""
    return replace(state, version=state.version + 1, updated_at_ms=at_ms)


def make_event(kind: EventType, state: Session, at_ms: int, of: Participant | Group | None = None) -> Event:
    """Make the event that led to `state`: about `of`, else about whoever is active, else about the session."""
    match of or state.active_participant:
        case Participant() as one:
            is_per_cycle = state.rules.sync_mode is SyncMode.PER_CYCLE
            left_ms = state.remaining_ms if is_per_cycle else one.remaining_ms
            return Event(kind, at_ms, one.participant_id, one.group_id, one.used_ms, left_ms)
        case Group() as group:
            return Event(kind, at_ms, None, group.group_id, group.used_ms, group.remaining_ms)
        case None:
            return make_session_event(kind, state, at_ms)


def make_session_event(kind: EventType, state: Session, at_ms: int) -> Event:
    """Make an event about the session as a whole."""
    return Event(kind, at_ms, used_ms=state.used_ms, remaining_ms=state.remaining_ms)


def close_session(state: Session, status: Status, kind: EventType, at_ms: int) -> Transition:
    """End the settled session: nothing runs, nobody is active. The event is about whoever was."""
    ended = replace(
        state,
        version=state.version + 1,
        updated_at_ms=at_ms,
        status=status,
        active=None,
        anchor_ms=None,
        pauses=(),
        completed_at_ms=at_ms,
    )
    return Transition(make_event(kind, ended, at_ms, state.active_participant), ended)


def participant_position(state: Session, participant_id: str) -> int:
    """Return where a participant stands in `state.participants`. Raises ParticipantNotFound."""
    for at, participant in enumerate(state.participants):
        if participant.participant_id == participant_id:
            return at
    raise ParticipantNotFound(participant_id)
