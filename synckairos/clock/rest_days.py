"""Rest days of correspondence play: the calendar of a session in which its clock pauses by itself. Pure.

A rest lasts from local midnight to local midnight. Rest days that follow each other are one rest. Weeks repeat, so all
functions calculate in closed form, without a step for each week.
"""

from msgspec import Struct

from synckairos.clock.active_pause import REST_REASON, ActivePause
from synckairos.clock.model import RestRule, Session

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
MINUTE_MS = 60_000
FIRST_MONDAY_MS = 4 * DAY_MS
"""Milliseconds since the Unix epoch: 1970-01-05, a Monday, 00:00 in UTC."""


class Rest(Struct, frozen=True):
    """One rest, from `begins_at_ms` (included) to `ends_at_ms` (excluded), both in ms since the Unix epoch."""

    begins_at_ms: int
    ends_at_ms: int


def next_rest(rule: RestRule, at_ms: int) -> Rest:
    """Return the rest that contains the instant `at_ms`, or else the next rest after it."""
    rests = _rests_of_four_weeks(rule, _week_start_ms(rule, at_ms) - WEEK_MS)
    return next(rest for rest in rests if rest.ends_at_ms > at_ms)


def end_of_running_time_ms(rule: RestRule, from_ms: int, running_ms: int) -> int:
    """Return the instant at which a clock has run for `running_ms` since `from_ms`, without the rests in between.

    If the clock reaches this time exactly at the begin of a rest, the result is this begin. `running_ms` can be below
    0 in overtime; the result is then `from_ms` plus this time.
    """
    if running_ms <= 0:
        return from_ms + running_ms
    working_ms = WEEK_MS - len(rule.weekdays) * DAY_MS
    # Any span of full weeks has the same working time, wherever it begins.
    weeks = (running_ms - 1) // working_ms
    at_ms, left_ms = from_ms + weeks * WEEK_MS, running_ms - weeks * working_ms
    while True:
        rest = next_rest(rule, at_ms)
        before_ms = max(0, rest.begins_at_ms - at_ms)
        if left_ms <= before_ms:
            return at_ms + left_ms
        left_ms -= before_ms
        at_ms = rest.ends_at_ms


def is_rest(pause: ActivePause) -> bool:
    """Return whether the clock added this pause reason for a rest.

    In sessions of early releases, callers could pause for a reason with the same name.
    """
    return pause.reason == REST_REASON and pause.paused_by is None


def next_rest_of(state: Session) -> Rest | None:
    """Return the rest that contains the last transition, or else the next rest. None without rest days."""
    return None if state.rules.rest is None else next_rest(state.rules.rest, state.updated_at_ms)


def _week_start_ms(rule: RestRule, at_ms: int) -> int:
    """Return the local midnight at which the week of an instant begins, as an instant in ms since the Unix epoch."""
    first_ms = FIRST_MONDAY_MS - rule.utc_offset_minutes * MINUTE_MS
    return at_ms - (at_ms - first_ms) % WEEK_MS


def _rests_of_four_weeks(rule: RestRule, week_start_ms: int) -> list[Rest]:
    """Return the rests of four weeks from a week start on, in order. A rest can end in the week after its begin."""
    rests: list[Rest] = []
    for week in range(4):
        for day in rule.weekdays:
            begins_at_ms = week_start_ms + week * WEEK_MS + (day - 1) * DAY_MS
            if rests and rests[-1].ends_at_ms == begins_at_ms:
                rests[-1] = Rest(rests[-1].begins_at_ms, begins_at_ms + DAY_MS)
            else:
                rests.append(Rest(begins_at_ms, begins_at_ms + DAY_MS))
    return rests
