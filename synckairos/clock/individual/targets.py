"""The participants to which a command in `individual` applies, and the transition that changes their clocks."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from synckairos.clock.individual.clock_rows import clock_index, with_clocks
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.make_transition import find_participant_index, make_event, make_session_event
from synckairos.clock.model import Participant, Session, Status
from synckairos.clock.timing import find_group_index
from synckairos.clock.transition import Event, EventType, Transition
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.frozen_replace import replace


def find_targets(
    state: Session,
    participant_ids: Sequence[str] | None,
    group_id: str | None,
    fault_of: Callable[[Participant], str | None],
    refusal: str,
) -> list[int]:
    """Return the positions of the participants to which a command applies, ascending and never empty.

    `fault_of` returns the reason why the command does not apply to a participant, None if it applies. Without
    `participant_ids`, the command means all participants of the group, or of the session, to which it applies.

    Raises:
        ParticipantNotFound: the session does not have a participant in `participant_ids`.
        ValidationFailed: the command does not apply to a participant in `participant_ids`, or the session has no group
            `group_id`.
        InvalidTransition: the command applies to no participant. The error text begins with `refusal`.
    """
    if group_id is not None and find_group_index(state, group_id) is None:
        raise ValidationFailed.at_path("group_id", "this group is not in this session")
    if participant_ids is None:
        rows = enumerate(state.participants)
        positions = [at for at, row in rows if group_id in (None, row.group_id) and fault_of(row) is None]
        if not positions:
            raise InvalidTransition(f"{refusal}: it applies to no participant; the session is {state.status}")
        return positions
    positions, faults = [], []
    for at, participant_id in enumerate(participant_ids):
        position = find_participant_index(state, participant_id)
        row = state.participants[position]
        fault = fault_of(row)
        if group_id not in (None, row.group_id):
            fault = "is not in the group group_id"
        if fault is not None:
            faults.append({"path": f"participant_ids.{at}", "message": f"{participant_id} {fault}"})
        positions.append(position)
    if faults:
        raise ValidationFailed(faults)
    return sorted(positions)


def change_clocks(
    state: Session,
    changes: Mapping[int, Participant],
    event_type: EventType,
    at_ms: int,
    concerned: Iterable[int] | None = None,
) -> Transition:
    """Return the transition at `at_ms` that replaces the participants at the positions in `changes`.

    The session runs while a clock runs, and is paused while no clock runs and some clock can still run. If all clocks
    have ended, the session ends in the same version: completed if a clock was finished, else expired. The event then
    has the type of this end. It concerns the participants at the positions in `concerned`, by default those in
    `changes`. A pending session stays pending.
    """
    changed = with_clocks(state, changes)
    after = replace(changed, version=state.version + 1, updated_at_ms=at_ms)
    status = status_of_clocks(after)
    if status.is_final:
        event_type = EventType.SESSION_COMPLETED if status is Status.COMPLETED else EventType.SESSION_EXPIRED
    ended = replace(after, status=status, completed_at_ms=at_ms if status.is_final else None)
    return Transition(
        make_clock_event(event_type, ended, at_ms, sorted(changes if concerned is None else concerned)), ended
    )


def status_of_clocks(state: Session) -> Status:
    """Return the status of a session as its clocks determine it. A pending session stays pending."""
    if state.started_at_ms is None:
        return state.status
    index = clock_index(state)
    if index.has_running_clock:
        return Status.RUNNING
    if index.has_open_clock:
        return Status.PAUSED
    return Status.COMPLETED if index.counts[ParticipantStatus.FINISHED] else Status.EXPIRED


def make_clock_event(event_type: EventType, state: Session, at_ms: int, positions: Sequence[int]) -> Event:
    """Return the event of a transition to `state` that concerns the participants at `positions`."""
    if len(positions) == 1:
        return make_event(event_type, state, at_ms, state.participants[positions[0]])
    ids = tuple(state.participants[position].participant_id for position in positions)
    return replace(make_session_event(event_type, state, at_ms), participant_ids=ids)
