"""Adjusting: time added or taken, for one, some, a group or everyone, in one version."""

from dataclasses import replace
from typing import TypeVar

from synckairos.clock.commands import Adjust
from synckairos.clock.model import EventType, Group, Participant, Session, SyncMode, Transition
from synckairos.clock.timing import group_position, settle, to_zero_ms
from synckairos.clock.turns import event, position_of, step
from synckairos.errors import ValidationFailed

Owner = TypeVar("Owner", Participant, Group)


def adjust(state: Session, command: Adjust, now_ms: int) -> Transition:
    """Add `delta_ms` to the budgets named; none falls below 0, and one that reaches 0 while it runs is due now.

    Raises:
        ParticipantNotFound: a participant named isn't there.
        ValidationFailed: the names don't fit the mode, the group isn't there, or nothing limits the time.
    """
    settled = settle(state, now_ms)
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            changed = _adjust_participants(settled, command)
        case SyncMode.PER_GROUP:
            changed = _adjust_groups(settled, command)
        case _:
            changed = _adjust_session(settled, command)
    rearmed = _rearm(step(changed, now_ms))
    about = None
    if command.participant_ids is not None and len(command.participant_ids) == 1:
        about = rearmed.participants[position_of(rearmed, command.participant_ids[0])]
    return Transition(event(EventType.TIME_ADJUSTED, rearmed, now_ms, about), rearmed)


def _adjust_participants(state: Session, command: Adjust) -> Session:
    chosen: set[str] | None = None
    if command.participant_ids is not None:
        for participant_id in command.participant_ids:
            position_of(state, participant_id)
        chosen = set(command.participant_ids)
    if command.group_id is not None and not any(p.group_id == command.group_id for p in state.participants):
        raise ValidationFailed.at("group_id", "nobody in this session belongs to this group")
    return replace(
        state,
        participants=tuple(
            _add_time(p, command.delta_ms)
            if (chosen is None or p.participant_id in chosen) and command.group_id in (None, p.group_id)
            else p
            for p in state.participants
        ),
    )


def _adjust_groups(state: Session, command: Adjust) -> Session:
    if command.participant_ids is not None:
        raise ValidationFailed.at("participant_ids", "budgets belong to groups in per_group: name a group_id")
    if command.group_id is not None and group_position(state, command.group_id) is None:
        raise ValidationFailed.at("group_id", "this group is not in this session")
    return replace(
        state,
        groups=tuple(
            _add_time(group, command.delta_ms) if command.group_id in (None, group.group_id) else group
            for group in state.groups
        ),
    )


def _adjust_session(state: Session, command: Adjust) -> Session:
    for path, value in (("participant_ids", command.participant_ids), ("group_id", command.group_id)):
        if value is not None:
            mode = state.rules.sync_mode
            raise ValidationFailed.at(path, f"one budget runs for the whole session in {mode}: leave this out")
    if state.remaining_ms is None:
        raise ValidationFailed.at("delta_ms", "this session counts up without max_time_ms: nothing limits its time")
    return replace(state, remaining_ms=max(0, state.remaining_ms + command.delta_ms))


def _add_time(owner: Owner, delta_ms: int) -> Owner:
    remaining_ms = max(0, owner.remaining_ms + delta_ms)
    return replace(owner, remaining_ms=remaining_ms, has_expired=owner.has_expired and remaining_ms == 0)


def _rearm(state: Session) -> Session:
    """Arm the warnings again that the clock now stands above."""
    left_ms = to_zero_ms(state)
    if left_ms is None:
        return state
    warned = tuple(threshold for threshold in state.turn.warned_ms if threshold >= left_ms)
    return replace(state, turn=replace(state.turn, warned_ms=warned))
