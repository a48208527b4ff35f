"""The end of a session in `individual` by a command, and the command `reopen`."""

from synckairos.clock.active_pause import REOPENED_REASON, ActivePause
from synckairos.clock.commands import Reopen
from synckairos.clock.individual.clock_rows import with_clocks
from synckairos.clock.individual.row_clock import (
    individual_clock,
    is_open,
    own_end_ms,
    settle,
    stop,
    with_reached_warnings,
)
from synckairos.clock.individual.targets import change_clocks, find_targets
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.make_transition import make_session_event, with_next_version
from synckairos.clock.model import OnTimeout, Participant, Session, Status
from synckairos.clock.start_and_end import check_end
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.frozen_replace import replace


def end(state: Session, status: Status, event_type: EventType, now_ms: int) -> Transition:
    """Return the transition that ends the session at `now_ms` with the final `status`.

    Running and paused clocks are finished. Waiting clocks stay waiting.
    """
    changes = {
        at: stop(state, row, ParticipantStatus.FINISHED, now_ms)
        for at, row in enumerate(state.participants)
        if individual_clock(row).status in (ParticipantStatus.RUNNING, ParticipantStatus.PAUSED)
    }
    ended = replace(with_next_version(with_clocks(state, changes), now_ms), status=status, completed_at_ms=now_ms)
    return Transition(make_session_event(event_type, ended, now_ms), ended)


def reopen(state: Session, command: Reopen, now_ms: int) -> Transition:
    """Return the transition that continues ended clocks, and with them an ended session.

    The clocks are paused for the reason `reopened`. The time since their ends is charged to no budget. Warnings below
    the new budgets are armed again. Without `participant_ids`, the command means the clocks that ended together with
    the session, or in an open session all ended clocks.

    Raises:
        InvalidTransition: the session never started, or the command applies to no clock.
        ValidationFailed: the time to add is missing or not positive, or see `targets.find_targets`.
        ParticipantNotFound: see `targets.find_targets`.
    """
    if state.started_at_ms is None:
        raise InvalidTransition(f"Session cannot be reopened: the session is {state.status} and never started")
    ended_at_ms = state.completed_at_ms if command.participant_ids is None else None

    def fault_of(row: Participant) -> str | None:
        clock = individual_clock(row)
        if is_open(row):
            return f"is {clock.status}"
        return None if ended_at_ms in (None, clock.finished_at_ms) else "ended before the session"

    positions = find_targets(state, command.participant_ids, None, fault_of, "Session cannot be reopened")
    rows = ((at, state.participants[at]) for at in positions)
    changes = {at: _reopen_clock(state, row, command.delta_ms, now_ms) for at, row in rows}
    return change_clocks(state, changes, EventType.SESSION_REOPENED, now_ms)


def _reopen_clock(state: Session, row: Participant, delta_ms: int | None, now_ms: int) -> Participant:
    clock = individual_clock(row)
    has_expired = clock.status is ParticipantStatus.EXPIRED
    if delta_ms is None and (has_expired or state.ends_at_ms is not None):
        reason = "time ran out" if has_expired else "the new end is delta_ms from now"
        raise ValidationFailed.at_path("delta_ms", f"required, because {reason}")
    if delta_ms is not None and delta_ms <= 0 and (has_expired or state.ends_at_ms is not None):
        raise ValidationFailed.at_path("delta_ms", "should be positive, because time ran out or the session has an end")
    pauses = (ActivePause(REOPENED_REASON, now_ms),)
    opened = replace(clock, status=ParticipantStatus.PAUSED, finished_at_ms=None, pauses=pauses)
    if state.ends_at_ms is not None:
        assert delta_ms is not None
        check_end(now_ms + delta_ms, now_ms, "delta_ms")
        end_ms = own_end_ms(state, opened)
        assert end_ms is not None
        opened = replace(opened, end_offset_ms=clock.end_offset_ms + now_ms + delta_ms - end_ms)
        reopened = settle(state, replace(row, has_expired=False, individual=opened), now_ms)
    else:
        left_ms = row.remaining_ms + (delta_ms or 0)
        if left_ms <= 0 and state.rules.on_timeout is not OnTimeout.OVERTIME:
            raise ValidationFailed.at_path("delta_ms", f"participant {row.participant_id} would still have no time")
        reopened = replace(row, remaining_ms=left_ms, has_expired=False, individual=opened)
    return with_reached_warnings(state, reopened)
