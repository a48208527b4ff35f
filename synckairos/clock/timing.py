"""Readings: what runs, how long until its zero, what falls due next, and what passing time does to it.

Everything here is a function of a state and an instant; nothing decides what happens then (`chain.py` does).
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

from synckairos.clock.clock_systems import ClockSystem, Hourglass, SuddenDeath
from synckairos.clock.model import Group, OnTimeout, Participant, Session, Status, SyncMode, Turn
from synckairos.fast_dataclass import fast_dataclass, replace

SUDDEN_DEATH = SuddenDeath()

T = TypeVar("T")


def clock_system_for(state: Session, participant: Participant | None = None) -> ClockSystem:
    """Return the clock system that a participant (or, without one, the session's groups) plays by."""
    return state.rules.clock if participant is None or participant.clock is None else participant.clock


def group_position(state: Session, group_id: str | None) -> int | None:
    """Return where a group stands in `state.groups`, None where it isn't there."""
    if group_id is None:
        return None
    return next((at for at, group in enumerate(state.groups) if group.group_id == group_id), None)


def active_group(state: Session) -> Group | None:
    """Return the active participant's group, in any mode."""
    at = active_group_position(state)
    return None if at is None else state.groups[at]


def active_group_position(state: Session) -> int | None:
    """Return where the active participant's group stands in `state.groups`."""
    active = state.active_participant if state.groups else None
    return None if active is None else group_position(state, active.group_id)


def time_to_zero_ms(state: Session) -> int | None:
    """Return the ms of running time from the anchor to the running clock's zero, None where nothing limits it.

    Where nothing runs: what it would be if the session ran. Below 0 only in overtime.
    """
    mode = state.rules.sync_mode
    if mode is SyncMode.PER_PARTICIPANT:
        active = state.active_participant
        return None if active is None else clock_system_for(state, active).time_to_zero_ms(active, state.turn.used_ms)
    if mode is SyncMode.PER_GROUP:
        group = active_group(state)
        return None if group is None else state.rules.clock.time_to_zero_ms(group, state.turn.used_ms)
    return state.remaining_ms


def deadline_at_ms(state: Session) -> int | None:
    """Return the instant of the running clock's zero.

    None where nothing runs, nothing limits it, or overtime is already under way. An expired session keeps the deadline
    that ended it.
    """
    if state.status is Status.EXPIRED:
        return state.completed_at_ms
    left_ms = time_to_zero_ms(state)
    if left_ms is None or state.anchor_ms is None:
        return None
    if left_ms <= 0 and state.rules.on_timeout is OnTimeout.OVERTIME:
        return None
    return state.anchor_ms + left_ms


# -- what time itself will do -----------------------------------------------------------------------------------------


@fast_dataclass
@dataclass(frozen=True, slots=True)
class DueEvent:
    """The next thing that time itself will do: at which instant, and what. `warning_ms` is the threshold reached."""

    at_ms: int
    kind: Literal["timeout", "warning", "lift"]
    warning_ms: int = 0


def next_due_event(state: Session) -> DueEvent | None:
    """Return what falls due next if nobody does anything, None where time changes nothing any more."""
    if state.status is Status.PAUSED:
        lifts = [at for pause in state.pauses if (at := pause.lifts_at_ms) is not None]
        return DueEvent(min(lifts), "lift") if lifts else None
    if state.anchor_ms is None or (left_ms := time_to_zero_ms(state)) is None:
        return None
    if left_ms > 0:
        for threshold_ms in state.rules.warnings_ms:
            if threshold_ms not in state.turn.warned_ms:
                # Taking time can jump over a threshold: its warning is due at once.
                return DueEvent(state.anchor_ms + max(0, left_ms - threshold_ms), "warning", threshold_ms)
    if state.rules.on_timeout is OnTimeout.OVERTIME:
        return None
    return DueEvent(state.anchor_ms + left_ms, "timeout")


def reached_warnings_ms(state: Session) -> tuple[int, ...]:
    """Return the warning thresholds that the running clock stands at or below."""
    if not state.rules.warnings_ms or (left_ms := time_to_zero_ms(state)) is None:
        return ()
    return tuple(threshold_ms for threshold_ms in state.rules.warnings_ms if threshold_ms >= left_ms)


# -- what passing time does -------------------------------------------------------------------------------------------


def charge_until(state: Session, at_ms: int) -> Session:
    """Charge the time from the anchor to `at_ms` and move the anchor there. Does nothing where nothing runs."""
    if state.anchor_ms is None or at_ms <= state.anchor_ms:
        return state
    elapsed_ms = at_ms - state.anchor_ms
    turn = state.turn
    return replace(
        state,
        participants=_charge_participants(state, elapsed_ms),
        groups=_charge_groups(state, elapsed_ms),
        used_ms=state.used_ms + elapsed_ms,
        remaining_ms=None if state.remaining_ms is None else state.remaining_ms - elapsed_ms,
        turn=Turn(turn.used_ms + elapsed_ms, turn.cycles, turn.warned_ms),
        anchor_ms=at_ms,
    )


def _charge_participants(state: Session, elapsed_ms: int) -> tuple[Participant, ...]:
    if state.active is None:
        return state.participants
    active = state.participants[state.active]
    used_ms = active.used_ms + elapsed_ms
    if state.rules.sync_mode is not SyncMode.PER_PARTICIPANT:
        share_ms = max(0, active.remaining_ms - elapsed_ms)
        return replace_item(state.participants, state.active, replace(active, used_ms=used_ms, remaining_ms=share_ms))
    system = clock_system_for(state, active)
    left = system.charge(active, state.turn.used_ms, elapsed_ms)
    charged = replace(active, used_ms=used_ms, remaining_ms=left.remaining_ms, reading=left.reading)
    participants = replace_item(state.participants, state.active, charged)
    if isinstance(system, Hourglass):
        other = 1 - state.active
        gained_ms = participants[other].remaining_ms + elapsed_ms
        participants = replace_item(participants, other, replace(participants[other], remaining_ms=gained_ms))
    return participants


def _charge_groups(state: Session, elapsed_ms: int) -> tuple[Group, ...]:
    at = active_group_position(state)
    if at is None:
        return state.groups
    group = state.groups[at]
    used_ms = group.used_ms + elapsed_ms
    if state.rules.sync_mode is not SyncMode.PER_GROUP:
        share_ms = max(0, group.remaining_ms - elapsed_ms)
        return replace_item(state.groups, at, replace(group, used_ms=used_ms, remaining_ms=share_ms))
    left = state.rules.clock.charge(group, state.turn.used_ms, elapsed_ms)
    return replace_item(
        state.groups, at, replace(group, used_ms=used_ms, remaining_ms=left.remaining_ms, reading=left.reading)
    )


def replace_item(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    """Return `items` with the one at position `at` replaced; all others are shared."""
    return (*items[:at], item, *items[at + 1 :])
