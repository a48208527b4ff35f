"""The beginning of a turn, and the hold between two turns.

In a hold no clock runs. The next participant is shown with its whole budget, but its turn begins only with a resume.
"""

from synckairos.clock.active_pause import HOLD_REASON, TIMEOUT_REASON, ActivePause
from synckairos.clock.model import CurrentTurn, OnTimeout, Session, Status
from synckairos.clock.plan_items import begin_next_item
from synckairos.clock.timing import is_turn_free, reached_warning_thresholds_ms, time_to_zero_ms
from synckairos.frozen_replace import replace


def begin_turn(state: Session, active_position: int | None, remaining_ms: int | None, at_ms: int) -> Session:
    """Return the state, with the next version, after the beginning of a turn at `at_ms`.

    `active_position` is the position of the participant of the new turn, None if the session has no participant.
    `remaining_ms` is the session's own budget for the new turn, None if the session has no own budget. The turn number
    grows by 1; in the first edition it stays None. In a session with a plan, the item at `next_item_position` begins.
    """
    version, turn_number, began_version = state.version + 1, None, None
    if state.turn_number is not None:
        turn_number, began_version = state.turn_number + 1, version
    begun = replace(
        state,
        version=version,
        updated_at_ms=at_ms,
        active_position=active_position,
        remaining_ms=remaining_ms,
        anchor_ms=at_ms,
        turn_number=turn_number,
        turn=CurrentTurn(cycles=state.turn.cycles, began_version=began_version),
    )
    return with_passed_thresholds(begin_next_item(begun, at_ms) if state.plan else begun)


def with_passed_thresholds(begun: Session) -> Session:
    """Return the state of a turn that begins, in which the thresholds at or above its reading count as passed.

    A turn that begins at or below a warning threshold does not cross it, so it gets no warning for this threshold. A
    turn that begins at or below zero does not cross zero.
    """
    reached = reached_warning_thresholds_ms(begun)
    is_in_overtime = begun.rules.on_timeout is OnTimeout.OVERTIME and is_past_zero_in_overtime(begun)
    if (reached, is_in_overtime) == (begun.turn.warned_ms, begun.turn.is_in_overtime):
        return begun
    return replace(begun, turn=replace(begun.turn, warned_ms=reached, is_in_overtime=is_in_overtime))


def block_undo(state: Session) -> Session:
    """Return the state in which no undo can cross the last change. The version stays.

    An undo restores budgets, participants and plan items of an earlier version. So it must not cross a change of these
    by another command than a switch: a join, a leave, an adjust, a change of the plan, a recovery, and a reopening with
    time or with amended times.
    """
    if state.turn.began_version is None:
        return state
    return replace(state, turn=replace(state.turn, began_version=None))


def is_past_zero_in_overtime(begun: Session) -> bool:
    """Return whether the clock of a turn is at or below zero and continues.

    Always False in a free first turn, which has no overtime, and in the first edition.
    """
    if begun.rules.on_timeout is not OnTimeout.OVERTIME or not begun.is_second_edition or is_turn_free(begun):
        return False
    left_ms = time_to_zero_ms(begun)
    return left_ms is not None and left_ms <= 0


def show_next_turn(state: Session, active_position: int | None, remaining_ms: int | None, at_ms: int) -> Session:
    """Return the state, with the next version, in which no clock runs and the next turn is shown.

    The arguments are those of `begin_turn`. The turn does not begin, so the turn number stays.
    """
    return replace(
        state,
        version=state.version + 1,
        updated_at_ms=at_ms,
        active_position=active_position,
        remaining_ms=remaining_ms,
        anchor_ms=None,
    )


def hold(ended: Session, active_position: int | None, remaining_ms: int | None, at_ms: int) -> Session:
    """Return the state, with the next version, that is paused between the ended turn `ended` and the next turn.

    The arguments after `ended` are those of `begin_turn`. The hold also ends a pause at zero.
    """
    others = tuple(pause for pause in ended.pauses if pause.reason != TIMEOUT_REASON)
    shown = show_next_turn(ended, active_position, remaining_ms, at_ms)
    return replace(shown, status=Status.PAUSED, pauses=(*others, ActivePause(HOLD_REASON, at_ms)))


def is_held(state: Session) -> bool:
    """Return whether the session is paused between two turns. Always False in the first edition."""
    return bool(state.pauses) and state.is_second_edition and any(map(is_hold, state.pauses))


def is_hold(pause: ActivePause) -> bool:
    """Return whether the clock added this pause reason between two turns.

    In sessions of early releases, callers could pause for a reason with the same name.
    """
    return pause.reason == HOLD_REASON and pause.paused_by is None
