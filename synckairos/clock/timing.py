"""Readings: what runs, how long until its zero, and what passing time does to it.

Everything here is a function of a state and an instant; nothing decides what happens next (`engine.py` does).
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from synckairos.clock.model import Group, OnTimeout, Participant, Session, Status, SyncMode
from synckairos.clock.systems import Hourglass, Purse, SuddenDeath, System

SUDDEN_DEATH = SuddenDeath()

T = TypeVar("T")


def system_of(state: Session, participant: Participant | None = None) -> System:
    """Return the clock system that a participant (or, without one, the session's groups) plays by."""
    own = None if participant is None else participant.clock
    return own or state.rules.clock



def group_position(state: Session, group_id: str | None) -> int | None:
    """Return where a group stands in `state.groups`, None where it isn't there."""
    return next((at for at, group in enumerate(state.groups) if group.group_id == group_id), None)


def active_group(state: Session) -> Group | None:
    """Return the active participant's group, in any mode."""
    active = state.active_participant
    at = None if active is None else group_position(state, active.group_id)
    return None if at is None else state.groups[at]


def running_purse(state: Session) -> tuple[Purse, System] | None:
    """Return the budget that runs (or would, if the session ran) and its system; None where nothing limits it."""
    match state.rules.sync_mode:
        case SyncMode.PER_PARTICIPANT:
            owner: Participant | Group | None = state.active_participant
            system = system_of(state, state.active_participant)
        case SyncMode.PER_GROUP:
            owner, system = active_group(state), system_of(state)
        case _:
            return None if state.remaining_ms is None else (Purse(state.remaining_ms), SUDDEN_DEATH)
    return None if owner is None else (Purse(owner.remaining_ms, owner.reading), system)


def to_zero_ms(state: Session) -> int | None:
    """Return the ms of running time from the anchor to the running clock's zero, None where it has none.

    Below 0 only in overtime.
    """
    running = running_purse(state)
    if running is None:
        return None
    purse, system = running
    return system.to_zero_ms(purse, state.turn.used_ms)


def deadline_at_ms(state: Session) -> int | None:
    """Return the instant of the running clock's zero.

    None where nothing runs, nothing limits it, or overtime is already under way. An expired session keeps the deadline
    that ended it.
    """
    if state.status is Status.EXPIRED:
        return state.completed_at_ms
    left_ms = to_zero_ms(state) if state.anchor_ms is not None else None
    if left_ms is None or state.anchor_ms is None:
        return None
    if state.rules.on_timeout is OnTimeout.OVERTIME and left_ms <= 0:
        return None
    return state.anchor_ms + left_ms


@dataclass(frozen=True, slots=True)
class Due:
    """The next thing that time itself will do: at which instant, and what. `warning_ms` is the threshold reached."""

    at_ms: int
    kind: Literal["timeout", "warning", "lift"]
    warning_ms: int = 0


def next_due(state: Session) -> Due | None:
    """Return what falls due next if nobody does anything, None where time changes nothing any more."""
    if state.deleted or state.status.is_final:
        return None
    if state.status is Status.PAUSED:
        lifts = [at for pause in state.pauses if (at := pause.lifts_at_ms) is not None]
        return Due(min(lifts), "lift") if lifts else None
    left_ms = to_zero_ms(state)
    if state.anchor_ms is None or left_ms is None:
        return None
    armed = [t for t in state.rules.warnings_ms if t < left_ms and t not in state.turn.warned_ms]
    if armed:
        first = max(armed)
        return Due(state.anchor_ms + left_ms - first, "warning", first)
    if state.rules.on_timeout is OnTimeout.OVERTIME:
        return None
    return Due(state.anchor_ms + left_ms, "timeout")


def settle(state: Session, at_ms: int) -> Session:
    """Charge the time from the anchor to `at_ms` and move the anchor there. Does nothing where nothing runs."""
    if state.anchor_ms is None:
        return state
    elapsed_ms = max(0, at_ms - state.anchor_ms)
    if not elapsed_ms:
        return state
    turn = replace(state.turn, used_ms=state.turn.used_ms + elapsed_ms)
    return replace(
        state,
        participants=_charge_participants(state, elapsed_ms),
        groups=_charge_groups(state, elapsed_ms),
        used_ms=state.used_ms + elapsed_ms,
        remaining_ms=None if state.remaining_ms is None else state.remaining_ms - elapsed_ms,
        turn=turn,
        anchor_ms=at_ms,
    )


def _charge_participants(state: Session, elapsed_ms: int) -> tuple[Participant, ...]:
    active = state.active_participant
    if active is None or state.active is None:
        return state.participants
    used_ms = active.used_ms + elapsed_ms
    if state.rules.sync_mode is not SyncMode.PER_PARTICIPANT:
        share_ms = max(0, active.remaining_ms - elapsed_ms)
        return put(state.participants, state.active, replace(active, used_ms=used_ms, remaining_ms=share_ms))
    system = system_of(state, active)
    purse = system.spend(Purse(active.remaining_ms, active.reading), state.turn.used_ms, elapsed_ms)
    charged = replace(active, used_ms=used_ms, remaining_ms=purse.remaining_ms, reading=purse.reading)
    participants = put(state.participants, state.active, charged)
    if isinstance(system, Hourglass):
        other = 1 - state.active
        gained = replace(participants[other], remaining_ms=participants[other].remaining_ms + elapsed_ms)
        participants = put(participants, other, gained)
    return participants


def _charge_groups(state: Session, elapsed_ms: int) -> tuple[Group, ...]:
    active = state.active_participant
    at = None if active is None else group_position(state, active.group_id)
    if at is None:
        return state.groups
    group = state.groups[at]
    if state.rules.sync_mode is not SyncMode.PER_GROUP:
        share_ms = max(0, group.remaining_ms - elapsed_ms)
        return put(state.groups, at, replace(group, used_ms=group.used_ms + elapsed_ms, remaining_ms=share_ms))
    purse = system_of(state).spend(Purse(group.remaining_ms, group.reading), state.turn.used_ms, elapsed_ms)
    charged = replace(
        group, used_ms=group.used_ms + elapsed_ms, remaining_ms=purse.remaining_ms, reading=purse.reading
    )
    return put(state.groups, at, charged)


def put(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    """Return `items` with the one at position `at` replaced; all others are shared."""
    return (*items[:at], item, *items[at + 1 :])
