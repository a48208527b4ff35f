"""Participants that join or leave a session that has not ended. The order of the other participants stays."""

from synckairos.clock.begin_turn import begin_turn, block_undo, is_held, show_next_turn
from synckairos.clock.clock_systems import Hourglass
from synckairos.clock.commands import NewParticipant
from synckairos.clock.creation import new_group, new_participant
from synckairos.clock.first_edition_compatibility import needs_second_edition
from synckairos.clock.individual.join_leave_clocks import with_new_clock, without_clock
from synckairos.clock.individual_clock import FULL_FACTOR
from synckairos.clock.make_transition import find_participant_index, make_event, with_next_version
from synckairos.clock.model import CurrentTurn, OnTimeout, Participant, Session, Status, SyncMode
from synckairos.clock.plan_items import find_item_participant, names_participants
from synckairos.clock.timing import charge_session_until, find_group_index
from synckairos.clock.transition import EventType, Transition
from synckairos.clock.turns import end_turn, has_flagged, next_in_rotation, next_session_budget_ms
from synckairos.errors import InvalidTransition, ParticipantExists, ValidationFailed
from synckairos.frozen_replace import replace

MAX_PARTICIPANTS = 1_000
"""Maximum number of participants of one session."""


def join(state: Session, new: NewParticipant, now_ms: int) -> Transition:
    """Return the transition that adds a participant at its position in index order.

    The current turn and the budgets of other participants stay. If the session has no group `new.group_id`, the group
    is added.

    Raises:
        ParticipantExists: the session already has a participant with this id.
        ValidationFailed: the session is full or has an hourglass, the index is in use, the mode does not allow
            `new.clock`, or a budget or group that the mode needs is missing.
    """
    if any(p.participant_id == new.participant_id for p in state.participants):
        raise ParticipantExists(new.participant_id)
    if len(state.participants) >= MAX_PARTICIPANTS:
        raise ValidationFailed.at_path("participant_id", f"a session has at most {MAX_PARTICIPANTS} participants")
    _check_new_participant(state, new)
    index = new.index if new.index is not None else max((p.index for p in state.participants), default=-1) + 1
    joined = new_participant(state, new, index, _initial_budget_ms(state, new))
    position, active = sum(p.index < index for p in state.participants), state.active_position
    groups = state.groups
    if new.group_id is not None and find_group_index(state, new.group_id) is None:
        groups = (*groups, new_group(state, new.group_id, joined.remaining_ms))
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        participants: tuple[Participant, ...] = with_new_clock(state, joined, position, now_ms)
    else:
        participants = (*state.participants[:position], joined, *state.participants[position:])
    grown = replace(
        with_next_version(state, now_ms),
        participants=participants,
        groups=groups,
        active_position=active + 1 if active is not None and position <= active else active,
    )
    return Transition(make_event(EventType.PARTICIPANT_ADDED, grown, now_ms, joined), block_undo(grown))


def _check_new_participant(state: Session, new: NewParticipant) -> None:
    mode = state.rules.sync_mode
    if new.index is not None and any(p.index == new.index for p in state.participants):
        raise ValidationFailed.at_path("participant_index", "another participant has this index")
    if new.clock is not None and mode is not SyncMode.PER_PARTICIPANT:
        raise ValidationFailed.at_path("clock", "a participant can have its own clock only in per_participant")
    if isinstance(state.rules.clock, Hourglass) or isinstance(new.clock, Hourglass):
        raise ValidationFailed.at_path("participant_id", "an hourglass is for exactly two participants")
    if new.clock is not None and not state.is_second_edition and needs_second_edition(new.clock):
        raise ValidationFailed.at_path("clock", "sessions of the first edition do not have these settings")
    if new.time_factor != FULL_FACTOR and mode is not SyncMode.INDIVIDUAL:
        raise ValidationFailed.at_path("time_factor", "a participant can have a time factor only in individual")
    if state.ends_at_ms is not None and mode is SyncMode.INDIVIDUAL:
        if new.total_time_ms is not None:
            raise ValidationFailed.at_path("total_time_ms", "contradicts ends_at of the session; omit it")
        return
    has_budget = _has_budget(state, new)
    if mode is SyncMode.INDIVIDUAL and not has_budget:
        raise ValidationFailed.at_path("total_time_ms", "a participant needs its own budget in individual")
    if mode is SyncMode.PER_PARTICIPANT and not has_budget:
        raise ValidationFailed.at_path("total_time_ms", "a participant needs its own budget in per_participant")
    if mode is SyncMode.PER_GROUP:
        if new.group_id is None:
            raise ValidationFailed.at_path("group_id", "a participant needs a group in per_group")
        if find_group_index(state, new.group_id) is None and not has_budget:
            raise ValidationFailed.at_path(
                "total_time_ms", "the group is new; give the budget of the group with its first participant"
            )


def _has_budget(state: Session, new: NewParticipant) -> bool:
    """Return whether a new participant has time in its first turn. A budget of 0 counts if time follows it."""
    system = new.clock or state.rules.clock
    without_main_time = system.make_initial_budget(0)
    if new.total_time_ms is None:
        return without_main_time.remaining_ms > 0
    if new.total_time_ms > 0 or state.rules.on_timeout is OnTimeout.OVERTIME:
        return True
    return system.time_to_zero_ms(without_main_time, 0) > 0


def _initial_budget_ms(state: Session, new: NewParticipant) -> int:
    """Return the initial budget of a new participant in ms: its given budget, or else 0. In `per_cycle` it is always 0.

    In `global` and `count_up`, a participant without a given budget gets the remaining time of the session as its
    share.
    """
    match state.rules.sync_mode:
        case SyncMode.PER_CYCLE:
            return 0
        case SyncMode.GLOBAL | SyncMode.COUNT_UP if new.total_time_ms is None:
            return max(0, state.remaining_ms or 0)
        case _:
            return new.total_time_ms or 0


def leave(state: Session, participant_id: str, now_ms: int) -> Transition:
    """Return the transition that removes a participant.

    If this participant has the turn, the next turn begins. A paused session stays paused. In `per_cycle` the next turn
    has a full budget. With a plan, it is another turn with the same item, and it belongs to no participant if the items
    name participants.
    In `individual`, the end of the session is due if no other clock is open.

    If no remaining participant is in the rotation, the next participant in index order gets the turn. The clock of this
    turn is at zero, so the turn times out as soon as the clock runs.

    Raises:
        ParticipantNotFound: the session has no such participant.
        InvalidTransition: this is the only participant and the mode is not `global`, or the session has an
            hourglass.
    """
    position = find_participant_index(state, participant_id)
    if len(state.participants) == 1 and state.rules.sync_mode is not SyncMode.GLOBAL:
        raise InvalidTransition(f"The session is {state.status} and needs a participant; complete or cancel it instead")
    if isinstance(state.rules.clock, Hourglass):
        raise InvalidTransition(f"The session is {state.status} and an hourglass needs both of its participants")
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        rest, leaver = without_clock(state, position, now_ms)
        left = with_next_version(rest, now_ms)
        return Transition(make_event(EventType.PARTICIPANT_REMOVED, left, now_ms, leaver), left)
    if position == state.active_position and state.status is not Status.PENDING:
        return _leave_during_turn(state, position, now_ms)
    left = block_undo(with_next_version(_without_participant(state, position), now_ms))
    return Transition(make_event(EventType.PARTICIPANT_REMOVED, left, now_ms, state.participants[position]), left)


def _without_participant(state: Session, position: int) -> Session:
    """Return the state without the participant at `position`.

    The active participant stays active. If the removed participant was active, no participant is active.
    """
    active = state.active_position
    if active is not None:
        active = None if position == active else active - (position < active)
    participants = (*state.participants[:position], *state.participants[position + 1 :])
    return replace(state, participants=participants, active_position=active)


def _leave_during_turn(state: Session, position: int, now_ms: int) -> Transition:
    """Return the transition that removes the active participant and begins the turn of the next participant."""
    charged = charge_session_until(state, now_ms)
    leaver = charged.participants[position]
    in_hold = is_held(state)
    if state.rules.sync_mode is SyncMode.PER_GROUP and not in_hold:
        # The budget stays with the group. So the clock system finishes this turn like any other turn of the group.
        charged = end_turn(charged, has_flagged(charged))
    rest = replace(_without_participant(charged, position), turn=CurrentTurn(cycles=charged.turn.cycles))
    if not in_hold:
        rest = replace(rest, next_item_position=rest.item_position)
    following = next_in_rotation(rest, position - 1)
    if names_participants(rest):
        following = find_item_participant(rest)
    elif following is None and rest.participants:
        following = position % len(rest.participants)
    begin = show_next_turn if in_hold else begin_turn
    begun = begin(rest, following, next_session_budget_ms(rest), now_ms)
    left = begun if state.anchor_ms is not None else replace(begun, anchor_ms=None)
    return Transition(make_event(EventType.PARTICIPANT_REMOVED, left, now_ms, leaver), left)
