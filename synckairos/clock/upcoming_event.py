"""The next change that becomes due by time without a command. `overdue.py` applies it.

Each function maps a state to a value.
"""

from typing import Literal

from msgspec import Struct

from synckairos.clock.clock_systems import Delay
from synckairos.clock.individual.clock_rows import clock_index
from synckairos.clock.lag_compensation import MAX_GRACE_MS
from synckairos.clock.model import OnTimeout, Session, Status, SyncMode
from synckairos.clock.rest_days import next_rest_of
from synckairos.clock.stages import Stages
from synckairos.clock.timing import (
    active_group,
    are_all_done,
    clock_system_for,
    is_turn_free,
    reading_at_ms,
    time_to_zero_ms,
    warning_thresholds_ms,
)

GRACE_TIMEOUTS = frozenset({OnTimeout.EXPIRE, OnTimeout.PAUSE})
"""Actions at zero before which a press within the grace at the flag still counts."""


class UpcomingEvent(Struct, frozen=True):
    """The next change that becomes due by time without a command, and the instant at which it is due.

    The instant can be in the past. `start`: a pending session starts. `pause_end`: a pause reason ends by its `max_ms`.
    `rest`: a rest begins, or the clock runs in a rest.
    `all_done`: a turn ends because all participants are done; it is due at the last transition. `warning`: the clock
    reaches the threshold `warning_ms`, in ms before zero. `timeout`: the clock reaches zero.
    `overtime`: the clock reaches zero and continues below zero. `end`: all clocks of a session in `individual` have
    ended; it is due at the last transition.

    `grace_ms` is the grace at the flag: the time in ms after a timeout during which a press can still count, because a
    part of its turn is network delay. The timeout takes effect at `at_ms` even if it is committed after the grace.
    """

    at_ms: int
    kind: Literal["start", "pause_end", "rest", "all_done", "warning", "timeout", "overtime", "end"]
    warning_ms: int = 0
    grace_ms: int = 0

    @property
    def committed_at_ms(self) -> int:
        """Return the instant at which the event is committed if no command comes first: after the grace."""
        return self.at_ms + self.grace_ms


def next_upcoming_event(state: Session) -> UpcomingEvent | None:
    """Return the next event that becomes due by time without a command, None if there is none.

    The event can already be overdue. If several events are due at one instant, the order is: start, pause ends,
    warnings with the greatest threshold first, zero, the begin of a rest. A warning with a threshold below 0 comes
    after zero.
    """
    # A command asks for the event of its last state twice: to apply what is due at once, and to commit the deadline.
    newest, event = _newest[0]
    if newest is not state:
        event = _find_next_event(state)
        _newest[0] = state, event
    return event


_newest: list[tuple[Session | None, UpcomingEvent | None]] = [(None, None)]
"""The state of the newest call of `next_upcoming_event`, and its result."""


def _find_next_event(state: Session) -> UpcomingEvent | None:
    match state.status:
        case Status.RUNNING | Status.PAUSED if state.rules.sync_mode is SyncMode.INDIVIDUAL:
            return _next_event_of_clocks(state)
        case Status.RUNNING:
            if state.rules.closes_when_all_done and are_all_done(state):
                return UpcomingEvent(state.updated_at_ms, "all_done")
            by_clock = _next_event_of_clock(state)
            return by_clock if state.rules.rest is None else _with_next_rest(state, by_clock)
        case Status.PAUSED:
            ends = [at_ms for pause in state.pauses if (at_ms := pause.lifts_at_ms) is not None]
            pause_end = UpcomingEvent(min(ends), "pause_end") if ends else None
            by_clock = None if state.ends_at_ms is None else _next_event_of_clock(state)
            if pause_end is None or (by_clock is not None and by_clock.at_ms < pause_end.at_ms):
                return by_clock
            return pause_end
        case Status.PENDING if state.starts_at_ms is not None:
            return UpcomingEvent(state.starts_at_ms, "start")
        case _:
            return None


def _with_next_rest(state: Session, by_clock: UpcomingEvent | None) -> UpcomingEvent | None:
    """Return the earlier of the next event of the clock and the next begin of a rest.

    Warnings and the zero at the begin of a rest come first.
    """
    if (rest := next_rest_of(state)) is None:
        return by_clock
    begins_at_ms = max(rest.begins_at_ms, state.updated_at_ms)
    return by_clock if by_clock is not None and by_clock.at_ms <= begins_at_ms else UpcomingEvent(begins_at_ms, "rest")


def _next_event_of_clocks(state: Session) -> UpcomingEvent | None:
    """Return the next event of the clocks in `individual`, None if there is none."""
    index = clock_index(state)
    if not index.has_open_clock:
        return UpcomingEvent(state.updated_at_ms, "end")
    if not index.due:
        return None
    due, _ = index.due[0]
    return UpcomingEvent(due.at_ms, due.kind, -due.minus_warning_ms)


def _next_event_of_clock(state: Session) -> UpcomingEvent | None:
    """Return the next warning, or the zero, of the clock, None if there is none.

    Expects a state in which the clock of the session runs, or a paused session with an end.
    """
    if (left_ms := time_to_zero_ms(state)) is None:
        return None
    anchor_ms = reading_at_ms(state)
    if state.rules.free_first_turn_ms is not None and is_turn_free(state):
        return UpcomingEvent(anchor_ms + left_ms, "timeout")
    is_overtime = state.rules.on_timeout is OnTimeout.OVERTIME
    if is_overtime and state.is_second_edition:
        return _next_event_around_zero(state, anchor_ms, left_ms, _free_time_in_debt_ms(state, left_ms))
    if left_ms > 0:
        for threshold_ms in warning_thresholds_ms(state):
            if threshold_ms not in state.turn.warned_ms:
                # A subtraction of time can jump over a threshold. The warning is then due at once.
                return UpcomingEvent(anchor_ms + max(0, left_ms - threshold_ms), "warning", threshold_ms)
    if is_overtime:
        return None
    grace_ms = _grace_ms(state) if state.rules.lag_compensation else 0
    return UpcomingEvent(anchor_ms + left_ms, "timeout", grace_ms=grace_ms)


def _grace_ms(state: Session) -> int:
    """Return the grace at the flag of the current turn in ms: the quota of the lag account, at most `MAX_GRACE_MS`.

    Expects a session with lag compensation. Only sessions of the second edition with `on_timeout` `expire` or `pause`
    have a grace.
    """
    if state.rules.on_timeout not in GRACE_TIMEOUTS or not state.is_second_edition:
        return 0
    active = state.active_participant
    return 0 if active is None or active.lag is None else min(active.lag.quota_ms, MAX_GRACE_MS)


def _next_event_around_zero(state: Session, anchor_ms: int, left_ms: int, free_ms: int) -> UpcomingEvent | None:
    """Return the next warning or the begin of overtime, None if there is none. The clock runs and may go below zero.

    `free_ms` is the free time in ms that passes before the reading falls, if the reading is below zero.
    """
    is_zero_passed = state.turn.is_in_overtime
    for threshold_ms in warning_thresholds_ms(state):
        if threshold_ms < 0 and not is_zero_passed:
            break
        if threshold_ms not in state.turn.warned_ms:
            to_threshold_ms = left_ms - threshold_ms
            wait_ms = to_threshold_ms + free_ms if to_threshold_ms > 0 else 0
            return UpcomingEvent(anchor_ms + wait_ms, "warning", threshold_ms)
    return None if is_zero_passed else UpcomingEvent(anchor_ms + max(0, left_ms), "overtime")


def _free_time_in_debt_ms(state: Session, left_ms: int) -> int:
    """Return the free time in ms that is left in the turn of a clock below zero, 0 for a clock that is not below zero.

    The time to zero of a clock that is not below zero contains the free time.
    """
    if left_ms >= 0:
        return 0
    active = state.active_participant
    mode = state.rules.sync_mode
    budget = active if mode is SyncMode.PER_PARTICIPANT else active_group(state)
    match clock_system_for(state, active if mode is SyncMode.PER_PARTICIPANT else None):
        case Delay() as system:
            return system.free_time_left_ms(state.turn.used_ms)
        case Stages() as system if budget is not None:
            return system.free_time_left_ms(budget, state.turn.used_ms)
        case _:
            return 0


def warning_without_free_time(state: Session) -> UpcomingEvent | None:
    """Return the next warning of a turn in overtime, at the instant at which its free time would not count.

    None if no warning follows, or if the overtime of the turn has not begun.
    """
    left_ms = time_to_zero_ms(state)
    if left_ms is None or state.anchor_ms is None or not state.turn.is_in_overtime:
        return None
    return _next_event_around_zero(state, state.anchor_ms, left_ms, free_ms=0)
