"""Participants that join or leave a session in `individual`."""

from synckairos.clock.individual.clock_rows import ClockRows, clock_index
from synckairos.clock.individual.row_clock import read_budget, settle
from synckairos.clock.model import Participant, Session, Status
from synckairos.frozen_replace import replace


def with_new_clock(state: Session, joined: Participant, position: int, now_ms: int) -> ClockRows:
    """Return the participants with `joined`, whose clock waits, at `position`."""
    rows = state.participants
    return ClockRows((*rows[:position], read_budget(state, joined, now_ms), *rows[position:]))


def without_clock(state: Session, position: int, now_ms: int) -> tuple[Session, Participant]:
    """Return the state without the participant at `position`, and this participant, which is charged until `now_ms`.

    The version stays. The session is paused if no clock runs any more. If no clock is open, its end is due.
    """
    leaver = settle(state, state.participants[position], now_ms)
    added_ms = leaver.used_ms - state.participants[position].used_ms
    rows = ClockRows((*state.participants[:position], *state.participants[position + 1 :]))
    left = replace(state, participants=rows, used_ms=state.used_ms + added_ms)
    if left.status is Status.RUNNING and not clock_index(left).has_running_clock:
        left = replace(left, status=Status.PAUSED)
    return left, leaver
