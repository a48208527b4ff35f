"""The rules of one participant's clock in `individual`: its end, the next event by time, and its changes.

A clock charges its participant's budget while it runs. In a session with an end, the budget is the time to the end of
the clock, so it also decreases while the clock is paused or waiting. Each function maps values to a value.
"""

from typing import Literal

from msgspec import Struct

from synckairos.clock.active_pause import ActivePause
from synckairos.clock.individual_clock import ENDED, FULL_FACTOR, IndividualClock, ParticipantStatus
from synckairos.clock.model import OnTimeout, Participant, Session
from synckairos.frozen_replace import replace

DueKind = Literal["pause_end", "warning", "overtime", "timeout"]

_PAUSE_END_RANK, _WARNING_RANK, _ZERO_RANK = range(3)
"""The order of events that are due at one instant."""


class RowDue(Struct, frozen=True, order=True, gc=False):
    """The next event of a clock that becomes due by time, in the order in which due events take effect.

    `at_ms` is its instant. `rank` orders the kinds at one instant. `minus_warning_ms` is minus the threshold of a
    warning in ms before zero, and 0 for other kinds.
    """

    at_ms: int
    rank: int
    minus_warning_ms: int
    kind: DueKind


def individual_clock(row: Participant) -> IndividualClock:
    """Return the clock of a participant of a session in `individual`."""
    assert row.individual is not None
    return row.individual


def is_open(row: Participant) -> bool:
    """Return whether the clock of a participant has not ended."""
    assert row.individual is not None
    return row.individual.status not in ENDED


def scale_time(time_ms: int, factor: int) -> int:
    """Return `time_ms` (ms, can be negative) times `factor` (hundredths), rounded half up, to whole ms.

    The result for a negative time is minus the result for the positive time, so that a taken time can be given back.
    """
    scaled_ms = (2 * abs(time_ms) * factor + FULL_FACTOR) // (2 * FULL_FACTOR)
    return scaled_ms if time_ms >= 0 else -scaled_ms


def own_end_ms(state: Session, clock: IndividualClock) -> int | None:
    """Return the instant at which this clock reaches zero, if the session has an end. None in all other cases.

    The end of the session is the end for the factor 1. A clock with the factor f ends (f − 1) times the time from the
    start to the end of the session later. None before the start, unless `starts_at_ms` says when the session starts.
    """
    from_ms = state.starts_at_ms if state.started_at_ms is None else state.started_at_ms
    if state.ends_at_ms is None or from_ms is None:
        return None
    end_ms = state.ends_at_ms + clock.end_offset_ms
    if clock.time_factor == FULL_FACTOR:
        return end_ms
    return end_ms + scale_time(state.ends_at_ms - from_ms, clock.time_factor - FULL_FACTOR)


def zero_at_ms(state: Session, row: Participant) -> int | None:
    """Return the instant at which the clock of a participant reaches zero.

    None if it has ended, if the session has not started, or if the session has no end and the clock does not run. A
    waiting clock reaches the end of the session only if clocks expire at zero.
    """
    clock = individual_clock(row)
    if state.ends_at_ms is None:
        # Only a running clock has an anchor.
        return None if clock.anchor_ms is None else clock.anchor_ms + row.remaining_ms
    if state.started_at_ms is None or clock.status in ENDED:
        return None
    if clock.status is ParticipantStatus.WAITING and _runs_over(state):
        return None
    return own_end_ms(state, clock)


def row_deadline_at_ms(state: Session, row: Participant) -> int | None:
    """Return the instant at which the clock reaches zero, None if there is none or if its overtime has begun.

    For an expired clock, return the instant at which it expired.
    """
    clock = individual_clock(row)
    if clock.status is ParticipantStatus.EXPIRED:
        return clock.finished_at_ms
    return None if clock.is_in_overtime else zero_at_ms(state, row)


def row_instants(state: Session, row: Participant) -> tuple[RowDue | None, int | None]:
    """Return the next event of a clock that becomes due by time, and the deadline of the clock.

    The event is None if there is none. The deadline is the instant at which the clock reaches zero, None if there is
    none, if its overtime has begun, or if the clock has ended. The order of events at one instant is: pause ends,
    warnings with the greatest threshold first, zero. An event that the clock has jumped over is due at the last change
    of the clock.
    """
    clock = individual_clock(row)
    zero_ms = zero_at_ms(state, row)
    due = None if zero_ms is None else _due_of_running_clock(state, row, clock, zero_ms)
    if clock.pauses and (pause_end := _pause_end(clock)) is not None:
        due = pause_end if due is None else min(pause_end, due)
    return due, None if clock.is_in_overtime else zero_ms


def _pause_end(clock: IndividualClock) -> RowDue | None:
    ends = [at_ms for pause in clock.pauses if (at_ms := pause.lifts_at_ms) is not None]
    return RowDue(min(ends), _PAUSE_END_RANK, 0, "pause_end") if ends else None


def _due_of_running_clock(state: Session, row: Participant, clock: IndividualClock, zero_ms: int) -> RowDue | None:
    rules, left_ms = state.rules, row.remaining_ms
    runs_over = rules.on_timeout is OnTimeout.OVERTIME
    # A waiting clock has no warnings. Without overtime, no warning follows once no time is left.
    if clock.status is not ParticipantStatus.WAITING and (runs_over or left_ms > 0):
        for threshold_ms in rules.warnings_ms:
            if threshold_ms < 0 and not clock.is_in_overtime:
                break
            if threshold_ms not in clock.warned_ms:
                return RowDue(zero_ms - min(left_ms, threshold_ms), _WARNING_RANK, -threshold_ms, "warning")
    if not runs_over:
        return RowDue(zero_ms, _ZERO_RANK, 0, "timeout")
    return None if clock.is_in_overtime else RowDue(zero_ms - min(left_ms, 0), _ZERO_RANK, 0, "overtime")


def _runs_over(state: Session) -> bool:
    return state.rules.on_timeout is OnTimeout.OVERTIME


# -- changes ----------------------------------------------------------------------------------------------------------


def settle(state: Session, row: Participant, at_ms: int) -> Participant:
    """Return the participant after its clock has charged the time until `at_ms`, as the budget is then.

    The anchor of a running clock is `at_ms`. In a session with an end, the budget is the time from `at_ms` to the end.
    """
    clock = individual_clock(row)
    if clock.anchor_ms is not None and at_ms > clock.anchor_ms:
        elapsed_ms = at_ms - clock.anchor_ms
        row = replace(
            row,
            remaining_ms=row.remaining_ms - elapsed_ms,
            used_ms=row.used_ms + elapsed_ms,
            individual=replace(clock, anchor_ms=at_ms),
        )
    return read_budget(state, row, at_ms)


def read_budget(state: Session, row: Participant, at_ms: int) -> Participant:
    """Return the participant with the budget at its anchor, or at `at_ms` if its clock does not run.

    Only in a session with an end, this budget can differ from the budget before. It is 0 while the instant of the start
    is not known.
    """
    if state.ends_at_ms is None:
        return row
    clock = individual_clock(row)
    if clock.status in ENDED:
        return row
    end_ms = own_end_ms(state, clock)
    at_ms = at_ms if clock.anchor_ms is None else clock.anchor_ms
    from_ms = at_ms if state.started_at_ms is not None else state.starts_at_ms
    left_ms = 0 if end_ms is None or from_ms is None else end_ms - from_ms
    return row if left_ms == row.remaining_ms else replace(row, remaining_ms=left_ms)


def run(state: Session, row: Participant, at_ms: int) -> Participant:
    """Return the participant whose clock starts at `at_ms`. Warnings at or above its budget count as sent."""
    clock = replace(individual_clock(row), status=ParticipantStatus.RUNNING, anchor_ms=at_ms)
    return with_reached_warnings(state, read_budget(state, replace(row, individual=clock), at_ms))


def stop(state: Session, row: Participant, status: ParticipantStatus, at_ms: int) -> Participant:
    """Return the participant whose clock ended at `at_ms` with the final `status`."""
    settled = settle(state, row, at_ms)
    clock = replace(individual_clock(settled), status=status, anchor_ms=None, finished_at_ms=at_ms, pauses=())
    return replace(settled, has_expired=status is ParticipantStatus.EXPIRED, individual=clock)


def with_pauses(state: Session, row: Participant, pauses: tuple[ActivePause, ...], at_ms: int) -> Participant:
    """Return the participant whose clock is paused for the reasons `pauses` from `at_ms` on. Without any, it runs."""
    settled = settle(state, row, at_ms)
    status = ParticipantStatus.PAUSED if pauses else ParticipantStatus.RUNNING
    clock = replace(individual_clock(settled), status=status, anchor_ms=None if pauses else at_ms, pauses=pauses)
    return replace(settled, individual=clock)


def with_reached_warnings(state: Session, row: Participant) -> Participant:
    """Return the participant for which exactly the warnings at or above its budget count as sent.

    Overtime has begun if the session has overtime and the budget is not above 0.
    """
    left_ms = row.remaining_ms
    reached = tuple(threshold_ms for threshold_ms in state.rules.warnings_ms if threshold_ms >= left_ms)
    is_in_overtime = _runs_over(state) and left_ms <= 0
    clock = individual_clock(row)
    if (reached, is_in_overtime) == (clock.warned_ms, clock.is_in_overtime):
        return row
    return replace(row, individual=replace(clock, warned_ms=reached, is_in_overtime=is_in_overtime))


def with_armed_warnings(row: Participant) -> Participant:
    """Return the participant for which warnings below its budget count as not sent, so that they are sent again.

    Overtime has not begun if the budget is above 0.
    """
    clock, left_ms = individual_clock(row), row.remaining_ms
    if not (clock.warned_ms or clock.is_in_overtime):
        return row
    warned = tuple(threshold_ms for threshold_ms in clock.warned_ms if threshold_ms >= left_ms)
    is_in_overtime = clock.is_in_overtime and left_ms <= 0
    if (warned, is_in_overtime) == (clock.warned_ms, clock.is_in_overtime):
        return row
    return replace(row, individual=replace(clock, warned_ms=warned, is_in_overtime=is_in_overtime))
