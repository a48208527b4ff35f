"""Joining and leaving while a session lives; the rotation goes on as it was."""

from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.commands import NewParticipant
from synckairos.clock.creation import new_group, new_participant
from synckairos.clock.model import EventType, Session, Status, SyncMode, Transition, Turn
from synckairos.clock.timing import charge_until, group_position
from synckairos.clock.transitions import make_event, make_transition, participant_position
from synckairos.clock.turns import begin_turn, end_turn, has_flagged, next_in_rotation, next_turn_budget_ms
from synckairos.errors import InvalidTransition, ParticipantExists, ValidationFailed
from synckairos.fast_dataclass import replace

MAX_PARTICIPANTS = 1_000


def join(state: Session, new: NewParticipant, now_ms: int) -> Transition:
    """Let someone join, at its place in index order; nobody's turn changes, no other budget does.

    Raises:
        ParticipantExists: it takes part already.
        ValidationFailed: no room, the place is taken, or a budget or group that the mode needs is missing.
    """
    if any(p.participant_id == new.participant_id for p in state.participants):
        raise ParticipantExists(new.participant_id)
    if len(state.participants) >= MAX_PARTICIPANTS:
        raise ValidationFailed.at("participant_id", f"a session has at most {MAX_PARTICIPANTS} participants")
    _check_new_participant(state, new)
    place = new.index if new.index is not None else max((p.index for p in state.participants), default=-1) + 1
    joined = new_participant(state, new, place, _initial_budget_ms(state, new))
    at = sum(p.index < place for p in state.participants)
    groups = state.groups
    if new.group_id is not None and group_position(state, new.group_id) is None:
        groups = (*groups, new_group(state, new.group_id, joined.remaining_ms))
    grown = replace(
        make_transition(state, now_ms),
        participants=(*state.participants[:at], joined, *state.participants[at:]),
        groups=groups,
        active=state.active + 1 if state.active is not None and at <= state.active else state.active,
    )
    return Transition(make_event(EventType.PARTICIPANT_ADDED, grown, now_ms, joined), grown)


def _check_new_participant(state: Session, new: NewParticipant) -> None:
    mode = state.rules.sync_mode
    if new.index is not None and any(p.index == new.index for p in state.participants):
        raise ValidationFailed.at("participant_index", "this place in the rotation is taken")
    if new.clock is not None and mode is not SyncMode.PER_PARTICIPANT:
        raise ValidationFailed.at("clock", "a participant has a clock of its own only in per_participant")
    if isinstance(state.rules.clock, Hourglass) or isinstance(new.clock, Hourglass):
        raise ValidationFailed.at("participant_id", "an hourglass is for exactly two participants")
    has_budget = new.total_time_ms is not None or (new.clock or state.rules.clock).open(0).remaining_ms > 0
    if mode is SyncMode.PER_PARTICIPANT and not has_budget:
        raise ValidationFailed.at("total_time_ms", "a participant needs its own budget in per_participant")
    if mode is SyncMode.PER_GROUP:
        if new.group_id is None:
            raise ValidationFailed.at("group_id", "a participant needs a group in per_group")
        if group_position(state, new.group_id) is None and not has_budget:
            raise ValidationFailed.at("total_time_ms", "the first of a new group brings the group's budget")


def _initial_budget_ms(state: Session, new: NewParticipant) -> int:
    """Return a newcomer's budget, as `membership.create` would; in one budget for all, that one is everyone's share."""
    match state.rules.sync_mode:
        case SyncMode.PER_CYCLE:
            return 0
        case SyncMode.GLOBAL | SyncMode.COUNT_UP if new.total_time_ms is None:
            return max(0, state.remaining_ms or 0)
        case _:
            return new.total_time_ms or 0


def leave(state: Session, participant_id: str, now_ms: int) -> Transition:
    """Let someone leave; if it was its turn, the next one's begins, in `per_cycle` with a fresh budget.

    Where nobody has time left, the next in order has the turn all the same: its clock is at zero, so time ends it.

    Raises:
        ParticipantNotFound: it isn't there.
        InvalidTransition: it is the last one, or one of an hourglass' two.
    """
    at = participant_position(state, participant_id)
    if len(state.participants) == 1 and state.rules.sync_mode is not SyncMode.GLOBAL:
        raise InvalidTransition(f"The session is {state.status} and needs a participant; complete or cancel it instead")
    if isinstance(state.rules.clock, Hourglass):
        raise InvalidTransition(f"The session is {state.status} and an hourglass needs both of its participants")
    if at == state.active and state.status is not Status.PENDING:
        return _leave_turn(state, at, now_ms)
    left = make_transition(_without(state, at), now_ms)
    return Transition(make_event(EventType.PARTICIPANT_REMOVED, left, now_ms, state.participants[at]), left)


def _without(state: Session, at: int) -> Session:
    """Return the state without the one at this position; whoever is active stays it."""
    active = state.active
    if active is not None:
        active = None if at == active else active - (at < active)
    return replace(state, participants=(*state.participants[:at], *state.participants[at + 1 :]), active=active)


def _leave_turn(state: Session, at: int, now_ms: int) -> Transition:
    """Pass the turn of someone who leaves on to the next in order."""
    settled = charge_until(state, now_ms)
    leaver = settled.participants[at]
    if state.rules.sync_mode is SyncMode.PER_GROUP:
        # The budget stays with the group, so its clock system ends the turn as any other.
        settled = end_turn(settled, has_flagged(settled))
    rest = replace(_without(settled, at), turn=Turn(cycles=settled.turn.cycles))
    follower = next_in_rotation(rest, at - 1)
    if follower is None and rest.participants:
        follower = at % len(rest.participants)
    begun = begin_turn(rest, follower, next_turn_budget_ms(rest), now_ms)
    passed = begun if state.anchor_ms is not None else replace(begun, anchor_ms=None)
    return Transition(make_event(EventType.PARTICIPANT_REMOVED, passed, now_ms, leaver), passed)
