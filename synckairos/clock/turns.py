"""Turns: who begins, who is next, what the end of a turn does, and how a session ends."""

from dataclasses import replace

from synckairos.clock.commands import Switch
from synckairos.clock.model import (
    MAX_CYCLES,
    TIMEOUT_REASON,
    Event,
    EventType,
    OnTimeout,
    Participant,
    Session,
    Status,
    SyncMode,
    Transition,
    Turn,
)
from synckairos.clock.systems import Purse
from synckairos.clock.timing import active_group, group_position, put, settle, system_of, to_zero_ms
from synckairos.errors import InvalidTransition, NotActiveParticipant, ParticipantExpired, ParticipantNotFound


def step(state: Session, at_ms: int) -> Session:
    """Return the state one version on, in effect from `at_ms`."""
    return replace(state, version=state.version + 1, updated_at_ms=at_ms)


def event(kind: EventType, state: Session, at_ms: int, of: Participant | None = None) -> Event:
    """Make the event that led to `state`, about `of` or else whoever is active, with that one's times."""
    about = of or state.active_participant
    if about is None:
        return Event(kind, at_ms, used_ms=state.used_ms, remaining_ms=state.remaining_ms)
    return Event(kind, at_ms, about.participant_id, about.group_id, about.used_ms, about.remaining_ms)


def position_of(state: Session, participant_id: str) -> int:
    """Return where a participant stands. Raises ParticipantNotFound."""
    for at, participant in enumerate(state.participants):
        if participant.participant_id == participant_id:
            return at
    raise ParticipantNotFound(participant_id)


def is_in_rotation(state: Session, participant: Participant) -> bool:
    """Tell whether turns come to this participant: its time, or its group's, hasn't run out."""
    if state.rules.on_timeout is OnTimeout.OVERTIME:
        return True
    if state.rules.sync_mode is SyncMode.PER_GROUP:
        at = group_position(state, participant.group_id)
        return at is None or not state.groups[at].has_expired
    return not participant.has_expired


def successor(state: Session, after: int | None) -> int | None:
    """Return the position of the next participant in index order after `after`, around, whose turn can come.

    It can be `after` itself; None where nobody is left.
    """
    count = len(state.participants)
    first = 0 if after is None else after + 1
    for offset in range(count):
        at = (first + offset) % count
        if is_in_rotation(state, state.participants[at]):
            return at
    return None


# -- beginning and ending turns ---------------------------------------------------------------------------------------


def start(state: Session, now_ms: int) -> Transition:
    """Begin: the designated participant, or the first in index order, is active."""
    first = state.active if state.active is not None else successor(state, None)
    begun = replace(
        step(state, now_ms), status=Status.RUNNING, active=first, anchor_ms=now_ms, started_at_ms=now_ms, turn=Turn()
    )
    return Transition(event(EventType.SESSION_STARTED, begun, now_ms), begun)


def switch(state: Session, command: Switch, now_ms: int) -> Transition:
    """End the turn and begin the next one's. The event is about the one whose turn ended."""
    at_zero = any(pause.reason == TIMEOUT_REASON for pause in state.pauses)
    if state.status is Status.PAUSED and not at_zero:
        raise InvalidTransition("A session that is paused can't switch; resume it first")
    active = state.active_participant
    wanted = command.current_participant_id
    if wanted is not None and (active is None or active.participant_id != wanted):
        position_of(state, wanted)
        raise NotActiveParticipant(wanted, None if active is None else active.participant_id)
    settled = settle(state, now_ms)
    follower = _follower(settled, command.next_participant_id)
    ended = end_turn(settled)
    ended_by = None if state.active is None else ended.participants[state.active]
    if ended.rules.sync_mode is SyncMode.PER_CYCLE and ended.turn.cycles >= (ended.rules.max_cycles or MAX_CYCLES):
        return close(ended, Status.COMPLETED, EventType.SESSION_COMPLETED, now_ms)
    begun = begin_turn(step(ended, now_ms), follower, now_ms)
    if at_zero:
        begun = _leave_zero(begun, now_ms)
    return Transition(event(EventType.CYCLE_SWITCHED, begun, now_ms, ended_by), begun)


def _follower(state: Session, next_participant_id: str | None) -> int | None:
    if next_participant_id is not None:
        at = position_of(state, next_participant_id)
        if not is_in_rotation(state, state.participants[at]):
            raise ParticipantExpired(next_participant_id)
        return at
    follower = successor(state, state.active)
    if follower is None and state.participants:
        raise InvalidTransition(f"The session is {state.status} and nobody has time left; add time with adjust")
    return follower


def end_turn(state: Session) -> Session:
    """Count the settled turn for the active participant and give what its clock system gives."""
    flagged = (left_ms := to_zero_ms(state)) is not None and left_ms <= 0
    participants, groups = state.participants, state.groups
    if state.active is not None and (active := state.active_participant) is not None:
        active = replace(active, cycle_count=active.cycle_count + 1)
        if state.rules.sync_mode is SyncMode.PER_PARTICIPANT:
            purse = _finish(state, active, Purse(active.remaining_ms, active.reading), flagged)
            expired = active.has_expired and purse.remaining_ms <= 0
            active = replace(active, remaining_ms=purse.remaining_ms, reading=purse.reading, has_expired=expired)
        participants = put(participants, state.active, active)
    if state.rules.sync_mode is SyncMode.PER_GROUP and (group := active_group(state)) is not None:
        purse = _finish(state, None, Purse(group.remaining_ms, group.reading), flagged)
        expired = group.has_expired and purse.remaining_ms <= 0
        group = replace(group, remaining_ms=purse.remaining_ms, reading=purse.reading, has_expired=expired)
        groups = put(groups, group_position(state, group.group_id) or 0, group)
    turn = Turn(used_ms=state.turn.used_ms, cycles=state.turn.cycles + 1)
    return replace(state, participants=participants, groups=groups, turn=turn)


def _finish(state: Session, owner: Participant | None, purse: Purse, flagged: bool) -> Purse:
    system = system_of(state, owner)
    return system.lapse(purse) if flagged else system.finish(purse, state.turn.used_ms)


def begin_turn(state: Session, active: int | None, at_ms: int) -> Session:
    """Give the turn to `active` from `at_ms`; in `per_cycle` with the cycle's whole budget."""
    fresh = state.rules.time_per_cycle_ms if state.rules.sync_mode is SyncMode.PER_CYCLE else state.remaining_ms
    return replace(state, active=active, anchor_ms=at_ms, remaining_ms=fresh, turn=Turn(cycles=state.turn.cycles))


def _leave_zero(state: Session, now_ms: int) -> Session:
    """Let the session run again after a timeout pause, if the next clock has time and no other reason stands."""
    left_ms = to_zero_ms(state)
    if left_ms is not None and left_ms <= 0:
        return replace(state, anchor_ms=None)
    standing = tuple(pause for pause in state.pauses if pause.reason != TIMEOUT_REASON)
    if standing:
        return replace(state, pauses=standing, anchor_ms=None)
    return replace(state, pauses=(), status=Status.RUNNING, anchor_ms=now_ms)


# -- running out ------------------------------------------------------------------------------------------------------


def mark_expired(state: Session) -> Session:
    """Mark whose time ran out: the active participant, or its group in `per_group`."""
    mode = state.rules.sync_mode
    if mode is SyncMode.PER_GROUP and (group := active_group(state)) is not None:
        at = group_position(state, group.group_id) or 0
        return replace(state, groups=put(state.groups, at, replace(group, has_expired=True)))
    if mode is SyncMode.PER_PARTICIPANT and state.active is not None:
        flagged = replace(state.participants[state.active], has_expired=True)
        return replace(state, participants=put(state.participants, state.active, flagged))
    return state


def advance(state: Session, at_ms: int) -> Transition:
    """End the turn that ran out and begin the next at the same instant; nobody or no cycle left: expired."""
    mode = state.rules.sync_mode
    ended = end_turn(state)
    out = None if state.active is None else ended.participants[state.active]
    follower = successor(ended, state.active)
    last_cycle = mode is SyncMode.PER_CYCLE and ended.turn.cycles >= (state.rules.max_cycles or MAX_CYCLES)
    if follower is None or last_cycle:
        return close(ended, Status.EXPIRED, EventType.SESSION_EXPIRED, at_ms)
    kind = {
        SyncMode.PER_PARTICIPANT: EventType.PARTICIPANT_EXPIRED,
        SyncMode.PER_GROUP: EventType.GROUP_EXPIRED,
    }.get(mode, EventType.CYCLE_EXPIRED)
    begun = begin_turn(step(ended, at_ms), follower, at_ms)
    return Transition(event(kind, begun, at_ms, out), begun)


def close(state: Session, status: Status, kind: EventType, at_ms: int) -> Transition:
    """End the session: nothing runs, nobody is active. The event is about whoever was."""
    last = state.active_participant
    ended = replace(
        step(state, at_ms), status=status, active=None, anchor_ms=None, pauses=(), completed_at_ms=at_ms
    )
    return Transition(event(kind, ended, at_ms, last), ended)
