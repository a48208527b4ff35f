"""What time does by itself: the links that fell due, each effective at its own instant, however late noticed."""

from synckairos.clock.model import (
    TIMEOUT_REASON,
    EventType,
    OnTimeout,
    PauseReason,
    Session,
    Status,
    SyncMode,
    Transition,
)
from synckairos.clock.pauses import add_pause, lift_pauses
from synckairos.clock.timing import DueEvent, active_group_position, charge_until, next_due_event, replace_item
from synckairos.clock.transitions import close_session, make_event, make_transition
from synckairos.clock.turns import begin_turn, end_turn, is_last_cycle, next_in_rotation, next_turn_budget_ms
from synckairos.fast_dataclass import replace

MAX_OVERDUE = 64
"""Links after which a chain is cut, to go on in another decision: no commit grows without bound."""

ADVANCE_EVENTS = {
    SyncMode.PER_PARTICIPANT: EventType.PARTICIPANT_EXPIRED,
    SyncMode.PER_GROUP: EventType.GROUP_EXPIRED,
    SyncMode.PER_CYCLE: EventType.CYCLE_EXPIRED,
}
"""What running out is called in the modes that have somebody or something to advance to."""


def overdue_transitions(state: Session, now_ms: int) -> tuple[tuple[Transition, ...], bool]:
    """Return what fell due up to `now_ms` in order, and whether the chain was cut.

    It is cut only before a timeout, so that what meets the rest of it still meets an expiry.
    """
    overdue: list[Transition] = []
    while (due := next_due_event(state)) is not None and due.at_ms <= now_ms:
        if len(overdue) >= MAX_OVERDUE and due.kind == "timeout":
            return tuple(overdue), True
        overdue.append(_make_due_transition(state, due))
        state = overdue[-1].state
    return tuple(overdue), False


def state_before_first_timeout(before: Session, overdue: tuple[Transition, ...]) -> Session | None:
    """Return the state whose clock ran out first among these overdue, None where none did."""
    state = before
    for link in overdue:
        if link.event.type not in (EventType.TIME_WARNING, EventType.SESSION_RESUMED):
            return state
        state = link.state
    return None


def _make_due_transition(state: Session, due: DueEvent) -> Transition:
    # A recovered session may be due before the version that recovered it: it takes effect no earlier than that.
    at_ms = max(due.at_ms, state.updated_at_ms)
    match due.kind:
        case "warning":
            return _warn(state, due.warning_ms, at_ms)
        case "lift":
            return lift_pauses(state, tuple(pause for pause in state.pauses if pause.lifts_at_ms == due.at_ms), at_ms)
        case "timeout":
            return _time_out(charge_until(state, due.at_ms), at_ms)


def _warn(state: Session, threshold_ms: int, at_ms: int) -> Transition:
    """Tell that the clock reached a threshold. It goes on: the anchor stays, nothing is charged."""
    warned = replace(
        make_transition(state, at_ms), turn=replace(state.turn, warned_ms=(*state.turn.warned_ms, threshold_ms))
    )
    told = make_event(EventType.TIME_WARNING, charge_until(warned, at_ms), at_ms)
    return Transition(replace(told, remaining_ms=threshold_ms), warned)


def _time_out(settled: Session, at_ms: int) -> Transition:
    """Bring about what `on_timeout` says, at the deadline itself."""
    expired = _mark_expired(settled)
    match settled.rules.on_timeout:
        case OnTimeout.ADVANCE:
            return _advance(expired, at_ms)
        case OnTimeout.PAUSE:
            return add_pause(expired, PauseReason(TIMEOUT_REASON, at_ms))
        case _:
            return close_session(expired, Status.EXPIRED, EventType.SESSION_EXPIRED, at_ms)


def _mark_expired(state: Session) -> Session:
    """Mark whose time ran out: the active participant, or its group in `per_group`."""
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT if state.active is not None:
            flagged = replace(state.participants[state.active], has_expired=True)
            return replace(state, participants=replace_item(state.participants, state.active, flagged))
        case SyncMode.PER_GROUP if (at := active_group_position(state)) is not None:
            return replace(state, groups=replace_item(state.groups, at, replace(state.groups[at], has_expired=True)))
        case _:
            return state


def _advance(expired: Session, at_ms: int) -> Transition:
    """End the turn that ran out and begin the next at the same instant; nobody or no cycle left: expired.

    A budget that is the whole session's leaves nothing to advance to.
    """
    ended = end_turn(expired, flagged=True, is_out=True)
    follower = next_in_rotation(ended, ended.active)
    kind = ADVANCE_EVENTS.get(ended.rules.sync_mode)
    if kind is None or follower is None or is_last_cycle(ended):
        return close_session(ended, Status.EXPIRED, EventType.SESSION_EXPIRED, at_ms)
    begun = begin_turn(ended, follower, next_turn_budget_ms(ended), at_ms)
    out = None if ended.active is None else ended.participants[ended.active]
    return Transition(make_event(kind, begun, at_ms, out), begun)
