"""Turns: start, switch, the rotation, and the end of a turn."""

from synckairos.clock.begin_turn import begin_turn, hold, is_held, show_next_turn
from synckairos.clock.budget import BudgetHolder
from synckairos.clock.clock_systems import ClockSystem
from synckairos.clock.commands import Switch
from synckairos.clock.lag_compensation import compensate_lag, limit_lag_claim
from synckairos.clock.make_transition import (
    find_participant_index,
    make_end_transition,
    make_event,
    make_turn_end_event,
)
from synckairos.clock.model import MAX_CYCLES, CurrentTurn, ExtendBy, Extensions, OnTimeout, Session, Status, SyncMode
from synckairos.clock.pauses import is_paused_by_timeout, lift_timeout_pause
from synckairos.clock.plan_items import (
    end_item,
    find_item_participant,
    fix_planned_starts,
    names_participants,
    with_next_item,
)
from synckairos.clock.timing import (
    active_group_index,
    can_get_turns,
    charge_session_until,
    clock_system_for,
    deadline_at_ms,
    is_turn_free,
    replace_item,
    time_to_zero_ms,
)
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import InvalidTransition, NotActiveParticipant, ParticipantExpired, ValidationFailed
from synckairos.frozen_replace import replace


def start(state: Session, now_ms: int) -> Transition:
    """Return the transition that starts the session and its first turn.

    The first turn belongs to the `active_participant_id` of the creation, or else to the first participant in index
    order. If the items of a plan name participants, it belongs to the participant of the first item.

    Raises: InvalidTransition if the session has an end, and `now_ms` is not before the end.
    """
    if state.ends_at_ms is not None and now_ms >= state.ends_at_ms:
        raise InvalidTransition(
            f"Session cannot be started: the session is {state.status} and its ends_at has passed; change ends_at first"
        )
    first = state.active_position if state.active_position is not None else next_in_rotation(state, None)
    running = replace(state, status=Status.RUNNING, started_at_ms=now_ms)
    if state.plan:
        running = fix_planned_starts(replace(running, next_item_position=0), now_ms)
        first = find_item_participant(running) if names_participants(running) else first
    begun = begin_turn(running, first, state.remaining_ms, now_ms)
    return Transition(make_event(EventType.SESSION_STARTED, begun, now_ms), begun)


def switch(state: Session, command: Switch, now_ms: int) -> Transition | None:
    """Return the transition that ends the turn and begins the next turn. After the last cycle it completes the session.

    In a session with a plan, the next turn has the item `item_id`, by default the next item in the list. Without a next
    item the session completes. The event concerns the participant whose turn ended. With a hold, the next turn does not
    begin. In a hold, the command changes the next participant or item; the result is None if both stay the same. During
    a pause, the command charges no time and the session stays paused.

    Raises:
        InvalidTransition: the session is paused, but not at zero, and its rules do not allow a switch. Or the command
            names no next participant, and no participant has time left or the session is in a hold.
        ValidationFailed: the command has a hold, but the session is of the first edition. Or the command names the next
            participant, but the items of the plan name the participants.
        NotActiveParticipant: the participant `current_participant_id` does not have the turn.
        ParticipantNotFound: the session has no participant `next_participant_id`.
        ParticipantExpired: the participant `next_participant_id` has no time left.
        PlanItemNotFound: the session has no plan item `item_id`.
    """
    at_zero = is_paused_by_timeout(state)
    in_hold = is_held(state)
    if state.status is Status.PAUSED and not (at_zero or in_hold or state.rules.switch_while_paused):
        raise InvalidTransition(f"Session is not running (it is {state.status}); resume it first")
    if command.hold and not state.is_second_edition:
        raise ValidationFailed.at_path("hold", "sessions of the first edition have no hold")
    active = state.active_participant
    expected_id = command.current_participant_id
    if expected_id is not None and (active is None or active.participant_id != expected_id):
        raise NotActiveParticipant(expected_id, None if active is None else active.participant_id)
    if in_hold:
        return _choose_next(state, command, now_ms)
    compensated = _compensate_lag(state, command, now_ms)
    receipt = compensated.lag_receipt
    charged = charge_session_until(compensated, now_ms if receipt is None else now_ms - receipt.compensated_ms)
    flagged = has_flagged(charged)
    ended = with_next_item(end_turn(charged, flagged), command.item_id)
    position = _next_position(ended, command.next_participant_id)
    if has_ended_last_cycle(ended):
        return make_end_transition(ended, Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms)
    ended, remaining_ms = _extend(ended, flagged, now_ms)
    if command.hold or state.rules.holds_between_turns:
        begun = hold(ended, position, remaining_ms, now_ms)
    else:
        begun = begin_turn(ended, position, remaining_ms, now_ms)
        if at_zero:
            begun = lift_timeout_pause(begun, now_ms)
        elif begun.status is Status.PAUSED:
            begun = replace(begun, anchor_ms=None)
    return Transition(make_turn_end_event(EventType.CYCLE_SWITCHED, ended, begun, now_ms), begun)


def comes_too_late(state: Session, command: Switch, now_ms: int) -> bool:
    """Return whether a switch ends a turn whose clock has reached zero, even after the compensation of network delay.

    False for a switch that names another participant, because it ends no turn.
    """
    deadline_ms = deadline_at_ms(state)
    if state.status is not Status.RUNNING or deadline_ms is None or now_ms < deadline_ms:
        return False
    active = state.active_participant
    if active is not None and command.current_participant_id not in (None, active.participant_id):
        return False
    receipt = _compensate_lag(state, command, now_ms).lag_receipt
    return receipt is None or now_ms - receipt.compensated_ms >= deadline_ms


def _compensate_lag(state: Session, command: Switch, now_ms: int) -> Session:
    """Return the state with the lag receipt of the ending turn and the updated lag account of the active participant.

    Return `state` unchanged if the active participant has no lag account. The function charges no time. The caller must
    charge the turn until `now_ms` minus the receipt's `compensated_ms`.
    """
    active = state.active_participant
    if active is None or active.lag is None:
        return state
    elapsed_ms = 0 if state.anchor_ms is None else max(0, now_ms - state.anchor_ms)
    trusted_lag_ms = limit_lag_claim(command.lag_ms, command.measured_lag_ms)
    lag, receipt = compensate_lag(active.lag, active.participant_id, elapsed_ms, trusted_lag_ms)
    assert state.active_position is not None
    participants = replace_item(state.participants, state.active_position, replace(active, lag=lag))
    return replace(state, participants=participants, lag_receipt=receipt)


def _choose_next(held: Session, command: Switch, now_ms: int) -> Transition | None:
    """Return the transition that changes the next participant or plan item of a hold. None if both are the same.

    The event concerns the new next participant.
    """
    if command.next_participant_id is None and command.item_id is None:
        raise InvalidTransition(
            f"Session is not running (it is {held.status} between turns); resume it, or name what comes next"
        )
    chosen = held if command.item_id is None else with_next_item(held, command.item_id)
    position = held.active_position
    if command.next_participant_id is not None or names_participants(chosen):
        position = _next_position(chosen, command.next_participant_id)
    is_same_item = chosen.next_item_position == held.next_item_position
    if position == held.active_position and is_same_item:
        return None
    remaining_ms = held.remaining_ms if is_same_item else next_session_budget_ms(chosen)
    shown = show_next_turn(chosen, position, remaining_ms, now_ms)
    return Transition(make_event(EventType.CYCLE_SWITCHED, shown, now_ms), shown)


def _extend(ended: Session, flagged: bool, now_ms: int) -> tuple[Session, int | None]:
    """Return the state with the extension of a switch at `now_ms`, and the session's own budget for the next turn, ms.

    The budget is the full cycle in `per_cycle`, else the remaining budget, None if the session has no own budget. In
    `global` and `count_up` with `extend_on_switch_ms` (soft close), a switch before zero extends a low budget. In a
    session with an end, it moves the end.
    """
    if ended.ends_at_ms is not None:
        # The extension is the same as that of a budget with as much time as is left until the end.
        with_budget = replace(ended, ends_at_ms=None, remaining_ms=ended.ends_at_ms - now_ms)
        extended, extended_ms = _extend(with_budget, flagged, now_ms)
        assert extended_ms is not None
        return replace(extended, ends_at_ms=now_ms + extended_ms, remaining_ms=None), None
    rules, left_ms, before = ended.rules, next_session_budget_ms(ended), ended.extensions
    step_ms = rules.extend_on_switch_ms
    if step_ms is None or left_ms is None or flagged or rules.sync_mode is SyncMode.PER_CYCLE:
        return ended, left_ms
    if before is None:
        return ended, max(left_ms, step_ms)
    window_ms = step_ms if rules.extend_window_ms is None else rules.extend_window_ms
    is_last_used = rules.max_extensions is not None and before.count >= rules.max_extensions
    if left_ms > window_ms or is_last_used:
        return ended, left_ms
    added_ms = step_ms if rules.extend_by is ExtendBy.ADD else step_ms - left_ms
    if rules.max_extension_ms is not None:
        added_ms = min(added_ms, rules.max_extension_ms - before.added_ms)
    if added_ms <= 0:
        return ended, left_ms
    return replace(ended, extensions=Extensions(before.count + 1, before.added_ms + added_ms)), left_ms + added_ms


# -- the rotation -----------------------------------------------------------------------------------------------------


def next_in_rotation(state: Session, after: int | None) -> int | None:
    """Return the position of the next participant in the rotation after the position `after`, in `state.participants`.

    The search follows the index order and wraps around. If `after` is None, the search starts at the first participant.
    The result is `after` if only that participant is in the rotation, and None if no participant is in the rotation.
    """
    count = len(state.participants)
    first = 0 if after is None else after + 1
    for offset in range(count):
        position = (first + offset) % count
        if can_get_turns(state, state.participants[position]):
            return position
    return None


def _next_position(ended: Session, next_participant_id: str | None) -> int | None:
    if names_participants(ended):
        if next_participant_id is not None:
            raise ValidationFailed.at_path("next_participant_id", "the items of the plan name the participants")
        return None if ended.next_item_position is None else find_item_participant(ended)
    if next_participant_id is not None:
        position = find_participant_index(ended, next_participant_id)
        if not can_get_turns(ended, ended.participants[position]):
            raise ParticipantExpired(next_participant_id)
        return position
    following = next_in_rotation(ended, ended.active_position)
    if following is None and ended.participants:
        raise InvalidTransition(
            f"Can't switch: the session is {ended.status} and no participant has time left; adjust it first"
        )
    return following


# -- the end of a turn ------------------------------------------------------------------------------------------------


def has_flagged(charged: Session) -> bool:
    """Return whether the turn has reached its zero, because the session is paused at zero or is in overtime.

    No other case needs a check, because overdue transitions are applied before each command.
    """
    if is_paused_by_timeout(charged):
        return True
    if charged.rules.on_timeout is not OnTimeout.OVERTIME:
        return False
    left_ms = time_to_zero_ms(charged)
    return left_ms is not None and left_ms <= 0


def end_turn(charged: Session, flagged: bool, leaves_rotation: bool = False) -> Session:
    """Return the state after the end of the turn. `turn` of the result is a new, unused turn.

    Expects a state in which elapsed time is charged. The numbers of finished turns of the session and of the active
    participant grow by 1. The clock system then replenishes the running budget: after a flag if `flagged`, else after a
    turn. If `leaves_rotation`, the budget stays unchanged, because its owner gets no next turn. It also stays unchanged
    after a free first turn.
    """
    participants, groups = charged.participants, charged.groups
    # A hold keeps the version that began the ended turn. A turn that begins replaces it.
    turn = CurrentTurn(cycles=charged.turn.cycles + 1, began_version=charged.turn.began_version)
    used_ms, mode = charged.turn.used_ms, charged.rules.sync_mode
    if charged.active_position is not None:
        active = participants[charged.active_position]
        if mode is SyncMode.PER_PARTICIPANT and not leaves_rotation and not is_turn_free(charged):
            left = _finish(clock_system_for(charged, active), active, used_ms, flagged)
            active = replace(
                active,
                cycle_count=active.cycle_count + 1,
                remaining_ms=left.remaining_ms,
                reading=left.reading,
                has_expired=active.has_expired and left.remaining_ms <= 0,
            )
        else:
            active = replace(active, cycle_count=active.cycle_count + 1)
        participants = replace_item(participants, charged.active_position, active)
    is_group_turn = mode is SyncMode.PER_GROUP and not leaves_rotation
    if is_group_turn and (position := active_group_index(charged)) is not None:
        group = groups[position]
        left = _finish(charged.rules.clock, group, used_ms, flagged)
        has_expired = group.has_expired and left.remaining_ms <= 0
        group = replace(group, remaining_ms=left.remaining_ms, reading=left.reading, has_expired=has_expired)
        groups = replace_item(groups, position, group)
    return replace(end_item(charged), participants=participants, groups=groups, turn=turn)


def _finish(system: ClockSystem, budget: BudgetHolder, turn_used_ms: int, flagged: bool) -> BudgetHolder:
    return system.replenish_after_flag(budget) if flagged else system.replenish_after_turn(budget, turn_used_ms)


def next_session_budget_ms(state: Session) -> int | None:
    """Return the session's own budget for the next turn, ms: the full cycle in `per_cycle`, else the remaining time.

    With a plan, it is the time of the item at `next_item_position`. None if the session has no own budget.
    """
    if state.next_item_position is not None:
        return state.plan[state.next_item_position].time_ms
    is_per_cycle = state.rules.sync_mode is SyncMode.PER_CYCLE
    return state.rules.time_per_cycle_ms if is_per_cycle else state.remaining_ms


def has_ended_last_cycle(ended: Session) -> bool:
    """Return whether the turn that has just ended was the last cycle of a `per_cycle` session.

    With a plan, it was the last cycle if no item is at `next_item_position`.
    """
    if ended.plan:
        return ended.next_item_position is None
    limit = ended.rules.max_cycles or MAX_CYCLES
    return ended.rules.sync_mode is SyncMode.PER_CYCLE and ended.turn.cycles >= limit
