"""The command `adjust`, which adds time to budgets or subtracts time from budgets."""

from typing import TypeVar

from synckairos.clock.begin_turn import block_undo
from synckairos.clock.budget import Budget
from synckairos.clock.clock_systems import ClockSystem
from synckairos.clock.commands import Adjust
from synckairos.clock.make_transition import find_participant_index, make_event, make_session_event, with_next_version
from synckairos.clock.model import Group, OnTimeout, Participant, Session, SyncMode
from synckairos.clock.start_and_end import move_end
from synckairos.clock.timing import (
    SUDDEN_DEATH,
    charge_session_until,
    clock_system_for,
    find_group_index,
    rearm_warnings,
)
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import ParticipantNotFound, ValidationFailed
from synckairos.frozen_replace import replace

Owner = TypeVar("Owner", Participant, Group)


def adjust(state: Session, command: Adjust, now_ms: int) -> Transition | None:
    """Return the transition of the command `adjust`, None if no budget changes.

    A negative `delta_ms` lowers a budget to 0 at most, and leaves a budget that is already below 0 unchanged.
    Exception: in a session of the second edition with `on_timeout: overtime`, it also lowers a budget to below 0, or
    further below 0. But main time, or a period that another period follows, never falls below 0. If `participant_ids`
    and `group_id` are both given, only the named participants of this group are adjusted.

    The transition does not contain a timeout. If the time to zero of the running clock becomes 0, the returned state is
    due at `now_ms`, and the caller must apply its overdue transitions (see `engine.apply`).

    Raises:
        ParticipantNotFound: `participant_ids` has an id that the session does not have.
        ValidationFailed: the mode does not allow `participant_ids` or `group_id`, the session has no group
            `group_id`, or a `count_up` session has no maximum.
    """
    charged = with_next_version(charge_session_until(state, now_ms), now_ms)
    adjusted = adjust_budgets(charged, command)
    if _budgets(adjusted) == _budgets(charged):
        return None
    adjusted = block_undo(rearm_warnings(adjusted))
    subject: Participant | Group | None = None
    if command.participant_ids is not None and len(command.participant_ids) == 1:
        subject = adjusted.participants[find_participant_index(adjusted, command.participant_ids[0])]
    elif (position := find_group_index(adjusted, command.group_id)) is not None:
        subject = adjusted.groups[position]
    if subject is None:
        return Transition(make_session_event(EventType.TIME_ADJUSTED, adjusted, now_ms), adjusted)
    return Transition(make_event(EventType.TIME_ADJUSTED, adjusted, now_ms, subject), adjusted)


def adjust_budgets(charged: Session, command: Adjust) -> Session:
    """Return the state with the budgets of the command changed. The version stays.

    Expects a state in which elapsed time is charged, and whose last transition is at the present.

    Raises: the errors of `adjust`.
    """
    match charged.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            return _adjust_participants(charged, command)
        case SyncMode.PER_GROUP:
            return _adjust_groups(charged, command)
        case _:
            return _adjust_session(charged, command)


def _budgets(state: Session) -> tuple[object, ...]:
    return state.participants, state.groups, state.remaining_ms, state.ends_at_ms


def _adjust_participants(state: Session, command: Adjust) -> Session:
    chosen: set[int] | None = None
    if command.participant_ids is not None:
        positions = {p.participant_id: position for position, p in enumerate(state.participants)}
        if missing := [each for each in command.participant_ids if each not in positions]:
            raise ParticipantNotFound(missing[0])
        chosen = {positions[each] for each in command.participant_ids}
    if command.group_id is not None and find_group_index(state, command.group_id) is None:
        raise ValidationFailed.at_path("group_id", "this group is not in this session")
    return replace(
        state,
        participants=tuple(
            _add_time(p, clock_system_for(state, p), command.delta_ms, _may_fall_below_zero(state))
            if (chosen is None or position in chosen) and command.group_id in (None, p.group_id)
            else p
            for position, p in enumerate(state.participants)
        ),
    )


def _adjust_groups(state: Session, command: Adjust) -> Session:
    if command.participant_ids is not None:
        raise ValidationFailed.at_path("participant_ids", "in per_group the budgets belong to groups; use group_id")
    if command.group_id is not None and find_group_index(state, command.group_id) is None:
        raise ValidationFailed.at_path("group_id", "this group is not in this session")
    return replace(
        state,
        groups=tuple(
            _add_time(group, clock_system_for(state), command.delta_ms, _may_fall_below_zero(state))
            if command.group_id in (None, group.group_id)
            else group
            for group in state.groups
        ),
    )


def _adjust_session(state: Session, command: Adjust) -> Session:
    for path, value in (("participant_ids", command.participant_ids), ("group_id", command.group_id)):
        if value is not None:
            mode = state.rules.sync_mode
            raise ValidationFailed.at_path(path, f"in {mode} one budget serves the whole session; omit this member")
    if state.ends_at_ms is not None:
        return move_end(state, command.delta_ms, _may_fall_below_zero(state))
    if state.remaining_ms is None:
        raise ValidationFailed.at_path(
            "delta_ms", "this session counts up without max_time_ms, so there is no budget to adjust"
        )
    adjusted = SUDDEN_DEATH.add_time(Budget(state.remaining_ms), command.delta_ms, _may_fall_below_zero(state))
    return replace(state, remaining_ms=adjusted.remaining_ms)


def _may_fall_below_zero(state: Session) -> bool:
    return state.is_second_edition and state.rules.on_timeout is OnTimeout.OVERTIME


def _add_time(owner: Owner, system: ClockSystem, delta_ms: int, may_fall_below_zero: bool) -> Owner:
    left = system.add_time(owner, delta_ms, may_fall_below_zero)
    has_expired = owner.has_expired and left.remaining_ms <= 0
    return replace(owner, remaining_ms=left.remaining_ms, reading=left.reading, has_expired=has_expired)
