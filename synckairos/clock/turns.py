"""Turns: who begins, who is next, and what the end of a turn does."""

from synckairos.clock.clock_systems import BudgetLike, ClockSystem
from synckairos.clock.commands import Switch
from synckairos.clock.lag_compensation import compensate, trust_lag_claim
from synckairos.clock.model import (
    MAX_CYCLES,
    EventType,
    OnTimeout,
    Participant,
    Session,
    Status,
    SyncMode,
    Transition,
    Turn,
)
from synckairos.clock.pauses import is_paused_at_zero, lift_pause_at_zero
from synckairos.clock.timing import (
    active_group_position,
    charge_until,
    clock_system_for,
    group_position,
    reached_warnings_ms,
    replace_item,
    time_to_zero_ms,
)
from synckairos.clock.transitions import close_session, make_event, participant_position
from synckairos.errors import InvalidTransition, NotActiveParticipant, ParticipantExpired
from synckairos.fast_dataclass import replace


def start(state: Session, now_ms: int) -> Transition:
    """Begin: the designated participant, or the first in index order, is active."""
    first = state.active if state.active is not None else next_in_rotation(state, None)
    running = replace(state, status=Status.RUNNING, started_at_ms=now_ms)
    begun = begin_turn(running, first, state.remaining_ms, now_ms)
    return Transition(make_event(EventType.SESSION_STARTED, begun, now_ms), begun)


def switch(state: Session, command: Switch, now_ms: int) -> Transition:
    """End the turn and begin the next one's. The event is about the one whose turn ended.

    Raises:
        InvalidTransition: paused, and not at zero; or nobody has time left.
        NotActiveParticipant: `current_participant_id` isn't the one whose turn it is.
        ParticipantNotFound: `next_participant_id` isn't there.
        ParticipantExpired: `next_participant_id` has no time left.
    """
    at_zero = is_paused_at_zero(state)
    if state.status is Status.PAUSED and not at_zero:
        raise InvalidTransition(f"Session is not running (it is {state.status}); resume it first")
    active = state.active_participant
    presser = command.current_participant_id
    if presser is not None and (active is None or active.participant_id != presser):
        raise NotActiveParticipant(presser, None if active is None else active.participant_id)
    accounted = _compensate_lag(state, command, now_ms)
    receipt = accounted.lag_receipt
    settled = charge_until(accounted, now_ms if receipt is None else now_ms - receipt.compensated_ms)
    flagged = has_flagged(settled)
    ended = end_turn(settled, flagged)
    follower = _next_position(ended, command.next_participant_id)
    if is_last_cycle(ended):
        return close_session(ended, Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms)
    ended_by = None if ended.active is None else ended.participants[ended.active]
    begun = begin_turn(ended, follower, _budget_after_switch_ms(ended, flagged), now_ms)
    if at_zero:
        begun = lift_pause_at_zero(begun, now_ms)
    return Transition(make_event(EventType.CYCLE_SWITCHED, begun, now_ms, ended_by), begun)


def _compensate_lag(state: Session, command: Switch, now_ms: int) -> Session:
    """Draw up the receipt of the turn that ends, where lag is compensated: the turn ended that much before `now_ms`."""
    active = state.active_participant
    if active is None or active.lag is None:
        return state
    elapsed_ms = 0 if state.anchor_ms is None else max(0, now_ms - state.anchor_ms)
    trusted_lag_ms = trust_lag_claim(command.lag_ms, command.measured_lag_ms)
    lag, receipt = compensate(active.lag, active.participant_id, elapsed_ms, trusted_lag_ms)
    assert state.active is not None
    return replace(
        state,
        participants=replace_item(state.participants, state.active, replace(active, lag=lag)),
        lag_receipt=receipt,
    )


def _budget_after_switch_ms(ended: Session, flagged: bool) -> int | None:
    """Return the session's own budget for the next turn: fresh in `per_cycle`, else what is left of it.

    A soft close lets no accepted switch leave less than `extend_on_switch_ms`; at zero it comes too late.
    """
    left_ms, at_least_ms = next_turn_budget_ms(ended), ended.rules.extend_on_switch_ms
    if at_least_ms is None or left_ms is None or flagged or ended.rules.sync_mode is SyncMode.PER_CYCLE:
        return left_ms
    return max(left_ms, at_least_ms)


# -- the rotation -----------------------------------------------------------------------------------------------------


def is_in_rotation(state: Session, participant: Participant) -> bool:
    """Tell whether turns come to this participant: its time, or its group's, hasn't run out."""
    if state.rules.on_timeout is OnTimeout.OVERTIME:
        return True
    if state.rules.sync_mode is SyncMode.PER_GROUP:
        at = group_position(state, participant.group_id)
        return at is None or not state.groups[at].has_expired
    return not participant.has_expired


def next_in_rotation(state: Session, after: int | None) -> int | None:
    """Return the position of the next in index order after `after`, around, whose turn can come.

    It can be `after` itself; None where nobody is left.
    """
    count = len(state.participants)
    first = 0 if after is None else after + 1
    for offset in range(count):
        at = (first + offset) % count
        if is_in_rotation(state, state.participants[at]):
            return at
    return None


def _next_position(ended: Session, next_participant_id: str | None) -> int | None:
    if next_participant_id is not None:
        at = participant_position(ended, next_participant_id)
        if not is_in_rotation(ended, ended.participants[at]):
            raise ParticipantExpired(next_participant_id)
        return at
    follower = next_in_rotation(ended, ended.active)
    if follower is None and ended.participants:
        raise InvalidTransition(
            f"Can't switch: the session is {ended.status} and nobody has time left; adjust it first"
        )
    return follower


# -- ending and beginning turns ---------------------------------------------------------------------------------------


def has_flagged(settled: Session) -> bool:
    """Tell whether the turn has run past its zero: it waits there, or is in overtime. Else the chain came before."""
    if is_paused_at_zero(settled):
        return True
    if settled.rules.on_timeout is not OnTimeout.OVERTIME:
        return False
    left_ms = time_to_zero_ms(settled)
    return left_ms is not None and left_ms <= 0


def end_turn(state: Session, flagged: bool, is_out: bool = False) -> Session:
    """Count the settled turn, and give the owner of the budget what its clock system gives at the end of one.

    Nothing is given to who `flagged`, and who `is_out` gets no next turn made ready. `turn` is the next one's, unused.
    """
    participants, groups = state.participants, state.groups
    used_ms, mode = state.turn.used_ms, state.rules.sync_mode
    if state.active is not None:
        active = participants[state.active]
        if mode is SyncMode.PER_PARTICIPANT and not is_out:
            left = _end(clock_system_for(state, active), active, used_ms, flagged)
            active = replace(
                active,
                cycle_count=active.cycle_count + 1,
                remaining_ms=left.remaining_ms,
                reading=left.reading,
                has_expired=active.has_expired and left.remaining_ms <= 0,
            )
        else:
            active = replace(active, cycle_count=active.cycle_count + 1)
        participants = replace_item(participants, state.active, active)
    if mode is SyncMode.PER_GROUP and not is_out and (at := active_group_position(state)) is not None:
        group = groups[at]
        left = _end(state.rules.clock, group, used_ms, flagged)
        has_expired = group.has_expired and left.remaining_ms <= 0
        group = replace(group, remaining_ms=left.remaining_ms, reading=left.reading, has_expired=has_expired)
        groups = replace_item(groups, at, group)
    return replace(state, participants=participants, groups=groups, turn=Turn(cycles=state.turn.cycles + 1))


def _end(system: ClockSystem, budget: BudgetLike, turn_used_ms: int, flagged: bool) -> BudgetLike:
    return system.finish_flagged_turn(budget) if flagged else system.finish_turn(budget, turn_used_ms)


def begin_turn(state: Session, active: int | None, remaining_ms: int | None, at_ms: int) -> Session:
    """Give the unused turn to `active` from `at_ms`, one version on; `remaining_ms` is the session's own budget."""
    begun = replace(
        state,
        version=state.version + 1,
        updated_at_ms=at_ms,
        active=active,
        remaining_ms=remaining_ms,
        anchor_ms=at_ms,
    )
    if passed := reached_warnings_ms(begun):
        # A clock that begins its turn below a threshold doesn't cross it.
        return replace(begun, turn=Turn(0, state.turn.cycles, passed))
    return begun


def next_turn_budget_ms(state: Session) -> int | None:
    """Return the session's own budget for a next turn: the whole cycle's in `per_cycle`, else what is left of it."""
    is_per_cycle = state.rules.sync_mode is SyncMode.PER_CYCLE
    return state.rules.time_per_cycle_ms if is_per_cycle else state.remaining_ms


def is_last_cycle(ended: Session) -> bool:
    """Tell whether the turn that ended was the last one of a `per_cycle` session."""
    limit = ended.rules.max_cycles or MAX_CYCLES
    return ended.rules.sync_mode is SyncMode.PER_CYCLE and ended.turn.cycles >= limit
