"""Overdue transitions: changes that become due by time without a command.

Each overdue transition takes effect at the instant at which it was due, even if it is committed much later. Only in a
recovered session, a transition that was due before the recovery takes effect at the instant of the recovery.
"""

from synckairos.clock.active_pause import REST_REASON, TIMEOUT_REASON, ActivePause
from synckairos.clock.begin_turn import begin_turn, hold
from synckairos.clock.charges import with_charges
from synckairos.clock.commands import Start, Switch
from synckairos.clock.individual.clock_commands import start as start_clocks
from synckairos.clock.individual.overdue_clocks import make_due_transition
from synckairos.clock.make_transition import (
    make_end_transition,
    make_event,
    make_turn_end_event,
    with_next_version,
)
from synckairos.clock.model import OnTimeout, Session, Status, SyncMode
from synckairos.clock.pauses import make_pause_end_transition, make_pause_transition
from synckairos.clock.plan_items import find_item_participant, names_participants, with_next_item
from synckairos.clock.rest_days import is_rest, next_rest_of
from synckairos.clock.timing import active_group_index, charge_session_until, is_turn_free, replace_item
from synckairos.clock.transition import EventType, Transition
from synckairos.clock.turns import (
    end_turn,
    has_ended_last_cycle,
    next_in_rotation,
    next_session_budget_ms,
    start,
    switch,
)
from synckairos.clock.upcoming_event import UpcomingEvent, next_upcoming_event, warning_without_free_time
from synckairos.frozen_replace import replace

MAX_OVERDUE = 64
"""Maximum number of overdue transitions in one decision.

Further transitions follow in further decisions, so that each commit has a bounded size.
"""

ADVANCE_EVENTS = {
    SyncMode.PER_PARTICIPANT: EventType.PARTICIPANT_EXPIRED,
    SyncMode.PER_GROUP: EventType.GROUP_EXPIRED,
    SyncMode.PER_CYCLE: EventType.CYCLE_EXPIRED,
}
"""Type of the timeout event under `on_timeout: advance`. Modes without a next turn to begin are missing."""

EVENTS_WITHIN_TURN = frozenset(
    {
        EventType.SESSION_STARTED,
        EventType.TIME_WARNING,
        EventType.OVERTIME_STARTED,
        EventType.SESSION_RESUMED,
    }
)
"""Types of overdue transitions that do not end the turn."""


def overdue_transitions(
    state: Session, now_ms: int, *, waits_for_grace: bool = False
) -> tuple[tuple[Transition, ...], bool]:
    """Return the transitions that are overdue at `now_ms`, in order, and whether some overdue transitions are missing.

    If `waits_for_grace` is True, a timeout is overdue only after its grace at the flag.

    Transitions can be missing only after the first `MAX_OVERDUE` transitions. The first missing transition is then a
    timeout, except in `individual` and with rest days. So a command that is decided later still meets that timeout.
    """
    overdue: list[Transition] = []
    while (due := next_upcoming_event(state)) is not None:
        if (due.committed_at_ms if waits_for_grace else due.at_ms) > now_ms:
            break
        if len(overdue) >= MAX_OVERDUE and (
            due.kind in ("timeout", "rest") or state.rules.sync_mode is SyncMode.INDIVIDUAL
        ):
            return tuple(overdue), True
        overdue.append(with_charges(state, _make_due_transition(state, due)))
        state = overdue[-1].state
    return tuple(overdue), False


def state_before_first_timeout(before: Session, overdue: tuple[Transition, ...]) -> Session | None:
    """Return the state just before the first timeout in `overdue`, None if no transition in `overdue` is a timeout.

    `before` is the state to which the first transition in `overdue` applies.
    """
    state = before
    for transition in overdue:
        if transition.event.type not in EVENTS_WITHIN_TURN and not _begins_rest(state, transition.state):
            return state
        state = transition.state
    return None


def _begins_rest(before: Session, after: Session) -> bool:
    return len(after.pauses) > len(before.pauses) and is_rest(after.pauses[-1])


def _make_due_transition(state: Session, due: UpcomingEvent) -> Transition:
    # A recovered session can have a transition that was due before its recovery. Such a transition takes effect at the
    # instant of the recovery.
    at_ms = max(due.at_ms, state.updated_at_ms)
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return start_clocks(state, Start(), at_ms) if due.kind == "start" else make_due_transition(state, at_ms)
    match due.kind:
        case "start":
            return start(state, at_ms)
        case "rest":
            return _begin_rest(charge_session_until(state, at_ms), at_ms)
        case "all_done":
            ended = switch(state, Switch(), at_ms)
            assert ended is not None
            return ended
        case "warning":
            return _warn(state, due.warning_ms, at_ms)
        case "overtime":
            return _start_overtime(state, at_ms)
        case "pause_end":
            return make_pause_end_transition(
                state, tuple(pause for pause in state.pauses if pause.lifts_at_ms == due.at_ms), at_ms
            )
        case "timeout" | "end":
            return _time_out(charge_session_until(state, due.at_ms), at_ms)


def _begin_rest(charged: Session, at_ms: int) -> Transition:
    """Return the transition that pauses the session until the end of the rest that contains `at_ms`."""
    rest = next_rest_of(replace(charged, updated_at_ms=at_ms))
    assert rest is not None
    return make_pause_transition(charged, ActivePause(REST_REASON, at_ms, rest.ends_at_ms - at_ms))


def _warn(state: Session, threshold_ms: int, at_ms: int) -> Transition:
    """Return the transition of a warning. The clock continues: the anchor stays and no time is charged."""
    turn = replace(state.turn, warned_ms=(*state.turn.warned_ms, threshold_ms))
    warned = replace(with_next_version(state, at_ms), turn=turn)
    event = make_event(EventType.TIME_WARNING, charge_session_until(warned, at_ms), at_ms)
    return Transition(replace(event, remaining_ms=threshold_ms), warned)


def make_warning_without_free_time(state: Session, at_ms: int) -> Transition | None:
    """Return the warning that earlier releases committed at `at_ms`, None if they committed none at this instant.

    They did not count the free time of a turn that begins below zero. Only a replay of their event rows needs this.
    """
    due = warning_without_free_time(state)
    if due is None or max(due.at_ms, state.updated_at_ms) != at_ms:
        return None
    return _warn(state, due.warning_ms, at_ms)


def _start_overtime(state: Session, at_ms: int) -> Transition:
    """Return the transition at the zero of a clock that continues below zero. The anchor stays, and no time is charged.

    From this transition on, the clock has no deadline.
    """
    begun = replace(with_next_version(state, at_ms), turn=replace(state.turn, is_in_overtime=True))
    event = make_event(EventType.OVERTIME_STARTED, charge_session_until(begun, at_ms), at_ms)
    return Transition(event, begun)


def _time_out(charged: Session, at_ms: int) -> Transition:
    """Return the transition of the action `on_timeout`, at the zero of the clock.

    At the limit of a free first turn, return the transition that cancels the session. Expects a state in which elapsed
    time is charged.
    """
    if is_turn_free(charged):
        return make_end_transition(charged, Status.CANCELLED, EventType.SESSION_CANCELLED, at_ms)
    expired = _mark_expired(charged)
    match charged.rules.on_timeout:
        case OnTimeout.ADVANCE:
            return _advance(expired, at_ms)
        case OnTimeout.PAUSE:
            return make_pause_transition(expired, ActivePause(TIMEOUT_REASON, at_ms))
        case _:
            return make_end_transition(expired, Status.EXPIRED, EventType.SESSION_EXPIRED, at_ms)


def _mark_expired(state: Session) -> Session:
    """Return the state in which the owner of the running budget is marked as expired.

    The owner is the active participant in `per_participant`, or its group in `per_group`. In other modes the state is
    unchanged.
    """
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT if state.active_position is not None:
            flagged = replace(state.participants[state.active_position], has_expired=True)
            return replace(state, participants=replace_item(state.participants, state.active_position, flagged))
        case SyncMode.PER_GROUP if (position := active_group_index(state)) is not None:
            group = replace(state.groups[position], has_expired=True)
            return replace(state, groups=replace_item(state.groups, position, group))
        case _:
            return state


def _advance(expired: Session, at_ms: int) -> Transition:
    """Return the transition that ends the turn and begins the next turn at the same instant, or a hold.

    If no participant in the rotation or no cycle is left, the session expires instead. It also expires in `global` and
    `count_up`, because there no other budget can run. After the last item of a plan, the session completes.
    """
    ended = with_next_item(end_turn(expired, flagged=True, leaves_rotation=True), None)
    if ended.plan and ended.next_item_position is None:
        return make_end_transition(ended, Status.COMPLETED, EventType.SESSION_COMPLETED, at_ms)
    position = next_in_rotation(ended, ended.active_position)
    event_type = ADVANCE_EVENTS.get(ended.rules.sync_mode)
    if names_participants(ended):
        position = find_item_participant(ended)
    elif event_type is None or position is None or has_ended_last_cycle(ended):
        return make_end_transition(ended, Status.EXPIRED, EventType.SESSION_EXPIRED, at_ms)
    begin = hold if ended.rules.holds_between_turns else begin_turn
    begun = begin(ended, position, next_session_budget_ms(ended), at_ms)
    assert event_type is not None
    return Transition(make_turn_end_event(event_type, ended, begun, at_ms), begun)
