"""Commands to a ticking session that change its plan or its participants."""

from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.commands import (
    AddParticipant,
    RemoveParticipant,
    SetPlan,
)
from synckairos.clock.model import Status, SyncMode
from synckairos.clock.plan_item import ItemStatus
from tests.unit.clock.oracle.facts import Item, refuse_if
from tests.unit.clock.oracle.ticking_clock import in_ticks
from tests.unit.clock.oracle.ticking_session import TickingSession


def set_plan(session: TickingSession, command: SetPlan) -> bool:
    refuse_if(session.is_over or not session.plan)
    old = {each.name: each for each in session.plan}
    plan, people = [], {each.name for each in session.seats}
    for each in command.plan:
        warnings = None if each.warnings_ms is None else [in_ticks(at_ms) for at_ms in each.warnings_ms]
        item = Item(each.item_id, in_ticks(each.time_ms), each.participant_id, warnings)
        known = old.get(item.name)
        if known is not None:
            item.status, item.used = known.status, known.used
        if item != known:
            refuse_if(known is not None and known.status is not ItemStatus.PENDING)
            least = 0 if item.ticks == 0 and session.overtime else 10
            refuse_if(item.ticks < least or (item.owner is not None and item.owner not in people))
            refuse_if(not session.overtime and any(at <= 0 for at in item.warnings or ()))
        plan.append(item)
    begun = [each.name for each in session.plan if each.status is not ItemStatus.PENDING]
    refuse_if([each.name for each in plan if each.status is not ItemStatus.PENDING] != begun)
    if plan == session.plan:
        return False
    if session.status is Status.PENDING:
        first = session.plan[0]
        session.plan = plan
        if (plan[0].name, plan[0].ticks) != (first.name, first.ticks):
            session.next_item = plan[0].name
            session.renew_budget()
            session.next_item = None
    elif session.next_item is not None:
        _choose_planned(session, plan)
    else:
        session.plan = plan
    session.begun.clear()
    return True


def _choose_planned(session: TickingSession, plan: list[Item]) -> None:
    """Choose the item that comes after a hold when the plan has changed."""
    chosen = session.item_of(session.next_item)
    assert chosen is not None
    session.choose_item(None)
    was_default = session.next_item == chosen.name
    session.plan = plan
    session.choose_item(None if was_default or session.item_of(chosen.name) is None else chosen.name)
    following = session.item_of(session.next_item)
    refuse_if(following is None)
    assert following is not None
    if session.names_owners:
        session.active = session.owner_of_next_item()
    elif session.active is None:
        session.active = session.following(None)
    if (following.name, following.ticks) != (chosen.name, chosen.ticks):
        session.renew_budget()


def join(session: TickingSession, command: AddParticipant) -> bool:
    new, mode = command.participant, session.spec.sync_mode
    refuse_if(session.is_over or session.seat(new.participant_id) is not None)
    refuse_if(isinstance(session.system, Hourglass))
    refuse_if(new.clock is not None and mode is not SyncMode.PER_PARTICIPANT)
    refuse_if(mode is SyncMode.PER_GROUP and new.group_id is None)
    session.add_seat(new, new.total_time_ms or 0)
    session.begun.clear()
    return True


def leave(session: TickingSession, command: RemoveParticipant) -> bool:
    refuse_if(session.is_over)
    seat = session.seat(command.participant_id)
    refuse_if(seat is None)
    assert seat is not None
    mode, is_held = session.spec.sync_mode, session.is_held
    refuse_if(len(session.seats) == 1 and mode is not SyncMode.GLOBAL)
    refuse_if(isinstance(session.system, Hourglass))
    session.begun.clear()
    at = session.seats.index(seat)
    had_turn = seat.name == session.active and session.status is not Status.PENDING
    if not had_turn:
        session.seats.remove(seat)
        if session.active == seat.name:
            session.active = None
        return True
    if mode is SyncMode.PER_GROUP and not is_held:
        left = session.left
        is_flagged = session.is_at_zero or (session.overtime and left is not None and left <= 0)
        session.count_turn(replenishes=True, is_flagged=is_flagged)
    session.seats.remove(seat)
    if not is_held:
        session.next_item = session.item
    order = session.seats[at:] + session.seats[:at]
    following = next((each.name for each in order if session.can_get_turns(each)), None)
    if session.names_owners:
        following = session.owner_of_next_item()
    elif following is None and session.seats:
        following = order[0].name
    session.renew_budget()
    if is_held:
        session.active, session.turn_used = following, 0
        session.warned, session.is_in_overtime = set(), False
    else:
        session.begin_turn(following)
    return True
