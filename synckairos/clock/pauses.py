"""Pausing: a set of reasons; the clock runs only while none of them stands.

One reason is the clock's own: under `on_timeout: pause` it stops at zero, and runs again only once there is time.
"""

from synckairos.clock.commands import Pause, Resume
from synckairos.clock.model import TIMEOUT_REASON, EventType, PauseReason, Session, Status, Transition
from synckairos.clock.timing import charge_until, time_to_zero_ms
from synckairos.clock.transitions import make_event
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.fast_dataclass import replace


def pause(state: Session, command: Pause, now_ms: int) -> Transition:
    """Stop the clock for a reason, or add one to those that stand.

    Raises:
        InvalidTransition: this reason stands already, or who asks has taken all pauses of the budget.
        ValidationFailed: the reason is the clock's own.
    """
    if command.reason == TIMEOUT_REASON:
        raise ValidationFailed.at("reason", f"{TIMEOUT_REASON!r} is the clock's own reason, choose another")
    if any(standing.reason == command.reason for standing in state.pauses):
        raise InvalidTransition(
            f"Session cannot be paused: the session is {state.status} for the reason {command.reason!r} already"
        )
    counted = _count(state, command.actor)
    return add_pause(charge_until(counted, now_ms), PauseReason(command.reason, now_ms, command.max_ms, command.actor))


def _count(state: Session, by: str) -> Session:
    """Take one pause from the budget of who asks, where there is one. A further reason counts like the first."""
    budget, taken = state.rules.pause_budget, state.pauses_taken.get(by, 0)
    if budget is None:
        return state
    if taken >= budget:
        raise InvalidTransition(
            f"Can't pause: {by} has taken {taken} of {budget} pauses; the session is {state.status}"
        )
    return replace(state, pauses_taken={**state.pauses_taken, by: taken + 1})


def add_pause(settled: Session, reason: PauseReason) -> Transition:
    """Let one more reason stand from its instant on."""
    at_ms = reason.paused_at_ms
    paused = replace(
        settled,
        version=settled.version + 1,
        updated_at_ms=at_ms,
        status=Status.PAUSED,
        anchor_ms=None,
        pauses=(*settled.pauses, reason),
    )
    return Transition(make_event(EventType.SESSION_PAUSED, paused, at_ms), paused)


def resume(state: Session, command: Resume, now_ms: int) -> Transition:
    """Lift one reason, or all of them; the clock runs again where none is left.

    Raises InvalidTransition: the reason doesn't stand, or it is the pause at zero and no time was added.
    """
    lifted = tuple(pause for pause in state.pauses if command.reason in (None, pause.reason))
    if not lifted:
        raise InvalidTransition(
            f"Session cannot be resumed: the session is {state.status}, but not for the reason {command.reason!r}"
        )
    if is_paused_at_zero(state) and TIMEOUT_REASON in (pause.reason for pause in lifted) and not _has_time(state):
        raise InvalidTransition(
            f"Session cannot be resumed: the session is {state.status} at zero; adjust it first, or switch"
        )
    return lift_pauses(state, lifted, now_ms)


def lift_pauses(state: Session, lifted: tuple[PauseReason, ...], at_ms: int) -> Transition:
    """Take these reasons away."""
    standing = tuple(pause for pause in state.pauses if pause not in lifted)
    resumed = replace(
        state,
        version=state.version + 1,
        updated_at_ms=at_ms,
        status=Status.PAUSED if standing else Status.RUNNING,
        anchor_ms=None if standing else at_ms,
        pauses=standing,
    )
    return Transition(make_event(EventType.SESSION_RESUMED, resumed, at_ms), resumed)


def is_paused_at_zero(state: Session) -> bool:
    """Tell whether the session waits at the zero that its clock ran into."""
    return bool(state.pauses) and any(pause.reason == TIMEOUT_REASON for pause in state.pauses)


def lift_pause_at_zero(state: Session, now_ms: int) -> Session:
    """Lift the pause at zero where the clock whose turn it is now has time; other reasons go on to stand."""
    if not _has_time(state):
        return replace(state, anchor_ms=None)
    standing = tuple(pause for pause in state.pauses if pause.reason != TIMEOUT_REASON)
    if standing:
        return replace(state, anchor_ms=None, pauses=standing)
    return replace(state, anchor_ms=now_ms, pauses=(), status=Status.RUNNING)


def _has_time(state: Session) -> bool:
    left_ms = time_to_zero_ms(state)
    return left_ms is None or left_ms > 0
