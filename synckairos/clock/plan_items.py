"""The items of a plan: which item comes next, who has its turn, and when the items begin.

A plan gives each turn of a `per_cycle` session its own time. Functions that change the state of items leave the version
unchanged. Functions that take a state return it unchanged if the session has no plan.
"""

from synckairos.clock.model import OnTimeout, Session, Status
from synckairos.clock.plan_item import ItemStatus, PlanItem
from synckairos.errors import PlanItemNotFound
from synckairos.frozen_replace import replace


def find_item_position(state: Session, item_id: str) -> int:
    """Return the position of an item in `state.plan`.

    Raises: PlanItemNotFound if the session has no such item, or no plan.
    """
    for position, item in enumerate(state.plan):
        if item.item_id == item_id:
            return position
    raise PlanItemNotFound(item_id)


def with_next_item(ended: Session, item_id: str | None) -> Session:
    """Return the state with `next_item_position` set: the item `item_id`, or without it the next item in the list.

    The next item is None after the last item.

    Raises: PlanItemNotFound if the session has no plan item `item_id`.
    """
    if item_id is not None:
        return replace(ended, next_item_position=find_item_position(ended, item_id))
    if ended.item_position is None:
        return ended
    following = ended.item_position + 1
    return replace(ended, next_item_position=following if following < len(ended.plan) else None)


def begin_next_item(state: Session, at_ms: int) -> Session:
    """Return the state in which the item at `next_item_position` runs. `schedule_offset_ms` is that of its begin."""
    position = state.next_item_position
    if position is None:
        return state
    item = state.plan[position]
    planned_ms = item.planned_start_at_ms
    return replace(
        state,
        plan=_with_status(state.plan, position, ItemStatus.RUNNING),
        item_position=position,
        next_item_position=None,
        schedule_offset_ms=state.schedule_offset_ms if planned_ms is None else at_ms - planned_ms,
    )


def end_item(state: Session) -> Session:
    """Return the state in which the item that runs is done."""
    position = state.item_position
    if position is None or state.plan[position].status is not ItemStatus.RUNNING:
        return state
    return replace(state, plan=_with_status(state.plan, position, ItemStatus.DONE))


def continue_item(state: Session) -> Session:
    """Return the state in which the item of the most recently begun turn runs again."""
    if state.item_position is None:
        return state
    return replace(state, plan=_with_status(state.plan, state.item_position, ItemStatus.RUNNING))


def _with_status(plan: tuple[PlanItem, ...], position: int, status: ItemStatus) -> tuple[PlanItem, ...]:
    return (*plan[:position], replace(plan[position], status=status), *plan[position + 1 :])


def fix_planned_starts(state: Session, started_at_ms: int) -> Session:
    """Return the state in which each item has the instant at which it begins if every item takes its planned time."""
    planned, at_ms = [], started_at_ms
    for item in state.plan:
        planned.append(replace(item, planned_start_at_ms=at_ms))
        at_ms += item.time_ms
    return replace(state, plan=tuple(planned))


# -- participants -----------------------------------------------------------------------------------------------------


def names_participants(state: Session) -> bool:
    """Return whether the plan decides who has each turn, because some item names a participant.

    An item that names no participant then has no participant. Without such an item, the rotation decides.
    """
    return bool(state.plan) and any(item.participant_id is not None for item in state.plan)


def find_item_participant(state: Session) -> int | None:
    """Return the position in `state.participants` of the participant that the item at `next_item_position` names.

    None if the item names no participant, or a participant that has left.
    """
    assert state.next_item_position is not None
    participant_id = state.plan[state.next_item_position].participant_id
    places = (at for at, each in enumerate(state.participants) if each.participant_id == participant_id)
    return next(places, None)


# -- the end -----------------------------------------------------------------------------------------------------------


def ran_out_of_time(state: Session) -> bool:
    """Return whether time ended the session: it is expired, or the time of the last item of its plan ran out.

    At the end of the last item under `on_timeout: advance`, a session with a plan is completed.
    """
    if state.status is Status.EXPIRED:
        return True
    is_at_zero = state.status is Status.COMPLETED and state.remaining_ms == 0
    return is_at_zero and bool(state.plan) and state.rules.on_timeout is OnTimeout.ADVANCE
