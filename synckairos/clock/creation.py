"""Creation of a session with its rules, participants and groups.

If the command omits a value that the mode needs, the mode implies that value.
"""

from synckairos.clock.clock_systems import ClockSystem, Fischer, SuddenDeath
from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.individual.clock_rows import ClockRows
from synckairos.clock.individual.row_clock import read_budget, scale_time
from synckairos.clock.individual_clock import IndividualClock
from synckairos.clock.lag_compensation import open_lag_account
from synckairos.clock.make_transition import find_participant_index, make_session_event
from synckairos.clock.model import (
    MAX_CYCLES,
    Extensions,
    Group,
    OnTimeout,
    Participant,
    Rules,
    Session,
    Status,
    SyncMode,
)
from synckairos.clock.recorded_times import record_session
from synckairos.clock.start_and_end import check_start_and_end
from synckairos.clock.timing import clock_system_for
from synckairos.clock.transition import EventType, Transition
from synckairos.frozen_replace import replace

MODES_WITH_OWN_BUDGETS = frozenset({SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP})
"""Modes in which each budget belongs to a participant or a group.

Only these modes allow a clock system other than sudden death.
"""


def create(spec: Create, session_id: str, epoch: str, now_ms: int) -> Transition:
    """Return the transition that creates a session at version 1. The mode implies each value that `spec` omits.

    The session is pending, or completed if `spec` has recorded times.

    `wire` must have checked `spec`: participant ids are unique, `active_participant_id` is one of them, and the budgets
    that the mode needs are given.

    Raises: ValidationFailed if `starts_at_ms` or `ends_at_ms` of `spec` is in the past or too far in the future, or if
        the recorded times are not possible.
    """
    check_start_and_end(spec.starts_at_ms, spec.ends_at_ms, now_ms)
    mode = spec.sync_mode
    rules = Rules(
        session_id=session_id,
        sync_mode=mode,
        on_timeout=spec.on_timeout or (OnTimeout.ADVANCE if mode is SyncMode.PER_CYCLE else OnTimeout.EXPIRE),
        created_at_ms=now_ms,
        clock=_clock_in_effect(spec),
        increment_ms=spec.increment_ms,
        time_per_cycle_ms=spec.time_per_cycle_ms,
        max_time_ms=spec.max_time_ms,
        max_cycles=(spec.max_cycles or MAX_CYCLES) if mode is SyncMode.PER_CYCLE and not spec.plan else spec.max_cycles,
        warnings_ms=tuple(sorted(set(spec.warnings_ms), reverse=True)),
        extend_on_switch_ms=spec.extend_on_switch_ms,
        pause_budget=spec.pause_budget,
        lag_compensation=spec.lag_compensation,
        extend_window_ms=spec.extend_window_ms,
        extend_by=spec.extend_by,
        max_extension_ms=spec.max_extension_ms,
        max_extensions=spec.max_extensions,
        switch_while_paused=spec.switch_while_paused,
        holds_between_turns=spec.holds_between_turns,
        initial_ms=spec.initial_ms,
        closes_when_all_done=spec.closes_when_all_done,
        free_first_turn_ms=spec.free_first_turn_ms,
        rest=spec.rest,
    )
    empty = Session(
        rules=rules,
        epoch=epoch,
        version=1,
        status=Status.PENDING,
        updated_at_ms=now_ms,
        remaining_ms=_session_budget_ms(spec),
        used_ms=spec.initial_ms or 0,
        metadata=spec.metadata,
        labels=spec.labels,
        turn_number=None if spec.edition == 1 else 0,
        extensions=None if spec.edition == 1 or spec.extend_on_switch_ms is None else Extensions(),
        starts_at_ms=spec.starts_at_ms,
        ends_at_ms=spec.ends_at_ms,
        plan=spec.plan,
    )
    participants = _participants(spec, empty)
    if mode is SyncMode.INDIVIDUAL:
        participants = ClockRows(read_budget(empty, row, now_ms) for row in participants)
    state = replace(empty, participants=participants, groups=_groups(spec, empty, participants))
    if spec.recorded is not None:
        return record_session(state, spec.recorded, now_ms)
    created = make_session_event(EventType.SESSION_CREATED, state, now_ms)
    if spec.active_participant_id is not None and mode is not SyncMode.INDIVIDUAL:
        state = replace(state, active_position=find_participant_index(state, spec.active_participant_id))
    return Transition(created, state)


def _clock_in_effect(spec: Create) -> ClockSystem:
    """Return the clock system that `spec` names, or else the clock system that its other fields imply.

    In `per_participant` and `per_group`, an `increment_ms` above 0 implies fischer. In all other cases the default is
    sudden death.
    """
    if spec.clock is not None:
        return spec.clock
    if spec.increment_ms and spec.sync_mode in MODES_WITH_OWN_BUDGETS:
        return Fischer(spec.increment_ms)
    return SuddenDeath()


def _session_budget_ms(spec: Create) -> int | None:
    """Return the budget of the session itself in ms.

    None if the budgets belong to participants or groups, or if there is no time limit.
    """
    match spec.sync_mode:
        case SyncMode.GLOBAL:
            return spec.time_per_cycle_ms if spec.total_time_ms is None else spec.total_time_ms
        case SyncMode.PER_CYCLE:
            return spec.plan[0].time_ms if spec.plan else spec.time_per_cycle_ms
        case SyncMode.COUNT_UP:
            return None if spec.max_time_ms is None else spec.max_time_ms - (spec.initial_ms or 0)
        case _:
            return None


# -- participants -----------------------------------------------------------------------------------------------------


def _participants(spec: Create, state: Session) -> tuple[Participant, ...]:
    """Return the participants in index order.

    The default index of a participant is its position in `spec.participants`.
    """
    group_budgets = {group.group_id: group.total_time_ms for group in spec.groups}
    created = (
        new_participant(
            state,
            new,
            position if new.index is None else new.index,
            _initial_budget_ms(spec, new, group_budgets),
        )
        for position, new in enumerate(spec.participants)
    )
    return tuple(sorted(created, key=lambda participant: participant.index))


def _initial_budget_ms(spec: Create, new: NewParticipant, group_budgets: dict[str, int | None]) -> int:
    """Return the initial budget of a participant in ms.

    In `per_cycle` it is 0, because the budget belongs to the cycle. In other modes it is the participant's given
    budget. Without a given budget it is `max_time_ms` in `count_up`, the group's budget in `per_group`, and else
    `total_time_ms` or `time_per_cycle_ms`.
    """
    if spec.sync_mode is SyncMode.PER_CYCLE:
        return 0
    if new.total_time_ms is not None:
        return new.total_time_ms
    match spec.sync_mode:
        case SyncMode.COUNT_UP:
            return spec.max_time_ms or 0
        case SyncMode.PER_GROUP:
            return group_budgets.get(new.group_id or "") or 0
        case _:
            return (spec.time_per_cycle_ms or 0) if spec.total_time_ms is None else spec.total_time_ms


def new_participant(state: Session, new: NewParticipant, index: int, budget_ms: int) -> Participant:
    """Return a participant that has had no turn, with the initial budget that its clock system makes from `budget_ms`.

    In `individual`, the budget is `budget_ms` times the time factor. In modes other than these two, `budget_ms` is the
    participant's share.
    """
    participant = Participant(
        participant_id=new.participant_id,
        index=index,
        remaining_ms=budget_ms,
        display_name=new.display_name,
        group_id=new.group_id,
        clock=new.clock,
    )
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        clock = IndividualClock(time_factor=new.time_factor)
        return replace(participant, remaining_ms=scale_time(budget_ms, new.time_factor), individual=clock)
    if state.rules.sync_mode is not SyncMode.PER_PARTICIPANT:
        return participant
    system = clock_system_for(state, participant)
    budget = system.make_initial_budget(budget_ms)
    lag = None
    if state.rules.lag_compensation:
        lag = open_lag_account(system, budget_ms, counts_byoyomi=new.counts_byoyomi)
    return replace(participant, remaining_ms=budget.remaining_ms, reading=budget.reading, lag=lag)


# -- groups -----------------------------------------------------------------------------------------------------------


def _groups(spec: Create, state: Session, participants: tuple[Participant, ...]) -> tuple[Group, ...]:
    """Return the groups in `spec.groups`, then the groups that are named only in the `group_id` of participants.

    The default budget of a group is the sum of the budgets of its participants.
    """
    budgets = {group.group_id: group.total_time_ms for group in spec.groups}
    sums = dict.fromkeys(budgets, 0)
    for participant in participants:
        if participant.group_id is not None:
            budgets.setdefault(participant.group_id, None)
            sums[participant.group_id] = sums.get(participant.group_id, 0) + participant.remaining_ms
    return tuple(
        new_group(state, group_id, sums[group_id] if budget_ms is None else budget_ms)
        for group_id, budget_ms in budgets.items()
    )


def new_group(state: Session, group_id: str, budget_ms: int) -> Group:
    """Return a group that has had no turn. In `per_group`, the clock system makes its budget from `budget_ms`.

    In other modes its budget is `budget_ms`, except in `individual`, in which groups have no time.
    """
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return Group(group_id, 0)
    if state.rules.sync_mode is not SyncMode.PER_GROUP:
        return Group(group_id, budget_ms)
    budget = state.rules.clock.make_initial_budget(budget_ms)
    return Group(group_id, budget.remaining_ms, reading=budget.reading)
