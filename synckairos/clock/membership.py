"""Who takes part: how a session begins its life, and joining and leaving while it lives."""

from dataclasses import replace

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import (
    MAX_CYCLES,
    EventType,
    Group,
    OnTimeout,
    Participant,
    Rules,
    Session,
    Status,
    SyncMode,
    Transition,
)
from synckairos.clock.systems import Fischer, Hourglass, SuddenDeath, System
from synckairos.clock.timing import group_position, settle, system_of
from synckairos.clock.turns import begin_turn, close, event, position_of, step, successor
from synckairos.errors import InvalidTransition, ParticipantExists, ValidationFailed

MAX_PARTICIPANTS = 1_000

OWN_BUDGETS = frozenset({SyncMode.PER_PARTICIPANT, SyncMode.PER_GROUP})
"""Modes in which the budget belongs to one who takes turns, so that a clock system other than sudden death fits."""


def create(spec: Create, session_id: str, epoch: str, now_ms: int) -> Transition:
    """Make a pending session at version 1. What `spec` leaves out follows from the mode.

    Expects a spec whose fields fit together (`wire` has seen to that): budgets where the mode needs them, ids unique.
    """
    mode = spec.sync_mode
    rules = Rules(
        session_id=session_id,
        sync_mode=mode,
        on_timeout=spec.on_timeout or (OnTimeout.ADVANCE if mode is SyncMode.PER_CYCLE else OnTimeout.EXPIRE),
        created_at_ms=now_ms,
        clock=_clock_in_effect(spec),
        increment_ms=spec.increment_ms,
        time_per_cycle_ms=spec.time_per_cycle_ms,
        max_time_ms=spec.max_time_ms,
        max_cycles=(spec.max_cycles or MAX_CYCLES) if mode is SyncMode.PER_CYCLE else spec.max_cycles,
        warnings_ms=tuple(sorted(set(spec.warnings_ms), reverse=True)),
    )
    own_ms = {
        SyncMode.GLOBAL: spec.total_time_ms or spec.time_per_cycle_ms,
        SyncMode.PER_CYCLE: spec.time_per_cycle_ms,
        SyncMode.COUNT_UP: spec.max_time_ms,
    }.get(mode)
    state = Session(
        rules=rules,
        epoch=epoch,
        version=1,
        status=Status.PENDING,
        updated_at_ms=now_ms,
        remaining_ms=own_ms,
        metadata=spec.metadata,
    )
    places = [p.index if p.index is not None else at for at, p in enumerate(spec.participants)]
    newcomers = sorted(zip(places, spec.participants, strict=True), key=lambda pair: pair[0])
    shares = {g.group_id: g.total_time_ms for g in spec.groups}
    participants = tuple(
        _open(state, new, place, _share_ms(spec, new, shares)) for place, new in newcomers
    )
    state = replace(state, participants=participants, groups=_groups(spec, state, participants))
    if spec.active_participant_id is not None:
        state = replace(state, active=position_of(state, spec.active_participant_id))
    return Transition(event(EventType.SESSION_CREATED, replace(state, active=None), now_ms), state)


def _clock_in_effect(spec: Create) -> System:
    """Return the clock asked for; `increment_ms` alone means fischer where turns have budgets of their own."""
    if spec.clock is not None:
        return spec.clock
    return Fischer(spec.increment_ms) if spec.increment_ms and spec.sync_mode in OWN_BUDGETS else SuddenDeath()


def _share_ms(spec: Create, new: NewParticipant, group_shares: dict[str, int | None]) -> int:
    """Return a participant's budget: its own, or else what the mode implies for everyone."""
    if spec.sync_mode is SyncMode.PER_CYCLE:
        return 0
    if new.total_time_ms is not None:
        return new.total_time_ms
    match spec.sync_mode:
        case SyncMode.COUNT_UP:
            return spec.max_time_ms or 0
        case SyncMode.PER_GROUP:
            return group_shares.get(new.group_id or "") or 0
        case _:
            return spec.total_time_ms or spec.time_per_cycle_ms or 0


def _open(state: Session, new: NewParticipant, place: int, budget_ms: int) -> Participant:
    participant = Participant(
        participant_id=new.participant_id,
        index=place,
        remaining_ms=budget_ms,
        display_name=new.display_name,
        group_id=new.group_id,
        clock=new.clock,
    )
    if state.rules.sync_mode is not SyncMode.PER_PARTICIPANT:
        return participant
    purse = system_of(state, participant).open(budget_ms)
    return replace(participant, remaining_ms=purse.remaining_ms, reading=purse.reading)


def _groups(spec: Create, state: Session, participants: tuple[Participant, ...]) -> tuple[Group, ...]:
    """Return the groups named, then those that only members name, each with its budget or its members' sum."""
    budgets = {group.group_id: group.total_time_ms for group in spec.groups}
    for participant in participants:
        if participant.group_id is not None:
            budgets.setdefault(participant.group_id, None)
    sums = dict.fromkeys(budgets, 0)
    for participant in participants:
        if participant.group_id is not None:
            sums[participant.group_id] += participant.remaining_ms
    return tuple(_open_group(state, gid, sums[gid] if ms is None else ms) for gid, ms in budgets.items())


def _open_group(state: Session, group_id: str, budget_ms: int) -> Group:
    if state.rules.sync_mode is not SyncMode.PER_GROUP:
        return Group(group_id, budget_ms)
    purse = system_of(state).open(budget_ms)
    return Group(group_id, purse.remaining_ms, reading=purse.reading)


def add(state: Session, new: NewParticipant, now_ms: int) -> Transition:
    """Let someone join, in index order; nobody's turn changes.

    Raises:
        ParticipantExists: it takes part already.
        ValidationFailed: no room, the place is taken, or a budget or group that the mode needs is missing.
    """
    if any(p.participant_id == new.participant_id for p in state.participants):
        raise ParticipantExists(new.participant_id)
    if len(state.participants) >= MAX_PARTICIPANTS:
        raise ValidationFailed.at("participant_id", f"a session has at most {MAX_PARTICIPANTS} participants")
    _check_newcomer(state, new)
    place = new.index if new.index is not None else max((p.index for p in state.participants), default=-1) + 1
    budget_ms = 0 if state.rules.sync_mode is SyncMode.PER_CYCLE else new.total_time_ms or 0
    joined = _open(state, new, place, budget_ms)
    at = sum(p.index < place for p in state.participants)
    active = state.active + 1 if state.active is not None and at <= state.active else state.active
    groups = state.groups
    if new.group_id is not None and group_position(state, new.group_id) is None:
        groups = (*groups, _open_group(state, new.group_id, joined.remaining_ms))
    grown = replace(
        step(state, now_ms),
        participants=(*state.participants[:at], joined, *state.participants[at:]),
        groups=groups,
        active=active,
    )
    return Transition(event(EventType.PARTICIPANT_ADDED, grown, now_ms, joined), grown)


def _check_newcomer(state: Session, new: NewParticipant) -> None:
    mode = state.rules.sync_mode
    if new.index is not None and any(p.index == new.index for p in state.participants):
        raise ValidationFailed.at("participant_index", "this place in the rotation is taken")
    if mode is SyncMode.PER_PARTICIPANT and new.total_time_ms is None:
        raise ValidationFailed.at("total_time_ms", "a participant needs its own budget in per_participant")
    if new.clock is not None and mode is not SyncMode.PER_PARTICIPANT:
        raise ValidationFailed.at("clock", "a participant has a clock of its own only in per_participant")
    if isinstance(new.clock or state.rules.clock, Hourglass):
        raise ValidationFailed.at("participant_id", "an hourglass is for exactly two participants")
    if mode is SyncMode.PER_GROUP:
        if new.group_id is None:
            raise ValidationFailed.at("group_id", "a participant needs a group in per_group")
        if group_position(state, new.group_id) is None and new.total_time_ms is None:
            raise ValidationFailed.at("total_time_ms", "the first of a new group brings the group's budget")


def remove(state: Session, participant_id: str, now_ms: int) -> list[Transition]:
    """Let someone leave; if it was its turn, the next one's begins. Nobody left with time: the session expires.

    Raises:
        ParticipantNotFound: it isn't there.
        InvalidTransition: it is the last one, or one of an hourglass' two.
    """
    at = position_of(state, participant_id)
    mode = state.rules.sync_mode
    if len(state.participants) == 1 and mode is not SyncMode.GLOBAL:
        raise InvalidTransition(f"The session is {state.status} and needs a participant; complete or cancel it instead")
    if isinstance(state.rules.clock, Hourglass):
        raise InvalidTransition(f"The session is {state.status} and an hourglass needs both of its participants")
    settled = settle(state, now_ms) if at == state.active else state
    leaver = settled.participants[at]
    staying = (*settled.participants[:at], *settled.participants[at + 1 :])
    left = replace(step(settled, now_ms), participants=staying)
    if state.active is None or at > state.active:
        return [Transition(event(EventType.PARTICIPANT_REMOVED, left, now_ms, leaver), left)]
    if at < state.active:
        left = replace(left, active=state.active - 1)
        return [Transition(event(EventType.PARTICIPANT_REMOVED, left, now_ms, leaver), left)]
    return _pass_on(left, at, leaver, now_ms)


def _pass_on(left: Session, at: int, leaver: Participant, now_ms: int) -> list[Transition]:
    """Give the turn of someone who left to the next in order."""
    if left.status is Status.PENDING:
        left = replace(left, active=None)
        return [Transition(event(EventType.PARTICIPANT_REMOVED, left, now_ms, leaver), left)]
    follower = successor(replace(left, active=None), at - 1)
    anchor_ms = left.anchor_ms
    passed = replace(begin_turn(left, follower, now_ms), anchor_ms=now_ms if anchor_ms is not None else None)
    gone = [Transition(event(EventType.PARTICIPANT_REMOVED, passed, now_ms, leaver), passed)]
    if follower is None and left.participants:
        gone.append(close(passed, Status.EXPIRED, EventType.SESSION_EXPIRED, now_ms))
    return gone

