"""The command `update_participant`: the initial budget, the clock system and the display name of a participant."""

from synckairos.clock.begin_turn import block_undo
from synckairos.clock.clock_systems import ClockSystem, Hourglass, PerMove
from synckairos.clock.commands import UpdateParticipant
from synckairos.clock.individual.clock_rows import with_clocks
from synckairos.clock.individual.row_clock import individual_clock, scale_time
from synckairos.clock.individual_clock import ParticipantStatus
from synckairos.clock.lag_compensation import open_lag_account
from synckairos.clock.make_transition import find_participant_index, make_event, with_next_version
from synckairos.clock.model import OnTimeout, Participant, Session, Status, SyncMode
from synckairos.clock.timing import charge_session_until, clock_system_for, rearm_warnings, replace_item
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.frozen_replace import replace


def update_participant(state: Session, command: UpdateParticipant, now_ms: int) -> Transition | None:
    """Return the transition that changes a participant, None if nothing changes.

    A new budget has the effect of a creation with this budget: the time that the first turn has used is subtracted from
    it, and earlier adjustments of this participant are lost. No undo can cross a change of a budget or clock system.

    The transition contains no warning. A warning that a lower budget has passed is due at `now_ms`, and the caller must
    apply it (see `engine.apply`).

    Raises:
        ParticipantNotFound: the session has no such participant.
        InvalidTransition: the command changes a budget or a clock system, but the session or the first turn of the
            participant is over, or its clock in `individual` has started.
        ValidationFailed: the session is of the first edition, the mode or clock system does not allow the change, or
            the budget is not above the time that is used.
    """
    if not state.is_second_edition:
        raise ValidationFailed.at_path("", "participants of sessions of the first edition cannot be changed")
    position = find_participant_index(state, command.participant_id)
    before, row = state, state.participants[position]
    if command.total_time_ms is not None or command.clock is not None:
        before, row = _with_new_clock(state, position, command, now_ms)
    has_new_clock = row != before.participants[position]
    if command.display_name is not None or command.removes_display_name:
        row = replace(row, display_name=command.display_name)
    if row == before.participants[position]:
        return None
    updated = with_next_version(_with_participant(before, position, row), now_ms)
    if has_new_clock and state.rules.sync_mode is SyncMode.PER_PARTICIPANT:
        updated = block_undo(rearm_warnings(updated))
    return Transition(make_event(EventType.PARTICIPANT_UPDATED, updated, now_ms, row), updated)


def _with_participant(state: Session, position: int, row: Participant) -> Session:
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return with_clocks(state, {position: row})
    return replace(state, participants=replace_item(state.participants, position, row))


def _with_new_clock(
    state: Session, position: int, command: UpdateParticipant, now_ms: int
) -> tuple[Session, Participant]:
    """Return the state before the change, and the participant at `position` with its new budget or clock system.

    In `per_participant`, elapsed time until `now_ms` is charged in this state.
    """
    if state.status.is_final:
        raise InvalidTransition(f"Budgets cannot be changed: the session is {state.status}")
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            charged = charge_session_until(state, now_ms)
            return charged, _with_budget_before_turn_end(charged, charged.participants[position], command)
        case SyncMode.INDIVIDUAL:
            return state, _with_budget_of_waiting_clock(state, state.participants[position], command)
        case mode:
            path = "clock" if command.total_time_ms is None else "total_time_ms"
            raise ValidationFailed.at_path(path, f"in {mode} the budgets do not belong to participants; omit it")


def _with_budget_of_waiting_clock(state: Session, row: Participant, command: UpdateParticipant) -> Participant:
    """Return the participant of a session in `individual` with the new budget times its time factor."""
    if command.clock is not None:
        raise ValidationFailed.at_path("clock", "a participant can have its own clock only in per_participant")
    if state.ends_at_ms is not None:
        raise ValidationFailed.at_path("total_time_ms", "contradicts ends_at of the session; omit it")
    clock = individual_clock(row)
    if clock.status is not ParticipantStatus.WAITING:
        raise InvalidTransition(f"The clock of the participant is {clock.status}, not waiting; adjust it instead")
    assert command.total_time_ms is not None
    if command.total_time_ms == 0 and state.rules.on_timeout is not OnTimeout.OVERTIME:
        raise ValidationFailed.at_path("total_time_ms", "should be above 0")
    return replace(row, remaining_ms=scale_time(command.total_time_ms, clock.time_factor))


def _with_budget_before_turn_end(state: Session, row: Participant, command: UpdateParticipant) -> Participant:
    """Return the participant of a session in `per_participant` with the new clock system and budget.

    Expects a state in which elapsed time is charged.
    """
    if row.cycle_count:
        raise InvalidTransition("The first turn of the participant is over; adjust it instead")
    if isinstance(state.rules.clock, Hourglass) and state.status is not Status.PENDING:
        # The time that one participant uses is already in the budget of the other participant.
        raise InvalidTransition(f"The session is {state.status} and has an hourglass; adjust it instead")
    if command.clock is not None and (isinstance(state.rules.clock, Hourglass) or isinstance(command.clock, Hourglass)):
        raise ValidationFailed.at_path("clock", "an hourglass is the clock of both participants")
    # A free first turn is not charged to the budget.
    used_ms = 0 if state.rules.free_first_turn_ms is not None else row.used_ms
    system = command.clock or clock_system_for(state, row)
    main_ms = _main_time_ms(state, row, command, used_ms)
    initial = system.make_initial_budget(main_ms)
    total_ms = initial.remaining_ms if isinstance(system, PerMove) else main_ms
    path = "clock" if command.total_time_ms is None else "total_time_ms"
    if used_ms and total_ms <= used_ms:
        raise ValidationFailed.at_path(path, f"the time should be above the {used_ms} ms that are used")
    if state.rules.on_timeout is not OnTimeout.OVERTIME and system.time_to_zero_ms(initial, 0) <= 0:
        raise ValidationFailed.at_path(path, "the first turn would have no time")
    left = system.charge_elapsed(initial, 0, used_ms)
    return replace(
        row,
        clock=command.clock or row.clock,
        remaining_ms=left.remaining_ms,
        reading=left.reading,
        has_expired=False,  # a participant can only have expired without overtime, and then has time again
        lag=open_lag_account(system, main_ms) if state.rules.lag_compensation else None,
    )


def _main_time_ms(state: Session, row: Participant, command: UpdateParticipant, used_ms: int) -> int:
    """Return the main time in ms that the participant has before its first turn: the new one, or else the present one.

    It is 0 with `per_move`, which has no main time. `used_ms` is the time of the first turn that is charged.
    """
    system: ClockSystem = command.clock or clock_system_for(state, row)
    if isinstance(system, PerMove):
        if command.total_time_ms is not None:
            raise ValidationFailed.at_path("total_time_ms", "per_move has no main time; omit it")
        return 0
    if command.total_time_ms is not None:
        return command.total_time_ms
    if used_ms or isinstance(clock_system_for(state, row), PerMove):
        raise ValidationFailed.at_path("total_time_ms", "required with clock after the start of the first turn")
    is_in_overtime = row.reading is not None and row.reading.phase == "overtime"
    return 0 if is_in_overtime else row.remaining_ms
