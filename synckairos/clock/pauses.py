"""Pauses: a session has a set of pause reasons. The clock runs only if the set is empty.

The clock itself adds two reasons. Under `on_timeout: pause` it pauses the session at zero. A resume can end this reason
only after time was added. A switch also ends this reason, if the clock of the next turn has time. The other reason is
the hold between two turns (`begin_turn.py`).
"""

from synckairos.clock.active_pause import TIMEOUT_REASON, ActivePause
from synckairos.clock.begin_turn import begin_turn, is_hold
from synckairos.clock.commands import Pause, Resume
from synckairos.clock.make_transition import make_event, stop_clock, with_next_version
from synckairos.clock.model import Session, Status
from synckairos.clock.rest_days import is_rest
from synckairos.clock.timing import charge_session_until, time_to_zero_ms
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import Forbidden, InvalidTransition, ValidationFailed
from synckairos.frozen_replace import replace


def pause(state: Session, command: Pause, now_ms: int) -> Transition:
    """Return the transition that pauses the session for a reason, or adds a reason to a paused session.

    Raises:
        InvalidTransition: the session is already paused for this reason, or the actor's pause budget is used up.
        ValidationFailed: the reason is reserved for the clock.
    """
    if command.reason == TIMEOUT_REASON:
        raise ValidationFailed.at_path("reason", f"{TIMEOUT_REASON!r} is reserved for the clock; use another reason")
    if any(pause.reason == command.reason for pause in state.pauses):
        raise InvalidTransition(
            f"Session cannot be paused: the session is already {state.status} for the reason {command.reason!r}"
        )
    taken_by = command.taken_by or command.actor
    counted = take_from_pause_budget(state, taken_by)
    reason = ActivePause(command.reason, now_ms, command.max_ms, taken_by)
    return make_pause_transition(charge_session_until(counted, now_ms), reason)


def take_from_pause_budget(state: Session, actor: str) -> Session:
    """Return the state in which the actor has taken one more pause.

    Return `state` unchanged if the session has no pause budget. Each added pause reason counts as one pause, even if
    the session is already paused for another reason.

    Raises: InvalidTransition if the actor has no pause left.
    """
    budget, taken = state.rules.pause_budget, state.pauses_taken.get(actor, 0)
    if budget is None:
        return state
    if taken >= budget:
        raise InvalidTransition(
            f"Can't pause: {actor} has taken {taken} of {budget} pauses; the session is {state.status}"
        )
    return replace(state, pauses_taken={**state.pauses_taken, actor: taken + 1})


def make_pause_transition(charged: Session, reason: ActivePause) -> Transition:
    """Return the transition that adds the pause reason `reason` at its `paused_at_ms`.

    In `charged` the time until then must be charged.
    """
    at_ms = reason.paused_at_ms
    paused = stop_clock(charged, Status.PAUSED, (*charged.pauses, reason), at_ms)
    return Transition(make_event(EventType.SESSION_PAUSED, paused, at_ms), paused)


def resume(state: Session, command: Resume, now_ms: int) -> Transition:
    """Return the transition that ends the pause reason of the command, or all pause reasons if the command names none.

    A command with `taken_by` ends only pauses that `taken_by` took. Only time ends a rest. If no reason is left, the
    clock runs again.

    Raises:
        Forbidden: the command has `taken_by`, and `taken_by` took no pause for this reason, or no pause at all.
        InvalidTransition: the session is not paused for the given reason. Or the resume would end the pause at
            zero, but no time was added.
    """
    lifted = tuple(
        pause for pause in state.pauses if command.reason in (None, pause.reason) and not _is_current_rest(state, pause)
    )
    if command.taken_by is not None:
        lifted = tuple(pause for pause in lifted if pause.paused_by == command.taken_by)
        if not lifted:
            raise Forbidden("A participant ends only its own pauses, and it has taken no such pause")
    if not lifted and any(_is_current_rest(state, pause) for pause in state.pauses):
        raise InvalidTransition(f"Session cannot be resumed: the session is {state.status} until its rest ends")
    if not lifted:
        raise InvalidTransition(
            f"Session cannot be resumed: the session is {state.status}, but not for the reason {command.reason!r}"
        )
    lifts_zero = TIMEOUT_REASON in (pause.reason for pause in lifted)
    if is_paused_by_timeout(state) and lifts_zero and not _has_time(state):
        raise InvalidTransition(
            f"Session cannot be resumed: the session is {state.status} at zero; adjust it first, or switch"
        )
    return make_pause_end_transition(state, lifted, now_ms)


def make_pause_end_transition(state: Session, lifted: tuple[ActivePause, ...], at_ms: int) -> Transition:
    """Return the transition at `at_ms` that removes the pause reasons in `lifted`.

    If no reason is left, the clock runs from `at_ms`. The end of a hold begins the next turn.
    """
    rest = tuple(pause for pause in state.pauses if pause not in lifted)
    if state.is_second_edition and any(map(is_hold, lifted)):
        before = begin_turn(state, state.active_position, state.remaining_ms, at_ms)
    else:
        before = with_next_version(state, at_ms)
    resumed = replace(
        before,
        status=Status.PAUSED if rest else Status.RUNNING,
        anchor_ms=None if rest else at_ms,
        pauses=rest,
    )
    return Transition(make_event(EventType.SESSION_RESUMED, resumed, at_ms), resumed)


def _is_current_rest(state: Session, pause: ActivePause) -> bool:
    return state.rules.rest is not None and is_rest(pause)


def is_paused_by_timeout(state: Session) -> bool:
    """Return whether the session is paused because its clock reached zero."""
    return bool(state.pauses) and any(pause.reason == TIMEOUT_REASON for pause in state.pauses)


def lift_timeout_pause(state: Session, now_ms: int) -> Session:
    """Return the state without the pause reason at zero, if the clock of the new turn has time.

    Call this after a switch.

    The clock then runs from `now_ms`, unless other pause reasons are left. If the clock has no time, the session stays
    paused at zero.
    """
    if not _has_time(state):
        return replace(state, anchor_ms=None)
    rest = tuple(pause for pause in state.pauses if pause.reason != TIMEOUT_REASON)
    if rest:
        return replace(state, anchor_ms=None, pauses=rest)
    return replace(state, anchor_ms=now_ms, pauses=(), status=Status.RUNNING)


def _has_time(state: Session) -> bool:
    left_ms = time_to_zero_ms(state)
    return left_ms is None or left_ms > 0
