"""Changes of all clocks of a session in `individual`: the charge of elapsed time, and moved instants.

The module imports no module outside of this package that reads clocks, so that those modules can import it.
"""

from collections.abc import Mapping

from synckairos.clock.individual.clock_rows import with_clocks
from synckairos.clock.individual.row_clock import (
    individual_clock,
    is_open,
    own_end_ms,
    read_budget,
    settle,
    with_armed_warnings,
)
from synckairos.clock.model import OnTimeout, Participant, Session
from synckairos.frozen_replace import replace


def with_moved_instants(state: Session, starts_at_ms: int | None, ends_at_ms: int | None, now_ms: int) -> Session:
    """Return the state with another start or end. The version stays. All clocks charge the time until `now_ms`.

    Without overtime, no end of a clock is before `now_ms`.
    """
    settled = charge_clocks(state, now_ms)
    moved = replace(settled, starts_at_ms=starts_at_ms, ends_at_ms=ends_at_ms, updated_at_ms=now_ms)
    rows = ((at, row) for at, row in enumerate(moved.participants) if is_open(row))
    return with_clocks(moved, {at: with_armed_warnings(_read_moved_budget(moved, row, now_ms)) for at, row in rows})


def _read_moved_budget(moved: Session, row: Participant, now_ms: int) -> Participant:
    read = read_budget(moved, row, now_ms)
    if read.remaining_ms >= 0 or moved.rules.on_timeout is OnTimeout.OVERTIME:
        return read
    clock = individual_clock(read)
    at_present = replace(clock, end_offset_ms=clock.end_offset_ms - read.remaining_ms)
    return replace(read, remaining_ms=0, individual=at_present)


def charge_clocks(state: Session, at_ms: int) -> Session:
    """Return the state after all running clocks have charged the time until `at_ms`. The version stays."""
    return with_clocks(state, {at: settle(state, row, at_ms) for at, row in _running(state).items()})


def clocks_charged_until(state: Session, at_ms: int) -> Session:
    """Return the state as its clocks show it at `at_ms`. The version stays.

    Without overtime, a clock is charged at most until its zero, because the engine decides the effect of the zero.
    """
    changes = {}
    runs_over = state.rules.on_timeout is OnTimeout.OVERTIME
    for at, row in enumerate(state.participants):
        clock = individual_clock(row)
        zero_ms = own_end_ms(state, clock) if state.started_at_ms is not None and is_open(row) else None
        if zero_ms is None and clock.anchor_ms is not None:
            zero_ms = clock.anchor_ms + row.remaining_ms
        if zero_ms is not None:
            # The budget is that of an instant which can be later than the client's time.
            until_ms = max(at_ms if runs_over else min(at_ms, zero_ms), zero_ms - row.remaining_ms)
            changes[at] = settle(state, row, until_ms)
    return with_clocks(state, changes)


def freeze_clocks(state: Session, at_ms: int) -> Session:
    """Return the state whose running clocks charge the time until its last version, and continue at `at_ms`."""
    changes = {}
    for at, row in _running(state).items():
        settled = settle(state, row, state.updated_at_ms)
        clock = replace(individual_clock(settled), anchor_ms=at_ms)
        changes[at] = read_budget(state, replace(settled, individual=clock), at_ms)
    return with_clocks(state, changes)


def _running(state: Session) -> Mapping[int, Participant]:
    """Return the participants whose clocks run, by position."""
    rows = enumerate(state.participants)
    return {at: row for at, row in rows if individual_clock(row).anchor_ms is not None}
