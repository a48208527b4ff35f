"""The command `set_plan`, which changes the items of a plan that have not begun."""

from synckairos.clock.begin_turn import block_undo
from synckairos.clock.commands import SetPlan
from synckairos.clock.make_transition import make_session_event, with_next_version
from synckairos.clock.model import OnTimeout, Session, Status
from synckairos.clock.plan_item import ItemStatus, PlanItem
from synckairos.clock.plan_items import (
    find_item_participant,
    find_item_position,
    names_participants,
    with_next_item,
)
from synckairos.clock.transition import EventType, Transition
from synckairos.clock.turns import next_in_rotation
from synckairos.errors import ParticipantNotFound, ValidationFailed
from synckairos.frozen_replace import replace

MIN_ITEM_MS = 1_000
"""Milliseconds: minimum time of an item, except 0 with `on_timeout: overtime`."""


def set_plan(state: Session, command: SetPlan, now_ms: int) -> Transition | None:
    """Return the transition that replaces the plan, None if nothing changes.

    Items that have begun must be in the new plan with the same settings and in the same order. Planned starts stay, and
    an item that is added after the start has none. Before the start and in a hold, the item that comes next shows its
    new time. In a hold, the item after the current item comes next, unless a switch has chosen another item.

    `wire` must have checked the plan: it has 1 to 1,000 items with different ids.

    Raises:
        ValidationFailed: the session has no plan, an item that has begun differs, a time or threshold is not possible,
            or no item comes after a hold.
        ParticipantNotFound: a new or changed item names a participant that the session does not have.
    """
    if not state.plan:
        raise ValidationFailed.at_path("plan", "this session has no plan; only a creation can set one")
    plan = _merge(state, command.plan)
    if plan == state.plan:
        return None
    updated = replace(with_next_version(state, now_ms), plan=plan)
    if state.item_position is not None:
        updated = replace(updated, item_position=find_item_position(updated, _item_id(state, state.item_position)))
    if state.status is Status.PENDING:
        updated = _show_time(updated, 0, state.plan[0])
    elif state.next_item_position is not None:
        updated = _choose_next(state, updated)
    return Transition(make_session_event(EventType.PLAN_UPDATED, updated, now_ms), block_undo(updated))


def _item_id(state: Session, position: int) -> str:
    return state.plan[position].item_id


def _merge(state: Session, items: tuple[PlanItem, ...]) -> tuple[PlanItem, ...]:
    """Return the new plan: the settings of `items` with the facts of the items that the plan already has."""
    known = {item.item_id: item for item in state.plan}
    begun = [item.item_id for item in state.plan if item.status is not ItemStatus.PENDING]
    participant_ids = frozenset(each.participant_id for each in state.participants)
    merged = tuple(
        _merge_item(state, participant_ids, at, item, known.get(item.item_id)) for at, item in enumerate(items)
    )
    kept = [item.item_id for item in merged if item.status is not ItemStatus.PENDING]
    if missing := sorted(set(begun) - set(kept), key=begun.index):
        raise ValidationFailed.at_path("plan", f"item {missing[0]!r} has begun, so it cannot be removed")
    if kept != begun:
        raise ValidationFailed.at_path("plan", "items that have begun stay in their order")
    return merged


def _merge_item(
    state: Session, participant_ids: frozenset[str], at: int, item: PlanItem, old: PlanItem | None
) -> PlanItem:
    """Return the item at the position `at` of the new plan. `old` is the item that has this id now, None without one.

    `participant_ids` are the participants of the session.
    """
    if old is not None:
        merged = replace(item, status=old.status, used_ms=old.used_ms, planned_start_at_ms=old.planned_start_at_ms)
        if merged == old:
            return old
        if old.status is not ItemStatus.PENDING:
            raise ValidationFailed.at_path(f"plan.{at}", f"item {item.item_id!r} has begun, so it cannot be changed")
        item = merged
    _check_item(state, participant_ids, at, item)
    return item


def _check_item(state: Session, participant_ids: frozenset[str], at: int, item: PlanItem) -> None:
    may_run_over = state.rules.on_timeout is OnTimeout.OVERTIME
    if item.time_ms < MIN_ITEM_MS and not (item.time_ms == 0 and may_run_over):
        raise ValidationFailed.at_path(f"plan.{at}.time_ms", f"should be at least {MIN_ITEM_MS}")
    if not may_run_over and any(each <= 0 for each in item.warnings_ms or ()):
        raise ValidationFailed.at_path(f"plan.{at}.warnings_ms", "should be at least 1 if on_timeout is not overtime")
    if item.participant_id is not None and item.participant_id not in participant_ids:
        raise ParticipantNotFound(item.participant_id)


def _show_time(updated: Session, position: int, shown_before: PlanItem) -> Session:
    """Return the state with the time of the item at `position`, which has not begun, as the session's budget.

    An adjusted budget stays if the item and its time stay.
    """
    shown = updated.plan[position]
    if (shown.item_id, shown.time_ms) == (shown_before.item_id, shown_before.time_ms):
        return updated
    return replace(updated, remaining_ms=shown.time_ms)


def _choose_next(held: Session, updated: Session) -> Session:
    """Return the state after a change of the plan in a hold, with the item that comes next and its participant."""
    assert held.next_item_position is not None
    chosen = held.plan[held.next_item_position]
    is_default = with_next_item(held, None).next_item_position == held.next_item_position
    remains = any(item.item_id == chosen.item_id for item in updated.plan)
    updated = with_next_item(updated, chosen.item_id if remains and not is_default else None)
    if updated.next_item_position is None:
        raise ValidationFailed.at_path("plan", "the session is in a hold, so an item must follow the current item")
    position = updated.active_position
    if names_participants(updated):
        position = find_item_participant(updated)
    elif position is None:
        position = next_in_rotation(updated, None)
    return _show_time(replace(updated, active_position=position), updated.next_item_position, chosen)
