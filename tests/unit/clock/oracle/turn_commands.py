"""Commands to a ticking session in which participants take turns."""

import copy

from synckairos.clock.clock_systems import Hourglass, PerMove
from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Done,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    SetPlan,
    Start,
    Switch,
    Undo,
    UpdateParticipant,
    UpdateSession,
)
from synckairos.clock.earlier_turns import UndoCharge
from synckairos.clock.model import Status, SyncMode
from synckairos.clock.plan_item import ItemStatus
from tests.unit.clock.oracle.application import apply_or_restore, move_start_and_end
from tests.unit.clock.oracle.facts import PauseReason, refuse_if
from tests.unit.clock.oracle.plan_and_seat_commands import join, leave, set_plan
from tests.unit.clock.oracle.ticking_clock import TICK_MS, TickingClock, add_ticks, in_ticks
from tests.unit.clock.oracle.ticking_session import TickingSession


def apply_to_turns(session: TickingSession, command: Command) -> bool:
    """Apply a command, and everything that it makes due. Return whether it changed the session."""
    return apply_or_restore(session, command, _apply)


def _apply(session: TickingSession, command: Command) -> bool:
    match command:
        case Start():
            return _start(session)
        case Switch():
            return _switch(session, command)
        case Done():
            return _done(session, command)
        case Pause():
            return _pause(session, command)
        case Resume():
            return _resume(session, command)
        case Adjust():
            refuse_if(session.is_over)
            return _adjust_and_rearm(session, command.delta_ms, command.participant_ids, command.group_id)
        case Complete() | Cancel():
            refuse_if(session.is_over)
            session.end(Status.COMPLETED if isinstance(command, Complete) else Status.CANCELLED, by_time=False)
            return True
        case Undo():
            return _undo(session, command)
        case Reopen():
            return _reopen(session, command)
        case SetPlan():
            return set_plan(session, command)
        case AddParticipant():
            return join(session, command)
        case RemoveParticipant():
            return leave(session, command)
        case UpdateParticipant():
            return _update_participant(session, command)
        case UpdateSession():
            return _update_session(session, command)
        case _:
            return False


def _start(session: TickingSession) -> bool:
    refuse_if(session.status is not Status.PENDING)
    refuse_if(session.ends is not None and session.now >= session.ends)
    session.start()
    return True


def _switch(session: TickingSession, command: Switch) -> bool:
    refuse_if(session.status not in (Status.RUNNING, Status.PAUSED))
    if session.timeouts and command.current_participant_id is None:
        return False  # The switch was meant for the first turn that has run out in the meantime.
    is_open = session.is_at_zero or session.is_held or session.spec.switch_while_paused
    refuse_if(session.status is Status.PAUSED and not is_open)
    refuse_if(command.current_participant_id not in (None, session.active))
    if session.is_held:
        return _choose_next(session, command)
    holds = command.hold or session.spec.holds_between_turns
    session.end_turn_and_go_on(command.next_participant_id, command.item_id, holds)
    return True


def _choose_next(session: TickingSession, command: Switch) -> bool:
    refuse_if(command.next_participant_id is None and command.item_id is None)
    before = session.active, session.next_item
    if command.item_id is not None:
        session.choose_item(command.item_id)
    if command.next_participant_id is not None or session.names_owners:
        session.active = session.next_seat(command.next_participant_id)
    if session.next_item != before[1]:
        session.renew_budget()
    return (session.active, session.next_item) != before


def _done(session: TickingSession, command: Done) -> bool:
    seat = session.seat(command.participant_id)
    refuse_if(session.status is not Status.RUNNING or seat is None)
    assert seat is not None
    is_new = seat.done_in != session.turn_number
    seat.done_in = session.turn_number
    return is_new


def _pause(session: TickingSession, command: Pause) -> bool:
    refuse_if(session.status not in (Status.RUNNING, Status.PAUSED))
    refuse_if(any(each.name == command.reason for each in session.pauses))
    budget = session.spec.pause_budget
    if budget is not None:
        refuse_if(session.pauses_taken >= budget)
        session.pauses_taken += 1
    until = None if command.max_ms is None else session.now + in_ticks(command.max_ms)
    session.pauses.append(PauseReason(command.reason, until))
    session.status = Status.PAUSED
    return True


def _resume(session: TickingSession, command: Resume) -> bool:
    refuse_if(session.status is not Status.PAUSED)
    lifted = [each for each in session.pauses if command.reason in (None, each.name)]
    refuse_if(not lifted)
    if any(each.name == "timeout" for each in lifted):
        left = session.left
        refuse_if(left is not None and left <= 0)
    session.lift(lifted)
    return True


# -- time that commands add -------------------------------------------------------------------------------------------


def _adjust_and_rearm(session: TickingSession, delta_ms: int, ids: tuple[str, ...] | None, group: str | None) -> bool:
    if not adjust(session, in_ticks(delta_ms), ids, group):
        return False
    _rearm(session)
    session.begun.clear()
    return True


def _rearm(session: TickingSession) -> None:
    """Count the thresholds below the reading as not passed."""
    left = session.left
    if left is not None:
        session.warned = {each for each in session.warned if each >= left}
        session.is_in_overtime = session.is_in_overtime and left <= 0


def adjust(session: TickingSession, ticks: int, ids: tuple[str, ...] | None, group: str | None) -> bool:
    """Add time to budgets. Return whether a budget changed."""
    mode = session.spec.sync_mode
    before = copy.deepcopy((session.seats, session.teams, session.budget, session.ends))
    if mode in (SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP):
        refuse_if(group is not None and session.team_of(group) is None)
        refuse_if(mode is SyncMode.PER_GROUP and ids is not None)
        refuse_if(any(session.seat(each) is None for each in ids or ()))
        owners = (
            [each for each in session.seats if (ids is None or each.name in ids) and group in (None, each.team)]
            if mode is SyncMode.PER_PARTICIPANT
            else [each for each in session.teams if group in (None, each.name)]
        )
        for owner in owners:
            assert owner.clock is not None
            owner.clock.add(ticks, session.overtime)
            owner.is_out = owner.is_out and owner.clock.left <= 0
    else:
        refuse_if(ids is not None or group is not None)
        if session.ends is not None:
            _move_end(session, ticks)
        else:
            refuse_if(session.budget is None)
            assert session.budget is not None
            session.budget.add(ticks, session.overtime)
    return (session.seats, session.teams, session.budget, session.ends) != before


def _move_end(session: TickingSession, ticks: int) -> None:
    assert session.ends is not None
    if session.has_started:
        session.ends = session.now + add_ticks(session.ends - session.now, ticks, session.overtime)
        return
    session.ends += ticks
    refuse_if(session.ends <= max(session.now, session.starts or 0))


def _update_participant(session: TickingSession, command: UpdateParticipant) -> bool:
    seat = session.seat(command.participant_id)
    refuse_if(seat is None)
    if command.total_time_ms is None and command.clock is None:
        return False
    refuse_if(session.is_over or seat is None or seat.clock is None or seat.turns > 0)
    assert seat is not None
    assert seat.clock is not None
    had_hourglass = isinstance(session.system, Hourglass)
    refuse_if(had_hourglass and (session.status is not Status.PENDING or command.clock is not None))
    refuse_if(isinstance(command.clock, Hourglass))
    used = 0 if session.free_limit is not None else seat.used
    system, old = command.clock or seat.clock.system, seat.clock
    if isinstance(system, PerMove):
        refuse_if(command.total_time_ms is not None)
        total = system.move_ms // TICK_MS
    elif command.total_time_ms is not None:
        total = in_ticks(command.total_time_ms)
    else:
        refuse_if(used > 0 or isinstance(old.system, PerMove))
        total = old.left if old.in_main else 0
    clock = TickingClock(system, total)
    clock.begin()
    refuse_if(used > 0 and total <= used)
    refuse_if(not session.overtime and clock.has_run_out)
    for _ in range(used):
        clock.tick()
    own = command.clock or seat.own
    if (clock.face, clock.period_moves, own) == (old.face, old.period_moves, seat.own):
        return False
    seat.own, seat.clock, seat.is_out = own, clock, seat.is_out and clock.left <= 0
    _rearm(session)
    session.begun.clear()
    return True


def _update_session(session: TickingSession, command: UpdateSession) -> bool:
    if not move_start_and_end(session, command):
        return False
    _rearm(session)
    return True


# -- ended and earlier turns ------------------------------------------------------------------------------------------


def _reopen(session: TickingSession, command: Reopen) -> bool:
    ended = session.ended_in
    refuse_if(session.status not in (Status.EXPIRED, Status.COMPLETED) or not session.has_started)
    assert ended is not None
    delta, ids = command.delta_ms, command.participant_ids
    ran_out = ended.by_time
    refuse_if(ran_out and (delta is None or delta <= 0))
    seat = session.seat(ended.active)
    if seat is not None and ended.counted:
        seat.turns -= 1
    for each in session.seats:
        if each.done_in == session.turn_number:
            each.done_in = None
    session.active, session.turn_used, session.ended_turns = ended.active, ended.turn_used, ended.ended_turns
    session.next_item = ended.next_item
    item = session.item_of(session.item)
    if item is not None and not ended.was_held:
        item.status = ItemStatus.RUNNING
    session.status = Status.PAUSED
    session.pauses = [PauseReason("reopened")]
    if ended.was_held:
        session.pauses.insert(0, PauseReason("hold"))
    if session.ends is not None:
        refuse_if(ids is not None or delta is None or delta <= 0)
        session.ends = session.now + in_ticks(delta or 0)
    elif delta is None:
        refuse_if(ids is not None)
    else:
        mode = session.spec.sync_mode
        group = None
        if ids is None and seat is not None:
            ids = (seat.name,) if mode is SyncMode.PER_PARTICIPANT else None
            group = seat.team if mode is SyncMode.PER_GROUP else None
        adjust(session, in_ticks(delta), ids, group)
    left = session.left
    refuse_if(ran_out and not session.overtime and left is not None and left <= 0)
    session.pass_thresholds()
    if delta is not None:
        session.begun.clear()
    return True


def _undo(session: TickingSession, command: Undo) -> bool:
    refuse_if(session.status not in (Status.RUNNING, Status.PAUSED))
    was_held = session.is_held
    count = command.turns - was_held
    refuse_if(count >= len(session.begun))
    turn = session.begun[len(session.begun) - 1 - count]
    since = sum(each.ran for each in session.begun[len(session.begun) - 1 - count :])
    by_mover = 0 if turn.facts.active is None else turn.ran
    kept = {UndoCharge.NO_PARTICIPANT: 0, UndoCharge.MOVER: by_mover, UndoCharge.RESUMED: since}[command.charge]
    facts = copy.deepcopy(turn.facts)
    done = {each.name: each.done_in for each in session.seats}
    session.seats, session.teams, session.plan = facts.seats, facts.teams, facts.plan
    for seat in session.seats:
        seat.done_in = done[seat.name]
    session.budget, session.active, session.used = facts.budget, facts.active, facts.used
    session.ended_turns, session.item, session.next_item = facts.ended_turns, facts.item, None
    if session.ends is None:
        session.extensions = facts.extensions
    del session.begun[len(session.begun) - count :]
    turn.ran = 0
    session.turn_number += 1
    session.turn_used = 0
    for _ in range(kept):
        left = None if session.ends is not None else session.left
        if left is not None and left <= 0 and (session.is_free or not session.overtime):
            break
        session.run()
    session.pauses = [each for each in session.pauses if each.name != "hold"]
    session.status = Status.PAUSED if session.pauses else Status.RUNNING
    session.pass_thresholds()
    if session.is_at_zero:
        session.lift_zero()
    return True
