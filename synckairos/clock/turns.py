"""Turns: start, switch, the rotation, and the end and beginning of a turn."""

from synckairos.clock.clock_systems import BudgetHolder, ClockSystem
from synckairos.clock.commands import Switch
from synckairos.clock.lag_compensation import compensate_lag, limit_lag_claim
from synckairos.clock.make_transition import find_participant_index, make_end_transition, make_event
from synckairos.clock.model import (
    MAX_CYCLES,
    CurrentTurn,
    EventType,
    OnTimeout,
    Participant,
    Session,
    Status,
    SyncMode,
    Transition,
)
from synckairos.clock.pauses import is_paused_by_timeout, lift_timeout_pause
from synckairos.clock.timing import (
    active_group_index,
    charge_session_until,
    clock_system_for,
    find_group_index,
    reached_warning_thresholds_ms,
    replace_item,
    time_to_zero_ms,
)
from synckairos.errors import InvalidTransition, NotActiveParticipant, ParticipantExpired
from synckairos.frozen_replace import replace


def start(state: Session, now_ms: int) -> Transition:
    """Return the transition that starts the session and its first turn.

    The first turn belongs to the `active_participant_id` of the creation, or else to the first participant in index
    order.
    """
    first = state.active_position if state.active_position is not None else next_in_rotation(state, None)
    running = replace(state, status=Status.RUNNING, started_at_ms=now_ms)
    begun = begin_turn(running, first, state.remaining_ms, now_ms)
    return Transition(make_event(EventType.SESSION_STARTED, begun, now_ms), begun)


def switch(state: Session, command: Switch, now_ms: int) -> Transition:
    """Return the transition that ends the turn and begins the next turn. After the last cycle it completes the session.

    The event concerns the participant whose turn ended.

    Raises:
        InvalidTransition: the session is paused, but not at zero. Or the command names no next participant, and no
            participant has time left.
        NotActiveParticipant: the participant `current_participant_id` does not have the turn.
        ParticipantNotFound: the session has no participant `next_participant_id`.
        ParticipantExpired: the participant `next_participant_id` has no time left.
    """
    at_zero = is_paused_by_timeout(state)
    if state.status is Status.PAUSED and not at_zero:
        raise InvalidTransition(f"Session is not running (it is {state.status}); resume it first")
    active = state.active_participant
    expected_id = command.current_participant_id
    if expected_id is not None and (active is None or active.participant_id != expected_id):
        raise NotActiveParticipant(expected_id, None if active is None else active.participant_id)
    compensated = _compensate_lag(state, command, now_ms)
    receipt = compensated.lag_receipt
    charged = charge_session_until(compensated, now_ms if receipt is None else now_ms - receipt.compensated_ms)
    flagged = has_flagged(charged)
    ended = end_turn(charged, flagged)
    position = _next_position(ended, command.next_participant_id)
    if has_ended_last_cycle(ended):
        return make_end_transition(ended, Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms)
    begun = begin_turn(ended, position, _budget_after_switch_ms(ended, flagged), now_ms)
    if at_zero:
        begun = lift_timeout_pause(begun, now_ms)
    return Transition(make_event(EventType.CYCLE_SWITCHED, begun, now_ms, ended.active_participant), begun)


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


def _budget_after_switch_ms(ended: Session, flagged: bool) -> int | None:
    """Return the session's own budget for the next turn, ms: the full cycle in `per_cycle`, else the remaining budget.

    In `global` and `count_up` with `extend_on_switch_ms` (soft close), a switch before zero raises a lower budget to
    `extend_on_switch_ms`. None if the session has no own budget.
    """
    left_ms, at_least_ms = next_session_budget_ms(ended), ended.rules.extend_on_switch_ms
    if at_least_ms is None or left_ms is None or flagged or ended.rules.sync_mode is SyncMode.PER_CYCLE:
        return left_ms
    return max(left_ms, at_least_ms)


# -- the rotation -----------------------------------------------------------------------------------------------------


def can_get_turns(state: Session, participant: Participant) -> bool:
    """Return whether this participant can still get turns.

    This is True if the participant's own time, or in `per_group` the time of its group, has not run out. Under
    `on_timeout: overtime` it is always True.
    """
    if state.rules.on_timeout is OnTimeout.OVERTIME:
        return True
    if state.rules.sync_mode is SyncMode.PER_GROUP:
        position = find_group_index(state, participant.group_id)
        return position is None or not state.groups[position].has_expired
    return not participant.has_expired


def next_in_rotation(state: Session, after: int | None) -> int | None:
    """Return the position of the first participant in the rotation after the position `after`, None if there is none.

    If `after` is None, the search starts at the first participant. The search follows the index order and wraps around.
    The result is `after` if only that participant is in the rotation.
    """
    count = len(state.participants)
    first = 0 if after is None else after + 1
    for offset in range(count):
        position = (first + offset) % count
        if can_get_turns(state, state.participants[position]):
            return position
    return None


def _next_position(ended: Session, next_participant_id: str | None) -> int | None:
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


# -- the end and the beginning of a turn ------------------------------------------------------------------------------


def has_flagged(charged: Session) -> bool:
    """Return whether the turn has reached its zero: the session is paused at zero, or it is in overtime.

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
    turn. If `leaves_rotation`, the budget stays unchanged, because its owner gets no next turn.
    """
    participants, groups = charged.participants, charged.groups
    used_ms, mode = charged.turn.used_ms, charged.rules.sync_mode
    if charged.active_position is not None:
        active = participants[charged.active_position]
        if mode is SyncMode.PER_PARTICIPANT and not leaves_rotation:
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
    return replace(charged, participants=participants, groups=groups, turn=CurrentTurn(cycles=charged.turn.cycles + 1))


def _finish(system: ClockSystem, budget: BudgetHolder, turn_used_ms: int, flagged: bool) -> BudgetHolder:
    return system.replenish_after_flag(budget) if flagged else system.replenish_after_turn(budget, turn_used_ms)


def begin_turn(state: Session, active_position: int | None, remaining_ms: int | None, at_ms: int) -> Session:
    """Return the state, with the next version, after the beginning of a turn at `at_ms`.

    `active_position` is the position of the participant of the new turn, None if the session has no participant.
    `remaining_ms` is the session's own budget for the new turn, None if the session has no own budget. The turn number
    grows by 1.
    """
    begun = replace(
        state,
        version=state.version + 1,
        updated_at_ms=at_ms,
        active_position=active_position,
        remaining_ms=remaining_ms,
        anchor_ms=at_ms,
        turn_number=None if state.turn_number is None else state.turn_number + 1,
    )
    # A turn that begins below a threshold does not cross that threshold, so it gets no warning for that threshold. A
    # turn that begins at or below zero does not cross zero.
    reached = reached_warning_thresholds_ms(begun)
    is_in_overtime = begins_in_overtime(begun)
    if reached or is_in_overtime:
        return replace(begun, turn=CurrentTurn(0, state.turn.cycles, reached, is_in_overtime))
    return begun


def begins_in_overtime(begun: Session) -> bool:
    """Return whether the clock of a turn is at or below zero and continues. Always False in the first edition."""
    if begun.rules.on_timeout is not OnTimeout.OVERTIME or not begun.is_second_edition:
        return False
    left_ms = time_to_zero_ms(begun)
    return left_ms is not None and left_ms <= 0


def next_session_budget_ms(state: Session) -> int | None:
    """Return the session's own budget for the next turn, ms: the full cycle in `per_cycle`, else the remaining time.

    None if the session has no own budget.
    """
    is_per_cycle = state.rules.sync_mode is SyncMode.PER_CYCLE
    return state.rules.time_per_cycle_ms if is_per_cycle else state.remaining_ms


def has_ended_last_cycle(ended: Session) -> bool:
    """Return whether the turn that has just ended was the last cycle of a `per_cycle` session."""
    limit = ended.rules.max_cycles or MAX_CYCLES
    return ended.rules.sync_mode is SyncMode.PER_CYCLE and ended.turn.cycles >= limit
