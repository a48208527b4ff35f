"""The commands `start`, `pause`, `resume` and `finish` in `individual`."""

from synckairos.clock.active_pause import ActivePause
from synckairos.clock.commands import Finish, Pause, Resume, Start
from synckairos.clock.individual.row_clock import individual_clock, own_end_ms, read_budget, run, stop, with_pauses
from synckairos.clock.individual.targets import change_clocks, find_targets
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.model import Participant, Session, Status
from synckairos.clock.pauses import take_from_pause_budget
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import Forbidden, InvalidTransition
from synckairos.frozen_replace import replace

PAUSABLE = frozenset({ParticipantStatus.RUNNING, ParticipantStatus.PAUSED})
"""Statuses of clocks that can be paused for a further reason, and that can be finished."""


def start(state: Session, command: Start, now_ms: int) -> Transition:
    """Return the transition that starts waiting clocks. The first start also starts the session, in its only turn.

    Raises:
        InvalidTransition: no clock of the command waits, or the session has an end, and `now_ms` is not before the end.
        ValidationFailed, ParticipantNotFound: see `targets.find_targets`.
    """
    if state.ends_at_ms is not None and now_ms >= state.ends_at_ms:
        raise InvalidTransition(
            f"Session cannot be started: the session is {state.status} and its ends_at has passed; change ends_at first"
        )
    is_first = state.status is Status.PENDING
    started = replace(state, started_at_ms=now_ms, turn_number=1) if is_first else state

    def fault_of(row: Participant) -> str | None:
        clock = individual_clock(row)
        if clock.status is not ParticipantStatus.WAITING:
            return f"is {clock.status}"
        end_ms = own_end_ms(started, clock)
        return "has no time left before its end" if end_ms is not None and now_ms >= end_ms else None

    positions = find_targets(state, command.participant_ids, command.group_id, fault_of, "Session cannot be started")
    if is_first and state.ends_at_ms is not None:
        # The end of each clock is known from now on.
        changes = {at: read_budget(started, row, now_ms) for at, row in enumerate(state.participants)}
    else:
        changes = {at: state.participants[at] for at in positions}
    changes |= {at: run(started, changes[at], now_ms) for at in positions}
    return change_clocks(
        started,
        changes,
        EventType.SESSION_STARTED if is_first else EventType.PARTICIPANT_STARTED,
        now_ms,
        concerned=positions,
    )


def pause(state: Session, command: Pause, now_ms: int) -> Transition:
    """Return the transition that pauses clocks for a reason, or adds a reason to paused clocks.

    One command counts as one pause of its actor, for any number of clocks.

    Raises:
        InvalidTransition: the command applies to no clock, or the actor's pause budget is used up.
        ValidationFailed, ParticipantNotFound: see `targets.find_targets`.
    """

    def fault_of(row: Participant) -> str | None:
        clock = individual_clock(row)
        if clock.status not in PAUSABLE:
            return f"is {clock.status}"
        if any(each.reason == command.reason for each in clock.pauses):
            return f"is already paused for the reason {command.reason!r}"
        return None

    positions = find_targets(state, command.participant_ids, command.group_id, fault_of, "Session cannot be paused")
    taken_by = command.taken_by or command.actor
    counted = take_from_pause_budget(state, taken_by)
    reason = ActivePause(command.reason, now_ms, command.max_ms, taken_by)
    rows = ((at, state.participants[at]) for at in positions)
    changes = {at: with_pauses(state, row, (*individual_clock(row).pauses, reason), now_ms) for at, row in rows}
    return change_clocks(counted, changes, EventType.PARTICIPANT_PAUSED, now_ms)


def resume(state: Session, command: Resume, now_ms: int) -> Transition:
    """Return the transition that ends the pause reason of the command, or all pause reasons, of clocks.

    A clock runs again if it has no other pause reason.

    Raises:
        Forbidden: the command has `taken_by`, and `taken_by` took no such pause.
        InvalidTransition: the command applies to no clock.
        ValidationFailed, ParticipantNotFound: see `targets.find_targets`.
    """

    def is_lifted(pause: ActivePause) -> bool:
        return command.reason in (None, pause.reason) and command.taken_by in (None, pause.paused_by)

    def fault_of(row: Participant) -> str | None:
        clock = individual_clock(row)
        if clock.status is not ParticipantStatus.PAUSED:
            return f"is {clock.status}"
        if any(map(is_lifted, clock.pauses)):
            return None
        if command.taken_by is not None and command.participant_ids is not None:
            raise Forbidden("A participant ends only its own pauses, and it has taken no such pause")
        return f"is not paused for the reason {command.reason!r}"

    positions = find_targets(state, command.participant_ids, command.group_id, fault_of, "Session cannot be resumed")
    changes = {}
    for at in positions:
        row = state.participants[at]
        rest = tuple(pause for pause in individual_clock(row).pauses if not is_lifted(pause))
        changes[at] = with_pauses(state, row, rest, now_ms)
    return change_clocks(state, changes, EventType.PARTICIPANT_RESUMED, now_ms)


def finish(state: Session, command: Finish, now_ms: int) -> Transition:
    """Return the transition that ends running and paused clocks before their zero.

    Raises:
        InvalidTransition: the command applies to no clock.
        ValidationFailed, ParticipantNotFound: see `targets.find_targets`.
    """

    def fault_of(row: Participant) -> str | None:
        status = individual_clock(row).status
        return None if status in PAUSABLE else f"is {status}"

    positions = find_targets(state, command.participant_ids, command.group_id, fault_of, "Session cannot be finished")
    rows = ((at, state.participants[at]) for at in positions)
    changes = {at: stop(state, row, ParticipantStatus.FINISHED, now_ms) for at, row in rows}
    return change_clocks(state, changes, EventType.PARTICIPANT_FINISHED, now_ms)
