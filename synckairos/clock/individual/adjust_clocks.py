"""The command `adjust` in `individual`, which adds time to budgets or moves the ends of clocks."""

from collections.abc import Iterable

from synckairos.clock.budget import add_to_remaining
from synckairos.clock.commands import Adjust
from synckairos.clock.individual.row_clock import (
    individual_clock,
    is_open,
    own_end_ms,
    read_budget,
    scale_time,
    settle,
    with_armed_warnings,
)
from synckairos.clock.individual.targets import change_clocks, find_targets
from synckairos.clock.model import OnTimeout, Participant, Session
from synckairos.clock.start_and_end import check_not_far
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import ValidationFailed
from synckairos.frozen_replace import replace


def adjust(state: Session, command: Adjust, now_ms: int) -> Transition | None:
    """Return the transition that adds time to budgets, or moves the ends of clocks. None if no budget changes.

    `delta_ms` is multiplied by the factor of each participant if the command is `scaled`. A budget falls below 0 only
    in a session with overtime. Without `participant_ids` and `group_id`, the command also moves the end of the session.

    Raises: the errors of `targets.find_targets`; ValidationFailed if an end would be too far away, or not after the
        start.
    """
    positions = find_targets(
        state, command.participant_ids, command.group_id, _fault_if_ended, "Session cannot be adjusted"
    )
    if state.ends_at_ms is None:
        return _adjust_budgets(state, positions, command, now_ms)
    settled = {at: settle(state, state.participants[at], now_ms) for at in positions}
    moved = state
    if command.participant_ids is None and command.group_id is None:
        moved = _move_session_end(state, command.delta_ms, now_ms)
    changes = {at: _move_end(state, moved, row, command, now_ms) for at, row in settled.items()}
    if moved.ends_at_ms == state.ends_at_ms and changes == settled:
        return None
    armed = {at: with_armed_warnings(row) for at, row in changes.items()}
    return change_clocks(moved, armed, EventType.TIME_ADJUSTED, now_ms)


def _fault_if_ended(row: Participant) -> str | None:
    return None if is_open(row) else f"is {individual_clock(row).status}; reopen it"


def _adjust_budgets(state: Session, positions: Iterable[int], command: Adjust, now_ms: int) -> Transition | None:
    """Return the transition that adds time to budgets in a session without an end. None if no budget changes.

    Each participant is copied once, because a command often concerns 1,000 participants.
    """
    may_fall_below_zero = state.rules.on_timeout is OnTimeout.OVERTIME
    changes: dict[int, Participant] = {}
    is_changed = False
    for at in positions:
        row = state.participants[at]
        clock = individual_clock(row)
        delta_ms = scale_time(command.delta_ms, clock.time_factor) if command.scaled else command.delta_ms
        left_ms, used_ms = row.remaining_ms, row.used_ms
        if clock.anchor_ms is not None and (elapsed_ms := now_ms - clock.anchor_ms) > 0:
            left_ms, used_ms, clock = left_ms - elapsed_ms, used_ms + elapsed_ms, replace(clock, anchor_ms=now_ms)
        added_ms = add_to_remaining(left_ms, delta_ms, may_fall_below_zero)
        is_changed = is_changed or added_ms != left_ms
        changes[at] = with_armed_warnings(replace(row, remaining_ms=added_ms, used_ms=used_ms, individual=clock))
    return change_clocks(state, changes, EventType.TIME_ADJUSTED, now_ms) if is_changed else None


def _move_end(state: Session, moved: Session, settled: Participant, command: Adjust, now_ms: int) -> Participant:
    """Return a participant, settled at `now_ms`, with the end of its clock moved by the time of the command.

    `moved` is `state` after the change of the session's end. The session has an end.
    """
    assert state.ends_at_ms is not None
    clock = individual_clock(settled)
    delta_ms = scale_time(command.delta_ms, clock.time_factor) if command.scaled else command.delta_ms
    may_fall_below_zero = state.rules.on_timeout is OnTimeout.OVERTIME
    before_ms, by_session_ms = own_end_ms(state, clock), own_end_ms(moved, clock)
    if before_ms is None:
        # The session has not started, so only the offset to the end of the session is known.
        _check_end_after_start(state, state.ends_at_ms + clock.end_offset_ms + delta_ms, now_ms)
        by_session_ms = scale_time((moved.ends_at_ms or 0) - state.ends_at_ms, clock.time_factor)
        offset_ms = clock.end_offset_ms + delta_ms - by_session_ms
        return replace(settled, individual=replace(clock, end_offset_ms=offset_ms))
    assert by_session_ms is not None
    if state.started_at_ms is None:
        _check_end_after_start(state, before_ms + delta_ms, now_ms)
        end_ms = before_ms + delta_ms
    else:
        end_ms = now_ms + add_to_remaining(before_ms - now_ms, delta_ms, may_fall_below_zero)
    check_not_far("delta_ms", end_ms, now_ms)
    offset = replace(clock, end_offset_ms=clock.end_offset_ms + end_ms - by_session_ms)
    return read_budget(moved, replace(settled, individual=offset), now_ms)


def _move_session_end(state: Session, delta_ms: int, now_ms: int) -> Session:
    assert state.ends_at_ms is not None
    if state.started_at_ms is None:
        _check_end_after_start(state, state.ends_at_ms + delta_ms, now_ms)
        return replace(state, ends_at_ms=state.ends_at_ms + delta_ms)
    may_fall_below_zero = state.rules.on_timeout is OnTimeout.OVERTIME
    end_ms = now_ms + add_to_remaining(state.ends_at_ms - now_ms, delta_ms, may_fall_below_zero)
    check_not_far("delta_ms", end_ms, now_ms)
    return replace(state, ends_at_ms=end_ms)


def _check_end_after_start(state: Session, end_ms: int, now_ms: int) -> None:
    least_ms = max(now_ms, state.starts_at_ms or now_ms)
    if end_ms <= least_ms:
        raise ValidationFailed.at_path("delta_ms", "the end would not be after the start")
    check_not_far("delta_ms", end_ms, least_ms)
