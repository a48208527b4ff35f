"""Overdue transitions in `individual`. The clocks with the same due event at one instant change in one version."""

from synckairos.clock.individual.clock_rows import clock_index, with_clocks
from synckairos.clock.individual.row_clock import individual_clock, settle, stop, with_pauses
from synckairos.clock.individual.targets import change_clocks, make_clock_event, status_of_clocks
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.make_transition import with_next_version
from synckairos.clock.model import Participant, Session, Status
from synckairos.clock.transition import EventType, Transition
from synckairos.frozen_replace import replace


def make_due_transition(state: Session, at_ms: int) -> Transition:
    """Return the transition of the next due event of the clocks of `state`, in effect at `at_ms`.

    It includes the clocks of all participants for which this event is due at the same instant. If no clock is open, it
    is the end of the session.
    """
    index = clock_index(state)
    if not index.has_open_clock:
        return _end(state, at_ms)
    first, _ = index.due[0]
    positions = []
    for due, position in index.due:
        if due != first:
            break
        positions.append(position)
    rows = {position: state.participants[position] for position in positions}
    match first.kind:
        case "pause_end":
            lifted = {at: _without_pauses(state, row, first.at_ms, at_ms) for at, row in rows.items()}
            return change_clocks(state, lifted, EventType.PARTICIPANT_RESUMED, at_ms)
        case "timeout":
            expired = {at: _expire(state, row, first.at_ms, at_ms) for at, row in rows.items()}
            return change_clocks(state, expired, EventType.PARTICIPANT_EXPIRED, at_ms)
        case "warning":
            threshold_ms = -first.minus_warning_ms
            warned = {at: _warn(row, threshold_ms) for at, row in rows.items()}
            transition = _notify(state, warned, EventType.TIME_WARNING, at_ms)
            return Transition(replace(transition.event, remaining_ms=threshold_ms), transition.state)
        case "overtime":
            begun = {at: _begin_overtime(row) for at, row in rows.items()}
            return _notify(state, begun, EventType.OVERTIME_STARTED, at_ms)


def _end(state: Session, at_ms: int) -> Transition:
    """Return the transition that ends a session whose last open clock has left."""
    status = status_of_clocks(state)
    event_type = EventType.SESSION_COMPLETED if status is Status.COMPLETED else EventType.SESSION_EXPIRED
    ended = replace(with_next_version(state, at_ms), status=status, completed_at_ms=at_ms)
    return Transition(make_clock_event(event_type, ended, at_ms, ()), ended)


def _without_pauses(state: Session, row: Participant, due_ms: int, at_ms: int) -> Participant:
    rest = tuple(pause for pause in individual_clock(row).pauses if pause.lifts_at_ms != due_ms)
    return with_pauses(state, row, rest, at_ms)


def _expire(state: Session, row: Participant, zero_ms: int, at_ms: int) -> Participant:
    stopped = stop(state, settle(state, row, zero_ms), ParticipantStatus.EXPIRED, zero_ms)
    return replace(stopped, individual=replace(individual_clock(stopped), finished_at_ms=at_ms))


def _warn(row: Participant, threshold_ms: int) -> Participant:
    clock = individual_clock(row)
    return replace(row, individual=replace(clock, warned_ms=(*clock.warned_ms, threshold_ms)))


def _begin_overtime(row: Participant) -> Participant:
    return replace(row, individual=replace(individual_clock(row), is_in_overtime=True))


def _notify(state: Session, changes: dict[int, Participant], event_type: EventType, at_ms: int) -> Transition:
    """Return the transition of a warning or of the begin of overtime. The clocks continue, and no time is charged."""
    told = with_next_version(with_clocks(state, changes), at_ms)
    settled = with_clocks(state, {at: settle(state, row, at_ms) for at, row in changes.items()})
    return Transition(make_clock_event(event_type, settled, at_ms, sorted(changes)), told)
