# Generated from synckairos.clock.timing by `make python-client`. Do not edit.
"""Readings of the clock, and the charge of elapsed time.

Each function maps a state, and in some functions an instant, to a value.
"""

from dataclasses import replace
from typing import TypeVar

from synckairos_client.generated.clock.clock_systems import ClockSystem, Hourglass, SuddenDeath
from synckairos_client.generated.clock.individual.all_clocks import charge_clocks
from synckairos_client.generated.clock.individual.clock_rows import clock_index
from synckairos_client.generated.clock.model import (
    CurrentTurn,
    Group,
    OnTimeout,
    Participant,
    Session,
    Status,
    SyncMode,
)
from synckairos_client.generated.clock.rest_days import end_of_running_time_ms

SUDDEN_DEATH = SuddenDeath()

T = TypeVar("T")


def clock_system_for(state: Session, participant: Participant | None = None) -> ClockSystem:
    """Return the clock system that `participant` uses: its own clock system, or else the session's clock system.

    If `participant` is None, return the session's clock system.
    """
    return state.rules.clock if participant is None or participant.clock is None else participant.clock


def find_group_index(state: Session, group_id: str | None) -> int | None:
    """Return the position of a group in `state.groups`, None if `group_id` is None or the session has no such group."""
    if group_id is None:
        return None
    return next((position for position, group in enumerate(state.groups) if group.group_id == group_id), None)


def active_group(state: Session) -> Group | None:
    """Return the group of the active participant, None if there is none.

    In modes other than `per_group`, participants can also have groups.
    """
    position = active_group_index(state)
    return None if position is None else state.groups[position]


def active_group_index(state: Session) -> int | None:
    """Return the position in `state.groups` of the active participant's group, None if there is none."""
    active = state.active_participant if state.groups else None
    return None if active is None else find_group_index(state, active.group_id)


def is_turn_free(state: Session) -> bool:
    """Return whether the current turn is a free first turn: the first turn of its participant, charged to no budget."""
    if state.rules.free_first_turn_ms is None:
        return False
    active = state.active_participant
    return active is not None and active.cycle_count == 0


def time_to_zero_ms(state: Session) -> int | None:
    """Return the time in ms that the clock must still run after the anchor until it reaches zero.

    None if there is no time limit. In `per_participant` and `per_group`, also None if no participant or group is
    active. If no clock runs, the result is the time for which the clock of the current turn would run. The result is
    below 0 only in overtime. In a free first turn, it is the time until the limit of this turn.
    """
    if state.rules.free_first_turn_ms is not None and is_turn_free(state):
        return state.rules.free_first_turn_ms - state.turn.used_ms
    mode = state.rules.sync_mode
    if mode is SyncMode.PER_PARTICIPANT:
        active = state.active_participant
        return None if active is None else clock_system_for(state, active).time_to_zero_ms(active, state.turn.used_ms)
    if mode is SyncMode.PER_GROUP:
        group = active_group(state)
        return None if group is None else state.rules.clock.time_to_zero_ms(group, state.turn.used_ms)
    return session_remaining_ms(state)


def session_remaining_ms(state: Session) -> int | None:
    """Return the remaining time of the session itself at the anchor in ms, None without an own budget or a limit.

    In a session with an end, it is the time from the anchor to the end. If no clock runs, it is the time from the last
    transition to the end. In an ended session, it is the time that was left at its end. Before the start, it is the
    time from `starts_at_ms` to the end, None without `starts_at_ms`. In `individual`, it is the sum of all budgets.
    """
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        is_unknown = state.ends_at_ms is not None and state.started_at_ms is None and state.starts_at_ms is None
        return None if is_unknown else clock_index(state).remaining_ms
    if state.ends_at_ms is None:
        return state.remaining_ms
    if state.started_at_ms is None:
        return None if state.starts_at_ms is None else state.ends_at_ms - state.starts_at_ms
    return state.ends_at_ms - (state.completed_at_ms or reading_at_ms(state))


def reading_at_ms(state: Session) -> int:
    """Return the instant to which the readings of the state apply: the anchor, or without it the last transition."""
    return state.updated_at_ms if state.anchor_ms is None else state.anchor_ms


def deadline_at_ms(state: Session) -> int | None:
    """Return the instant at which the running clock reaches zero.

    None if no clock runs, if there is no time limit, or if overtime has begun. For an expired session, return the
    deadline at which it expired. The clock of a session with an end also runs during a pause. In `individual`, return
    the earliest instant at which a clock reaches zero.
    """
    if state.status is Status.EXPIRED:
        return state.completed_at_ms
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        deadlines = () if state.status.is_final else clock_index(state).deadlines
        return deadlines[0] if deadlines else None
    left_ms = time_to_zero_ms(state)
    if state.ends_at_ms is not None and state.status is Status.PAUSED:
        is_over = state.rules.on_timeout is OnTimeout.OVERTIME and state.turn.is_in_overtime
        return None if is_over else state.ends_at_ms
    if left_ms is None or state.anchor_ms is None:
        return None
    if state.rules.on_timeout is OnTimeout.OVERTIME and (
        state.turn.is_in_overtime or (left_ms <= 0 and not is_turn_free(state))
    ):
        return None
    return _zero_at_ms(state, state.anchor_ms, left_ms)


def _zero_at_ms(state: Session, from_ms: int, running_ms: int) -> int:
    """Return the instant at which the clock has run for `running_ms` since `from_ms`, with the rests in between."""
    rest = state.rules.rest
    return from_ms + running_ms if rest is None else end_of_running_time_ms(rest, from_ms, running_ms)


def number_of_turn(state: Session) -> int:
    """Return the turn number of a session. For the first edition, return the number of ended turns plus 1.

    The first edition counts no begun turns, so its number is 1 before the start.
    """
    return state.turn.cycles + 1 if state.turn_number is None else state.turn_number


def can_get_turns(state: Session, participant: Participant) -> bool:
    """Return whether this participant can still get turns.

    This is True if the participant's own time, or in `per_group` the time of its group, has not run out. Under
    `on_timeout: overtime` it is always True.
    """
    if state.rules.on_timeout is OnTimeout.OVERTIME:
        return True
    if state.rules.sync_mode is SyncMode.PER_GROUP:
        position = find_group_index(state, participant.group_id)
        return position is None or not state.groups[position].has_expired
    return not participant.has_expired


def are_all_done(state: Session) -> bool:
    """Return whether all participants that can get turns are done in the current turn. False if there are none."""
    counted = [each for each in state.participants if can_get_turns(state, each)]
    return bool(counted) and all(each.done_turn == state.turn_number for each in counted)


# -- warnings ----------------------------------------------------------------------------------------------------------


def warning_thresholds_ms(state: Session) -> tuple[int, ...]:
    """Return the warning thresholds of the current turn in ms before zero, the greatest first.

    They are those of the plan item, or else those of the session. A free first turn has none.
    """
    if state.rules.free_first_turn_ms is not None and is_turn_free(state):
        return ()
    if state.item_position is not None and (own_ms := state.plan[state.item_position].warnings_ms) is not None:
        return own_ms
    return state.rules.warnings_ms


def reached_warning_thresholds_ms(state: Session) -> tuple[int, ...]:
    """Return the warning thresholds, in ms before zero, that the clock has reached at the anchor.

    These are the thresholds that are greater than or equal to the time to zero.
    """
    thresholds_ms = warning_thresholds_ms(state)
    if not thresholds_ms or (left_ms := time_to_zero_ms(state)) is None:
        return ()
    return tuple(threshold_ms for threshold_ms in thresholds_ms if threshold_ms >= left_ms)


def rearm_warnings(state: Session) -> Session:
    """Return the state in which warnings with a threshold below the time to zero count as not sent in this turn.

    So the clock sends such a warning again when it reaches the threshold. If the clock is above zero, overtime has not
    begun.
    """
    left_ms = time_to_zero_ms(state)
    if left_ms is None:
        return state
    warned_ms = tuple(threshold_ms for threshold_ms in state.turn.warned_ms if threshold_ms >= left_ms)
    is_in_overtime = state.turn.is_in_overtime and left_ms <= 0
    return replace(state, turn=replace(state.turn, warned_ms=warned_ms, is_in_overtime=is_in_overtime))


# -- the charge of elapsed time ---------------------------------------------------------------------------------------


def charge_session_until(state: Session, at_ms: int) -> Session:
    """Return the state after the time from the anchor to `at_ms` is charged. Its anchor is `at_ms`.

    Return `state` unchanged if no clock runs or if the anchor is not before `at_ms`. The version stays. In
    `individual`, all running clocks charge the time from their own anchors.
    """
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return charge_clocks(state, at_ms)
    if state.anchor_ms is None or at_ms <= state.anchor_ms:
        return state
    elapsed_ms = at_ms - state.anchor_ms
    turn = state.turn
    charged = replace(
        state,
        participants=_charge_participants(state, elapsed_ms),
        groups=_charge_groups(state, elapsed_ms),
        used_ms=state.used_ms + elapsed_ms,
        remaining_ms=None if state.remaining_ms is None else state.remaining_ms - elapsed_ms,
        turn=CurrentTurn(
            turn.used_ms + elapsed_ms, turn.cycles, turn.warned_ms, turn.is_in_overtime, turn.began_version
        ),
        anchor_ms=at_ms,
    )
    if (position := state.item_position) is None:
        return charged
    item = state.plan[position]
    item = replace(item, used_ms=item.used_ms + elapsed_ms)
    return replace(charged, plan=replace_item(state.plan, position, item))


def _charge_participants(state: Session, elapsed_ms: int) -> tuple[Participant, ...]:
    if state.active_position is None:
        return state.participants
    active = state.participants[state.active_position]
    used_ms = active.used_ms + elapsed_ms
    if state.rules.sync_mode is not SyncMode.PER_PARTICIPANT:
        share_ms = max(0, active.remaining_ms - elapsed_ms)
        return replace_item(
            state.participants, state.active_position, replace(active, used_ms=used_ms, remaining_ms=share_ms)
        )
    if state.rules.free_first_turn_ms is not None and is_turn_free(state):
        return replace_item(state.participants, state.active_position, replace(active, used_ms=used_ms))
    system = clock_system_for(state, active)
    left = system.charge_elapsed(active, state.turn.used_ms, elapsed_ms)
    charged = replace(active, used_ms=used_ms, remaining_ms=left.remaining_ms, reading=left.reading)
    participants = replace_item(state.participants, state.active_position, charged)
    if isinstance(system, Hourglass):
        other = 1 - state.active_position
        gained_ms = participants[other].remaining_ms + elapsed_ms
        participants = replace_item(participants, other, replace(participants[other], remaining_ms=gained_ms))
    return participants


def _charge_groups(state: Session, elapsed_ms: int) -> tuple[Group, ...]:
    if not state.groups:
        return ()
    position = active_group_index(state)
    if position is None:
        return state.groups
    group = state.groups[position]
    used_ms = group.used_ms + elapsed_ms
    if state.rules.sync_mode is not SyncMode.PER_GROUP:
        share_ms = max(0, group.remaining_ms - elapsed_ms)
        return replace_item(state.groups, position, replace(group, used_ms=used_ms, remaining_ms=share_ms))
    left = state.rules.clock.charge_elapsed(group, state.turn.used_ms, elapsed_ms)
    charged = replace(group, used_ms=used_ms, remaining_ms=left.remaining_ms, reading=left.reading)
    return replace_item(state.groups, position, charged)


def replace_item(items: tuple[T, ...], position: int, item: T) -> tuple[T, ...]:
    """Return a copy of `items` with `item` at `position`."""
    return (*items[:position], item, *items[position + 1 :])
