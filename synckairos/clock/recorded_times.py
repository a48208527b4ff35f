"""Times that a caller states: the creation of a recorded session, and the command `amend`.

The times are the start, the end and the breaks of a session. They replace all times that the clock measured.
"""

from collections.abc import Iterable, Iterator, Sequence

from synckairos.clock.commands import Amend, RecordedTimes
from synckairos.clock.make_transition import make_event, with_next_version
from synckairos.clock.model import Break, CurrentTurn, Session, Status, SyncMode
from synckairos.clock.transition import Charge, Event, EventType, Transition
from synckairos.errors import InvalidTransition, ParticipantNotFound, ValidationFailed
from synckairos.frozen_replace import replace

MAX_BREAKS = 500
"""Maximum number of breaks of a session."""

MAX_RECORDED_MS = 400 * 86_400_000
"""Milliseconds: maximum time from the start to the end of a recorded or amended session (400 days)."""

RECORDING_EVENTS = frozenset({EventType.SESSION_RECORDED, EventType.SESSION_AMENDED})
"""Types of the events whose charges are the times that a caller stated. Their documents contain these times."""


def record_session(created: Session, times: RecordedTimes, now_ms: int) -> Transition:
    """Return the transition that creates a completed session. `created` is the session as it would be while pending.

    `created` must be a `count_up` session with one participant.

    Raises: ValidationFailed with each fault of the times, with paths below `recorded`.
    """
    _raise_faults(_time_faults(times, now_ms, "recorded."))
    state = replace(
        _with_times(created, times),
        status=Status.COMPLETED,
        active_position=None,
        turn_number=1,
    )
    return _make_recording(EventType.SESSION_RECORDED, state, now_ms)


def amend(state: Session, command: Amend, now_ms: int) -> Transition | None:
    """Return the transition that replaces the times of an ended session, None if no time changes.

    The status stays. All earlier charges of the session become void, and the new times are charged.

    Raises:
        ParticipantNotFound: `participant_id` is not the participant of the session.
        InvalidTransition: the session never started, or its breaks are not known.
        ValidationFailed: the session is not a `count_up` session of the second edition with one participant that used
            all of its time, or the times are not possible. The error has each fault of the times.
    """
    _check_amendable(state, command)
    breaks_before = command.breaks_before if state.breaks is None else state.breaks
    breaks = breaks_before if command.breaks is None else command.breaks
    if breaks is None:
        raise InvalidTransition(
            "Session cannot be amended: its breaks are unknown or too many; give all of them in breaks"
        )
    assert state.started_at_ms is not None
    assert state.completed_at_ms is not None
    times = RecordedTimes(
        state.started_at_ms if command.started_at_ms is None else command.started_at_ms,
        state.completed_at_ms if command.completed_at_ms is None else command.completed_at_ms,
        breaks,
    )
    _raise_faults(_time_faults(times, now_ms, "", is_break_given=command.breaks is not None))
    amended = _with_times(state, times)
    if breaks_before is not None and _recorded_facts(amended) == _recorded_facts(replace(state, breaks=breaks_before)):
        return None
    return _make_recording(EventType.SESSION_AMENDED, with_next_version(amended, now_ms), now_ms)


def is_amendable(state: Session) -> bool:
    """Return whether the session is of a kind that `amend` accepts: ended, `count_up`, with one participant.

    `amend` makes further checks.
    """
    is_of_mode = state.rules.sync_mode is SyncMode.COUNT_UP and state.is_second_edition
    return is_of_mode and state.status.is_final and state.started_at_ms is not None and len(state.participants) == 1


def recorded_charges(state: Session) -> tuple[Charge, ...]:
    """Return the charges of a recorded or amended session: the times from its start to its end, without its breaks.

    The result is empty if the document of the session has no breaks (`Session.breaks` is None).
    """
    if state.breaks is None or state.started_at_ms is None or state.completed_at_ms is None:
        return ()
    participant_id = state.participants[0].participant_id
    times = RecordedTimes(state.started_at_ms, state.completed_at_ms, state.breaks)
    return tuple(Charge(participant_id, began_ms, ended_ms) for began_ms, ended_ms in _worked_spans(times))


def find_breaks(started_at_ms: int, completed_at_ms: int, charges: Iterable[Charge]) -> tuple[Break, ...]:
    """Return the breaks of a session whose times the clock measured: the times in which no charge was made.

    `charges` are all charges that are not void, in any order. All instants are in ms since the Unix epoch.
    """
    breaks: list[Break] = []
    reached_ms = started_at_ms
    for charge in sorted(charges, key=lambda each: each.began_at_ms):
        if charge.began_at_ms > reached_ms:
            breaks.append(Break(reached_ms, charge.began_at_ms))
        reached_ms = max(reached_ms, charge.ended_at_ms)
    if reached_ms < completed_at_ms:
        breaks.append(Break(reached_ms, completed_at_ms))
    return tuple(breaks)


def _check_amendable(state: Session, command: Amend) -> None:
    """Check that the session has one participant, and that only this participant used its time.

    Raises: the errors of `amend` that concern the session.
    """
    if state.rules.sync_mode is not SyncMode.COUNT_UP or not state.is_second_edition:
        raise ValidationFailed.at_path("", "only count_up sessions of the second edition can be amended")
    if len(state.participants) != 1:
        raise ValidationFailed.at_path("", "only a session with one participant can be amended")
    participant = state.participants[0]
    if command.participant_id not in (None, participant.participant_id):
        raise ParticipantNotFound(str(command.participant_id))
    if participant.used_ms != state.used_ms - (state.rules.initial_ms or 0):
        raise ValidationFailed.at_path("", "a participant that left used time of the session, so it cannot be amended")
    if state.started_at_ms is None:
        raise InvalidTransition(f"Session cannot be amended: the session is {state.status} and never started")


def _with_times(state: Session, times: RecordedTimes) -> Session:
    """Return the state with these times, and with the used times that follow from them. The version stays."""
    worked_ms = sum(ended_ms - began_ms for began_ms, ended_ms in _worked_spans(times))
    participant = state.participants[0]
    added_ms = worked_ms - participant.used_ms
    used_ms = state.used_ms + added_ms
    max_ms = state.rules.max_time_ms
    return replace(
        state,
        participants=(
            replace(participant, used_ms=worked_ms, remaining_ms=max(0, participant.remaining_ms - added_ms)),
        ),
        used_ms=used_ms,
        # A caller can state a longer time than the maximum, which was only a limit for the clock.
        remaining_ms=None if max_ms is None else max(0, max_ms - used_ms),
        turn=CurrentTurn(worked_ms, state.turn.cycles),
        started_at_ms=times.started_at_ms,
        completed_at_ms=times.completed_at_ms,
        breaks=times.breaks,
    )


def _recorded_facts(state: Session) -> tuple[object, ...]:
    return state.started_at_ms, state.completed_at_ms, state.breaks, state.used_ms


def _make_recording(event_type: EventType, state: Session, now_ms: int) -> Transition:
    event: Event = make_event(event_type, state, now_ms, state.participants[0])
    return Transition(replace(event, charges=recorded_charges(state)), state)


def _worked_spans(times: RecordedTimes) -> Iterator[tuple[int, int]]:
    """Yield the begin and the end of each time that is not a break, in order, in ms since the Unix epoch."""
    began_ms = times.started_at_ms
    for each in times.breaks:
        if each.began_at_ms > began_ms:
            yield began_ms, each.began_at_ms
        began_ms = each.ended_at_ms
    if times.completed_at_ms > began_ms:
        yield began_ms, times.completed_at_ms


def _time_faults(
    times: RecordedTimes, now_ms: int, prefix: str, *, is_break_given: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each fault of stated times. `prefix` is the begin of each path.

    If `is_break_given` is False, the breaks are those that the session had, so all their faults have the path `breaks`.
    """
    if times.completed_at_ms <= times.started_at_ms:
        yield f"{prefix}completed_at", "should be after started_at"
        return
    if times.completed_at_ms > now_ms:
        yield f"{prefix}completed_at", "is in the future"
    elif times.completed_at_ms - times.started_at_ms > MAX_RECORDED_MS:
        yield f"{prefix}completed_at", "is more than 400 days after started_at"
    if len(times.breaks) > MAX_BREAKS:
        yield f"{prefix}breaks", f"the session has more than {MAX_BREAKS} breaks; give at most {MAX_BREAKS}"
        return
    for path, text in _break_faults(times):
        if not is_break_given:
            yield f"{prefix}breaks", "the session has breaks outside of its new times; give its breaks"
            return
        yield f"{prefix}breaks.{path}", text


def _break_faults(times: RecordedTimes) -> Iterator[tuple[str, str]]:
    ended_ms = times.started_at_ms
    for at, each in enumerate(times.breaks):
        if each.ended_at_ms <= each.began_at_ms:
            yield f"{at}.to", "should be after from"
        elif each.began_at_ms < times.started_at_ms:
            yield f"{at}.from", "is before started_at"
        elif each.ended_at_ms > times.completed_at_ms:
            yield f"{at}.to", "is after completed_at"
        elif each.began_at_ms < ended_ms:
            yield f"{at}.from", "is before the end of the break before; breaks should be in order and not overlap"
        ended_ms = max(ended_ms, each.ended_at_ms)


def _raise_faults(faults: Iterator[tuple[str, str]]) -> None:
    found: Sequence[dict[str, str]] = [{"path": path, "message": text} for path, text in faults]
    if found:
        raise ValidationFailed([*found])
