"""Commands to a ticking session in `individual`."""

from collections.abc import Callable

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Finish,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    Start,
    UpdateParticipant,
    UpdateSession,
)
from synckairos.clock.model import Status
from synckairos.clock.transition import EventType
from tests.unit.clock.oracle.application import apply_or_restore, move_start_and_end
from tests.unit.clock.oracle.facts import PauseReason, refuse_if
from tests.unit.clock.oracle.ticking_clock import add_ticks
from tests.unit.clock.oracle.ticking_individual import (
    EXPIRED,
    FINISHED,
    PAUSED,
    RUNNING,
    WAITING,
    Row,
    TickingIndividual,
    in_ticks,
    scale,
)

OPEN = (Status.RUNNING, Status.PAUSED)


def apply_to_clocks(session: TickingIndividual, command: Command) -> bool:
    """Apply a command, and everything that it makes due. Return whether it changed the session."""
    return apply_or_restore(session, command, _apply)


def _apply(session: TickingIndividual, command: Command) -> bool:
    match command:
        case Start():
            return _start(session, command)
        case Pause():
            return _pause(session, command)
        case Resume():
            return _resume(session, command)
        case Finish():
            refuse_if(session.status not in OPEN)
            rows = _targets(session, command.participant_ids, command.group_id, _is_begun)
            for row in rows:
                session.stop(row, FINISHED)
        case Adjust():
            return _adjust(session, command)
        case Reopen():
            return _reopen(session, command)
        case Complete() | Cancel():
            refuse_if(session.status.is_final)
            for row in session.rows:
                if _is_begun(row):
                    session.stop(row, FINISHED)
            session.status = Status.COMPLETED if isinstance(command, Complete) else Status.CANCELLED
            session.ended = session.now
            return True
        case AddParticipant():
            refuse_if(session.status.is_final)
            new = command.participant
            refuse_if(any(each.name == new.participant_id for each in session.rows))
            refuse_if((new.total_time_ms is None) == (session.ends is None))
            session.add_row(new)
            return True
        case RemoveParticipant():
            refuse_if(session.status.is_final)
            row = session.row(command.participant_id)
            refuse_if(len(session.rows) == 1)
            session.rows.remove(row)
            if session.status is Status.RUNNING and not any(each.status is RUNNING for each in session.rows):
                session.status = Status.PAUSED
            return True
        case UpdateParticipant():
            return _update_participant(session, command)
        case UpdateSession():
            return _update_session(session, command)
        case _:
            return False
    session.follow_clocks(EventType.PARTICIPANT_FINISHED)
    return True


def _is_begun(row: Row) -> bool:
    return row.status in (RUNNING, PAUSED)


def _targets(
    session: TickingIndividual, ids: tuple[str, ...] | None, team: str | None, applies: Callable[[Row], bool]
) -> list[Row]:
    """Return the participants of a command: those that it names, or all to which it applies."""
    refuse_if(team is not None and all(each.team != team for each in session.rows))
    if ids is None:
        rows = [each for each in session.rows if team in (None, each.team) and applies(each)]
        refuse_if(not rows)
        return rows
    rows = [session.row(each) for each in ids]
    refuse_if(not all(team in (None, each.team) and applies(each) for each in rows))
    return rows


def _start(session: TickingIndividual, command: Start) -> bool:
    refuse_if(session.status.is_final)
    refuse_if(session.ends is not None and session.now >= session.ends)
    is_first = session.status is Status.PENDING

    def applies(row: Row) -> bool:
        return session.can_start(row, is_first=is_first)

    session.start(_targets(session, command.participant_ids, command.group_id, applies))
    return True


def _pause(session: TickingIndividual, command: Pause) -> bool:
    refuse_if(session.status not in OPEN)

    def applies(row: Row) -> bool:
        return _is_begun(row) and all(each.name != command.reason for each in row.pauses)

    rows = _targets(session, command.participant_ids, command.group_id, applies)
    budget = session.spec.pause_budget
    refuse_if(budget is not None and session.pauses_taken >= budget)
    session.pauses_taken += 1
    for row in rows:
        until = None if command.max_ms is None else session.now + in_ticks(command.max_ms)
        row.pauses.append(PauseReason(command.reason, until))
        row.status = PAUSED
    session.follow_clocks(EventType.PARTICIPANT_PAUSED)
    return True


def _resume(session: TickingIndividual, command: Resume) -> bool:
    refuse_if(session.status is not Status.PAUSED and session.status is not Status.RUNNING)

    def lifted(row: Row) -> list[PauseReason]:
        return [each for each in row.pauses if command.reason in (None, each.name)]

    for row in _targets(session, command.participant_ids, command.group_id, lambda row: bool(lifted(row))):
        session.lift(row, lifted(row))
    session.follow_clocks(EventType.PARTICIPANT_RESUMED)
    return True


def _adjust(session: TickingIndividual, command: Adjust) -> bool:
    refuse_if(session.status.is_final)
    rows = _targets(session, command.participant_ids, command.group_id, lambda row: row.is_open)
    delta, ends = in_ticks(command.delta_ms), session.ends
    is_changed = False
    before = {row.name: (session.left(row), session.end_of(row)) for row in rows}
    if ends is not None and command.participant_ids is None and command.group_id is None:
        if session.started is None:
            session.ends = ends + delta
            refuse_if(session.ends <= max(session.now, session.starts or 0))
        else:
            session.ends = session.now + add_ticks(ends - session.now, delta, session.overtime)
        is_changed = session.ends != ends
    for row in rows:
        own = scale(delta, row.factor) if command.scaled else delta
        left, end = before[row.name]
        if ends is None:
            row.left = add_ticks(row.left, own, session.overtime)
            is_changed = is_changed or row.left != left
        else:
            is_changed = _move_own_end(session, row, own, end, ends) or is_changed
        session.rearm(row)
    session.follow_clocks(EventType.TIME_ADJUSTED)
    return is_changed


def _move_own_end(session: TickingIndividual, row: Row, own: int, end: int | None, ends: int) -> bool:
    """Move the end of one clock by `own`. Its end before was `end`, and that of the session `ends`."""
    extra, least = row.extra, max(session.now, session.starts or 0)
    assert session.ends is not None
    if end is None:
        refuse_if(ends + extra + own <= least)
        row.extra += own - scale(session.ends - ends, row.factor)
        return row.extra != extra
    if session.started is None:
        refuse_if(end + own <= least)
        wanted = end + own
    else:
        wanted = session.now + add_ticks(end - session.now, own, session.overtime)
    by_session = session.end_of(row)
    assert by_session is not None
    row.extra += wanted - by_session
    return row.extra != extra or wanted != end


def _reopen(session: TickingIndividual, command: Reopen) -> bool:
    refuse_if(session.status in (Status.PENDING, Status.CANCELLED) or session.started is None)
    is_final = session.status.is_final
    delta = None if command.delta_ms is None else in_ticks(command.delta_ms)

    def applies(row: Row) -> bool:
        if row.is_open:
            return False
        return command.participant_ids is not None or not is_final or row.ended_at == session.ended

    for row in _targets(session, command.participant_ids, None, applies):
        needs_time = row.status is EXPIRED or session.ends is not None
        refuse_if(needs_time and (delta is None or delta <= 0))
        if session.ends is None:
            row.left += delta or 0
            refuse_if(row.left <= 0 and not session.overtime)
        row.status, row.ended_at, row.pauses = PAUSED, None, [PauseReason("reopened")]
        if session.ends is not None:
            end = session.end_of(row)
            assert end is not None
            row.extra += session.now + (delta or 0) - end
        session.pass_thresholds(row)
    session.ended = None
    session.follow_clocks(EventType.SESSION_REOPENED)
    return True


def _update_participant(session: TickingIndividual, command: UpdateParticipant) -> bool:
    row = session.row(command.participant_id)
    if command.total_time_ms is None and command.clock is None:
        return False
    refuse_if(session.status.is_final or command.clock is not None or session.ends is not None)
    refuse_if(row.status is not WAITING)
    total = in_ticks(command.total_time_ms or 0)
    refuse_if(total == 0 and not session.overtime)
    left = scale(total, row.factor)
    is_changed, row.left = row.left != left, left
    return is_changed


def _update_session(session: TickingIndividual, command: UpdateSession) -> bool:
    if not move_start_and_end(session, command):
        return False
    ends = session.ends
    for row in session.rows:
        if row.is_open and ends is not None:
            left = session.left(row)
            if left < 0 and not session.overtime:
                row.extra -= left
            session.rearm(row)
    return True
