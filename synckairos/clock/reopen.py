"""The command `reopen`, which continues an expired or completed session in the turn in which it ended."""

from synckairos.clock.active_pause import HOLD_REASON, REOPENED_REASON, ActivePause
from synckairos.clock.adjust import adjust_budgets
from synckairos.clock.begin_turn import block_undo, is_held, is_past_zero_in_overtime
from synckairos.clock.commands import Adjust, Reopen
from synckairos.clock.earlier_turns import EndedTurn
from synckairos.clock.make_transition import find_participant_index, make_event, with_next_version
from synckairos.clock.model import CurrentTurn, OnTimeout, Session, Status, SyncMode
from synckairos.clock.plan_items import continue_item, ran_out_of_time, with_next_item
from synckairos.clock.start_and_end import check_end
from synckairos.clock.timing import (
    charge_session_until,
    reached_warning_thresholds_ms,
    replace_item,
    time_to_zero_ms,
)
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import InvalidTransition, ValidationFailed
from synckairos.frozen_replace import replace


def find_ended_turn(before: Session, ended: Session) -> EndedTurn:
    """Return the turn in which a session ended.

    `ended` is the state after the end, and `before` the state of the version before the end.
    """
    assert ended.completed_at_ms is not None
    charged = charge_session_until(before, ended.completed_at_ms)
    active = charged.active_participant
    participant_id = None if active is None else active.participant_id
    position = charged.next_item_position
    next_item_id = None if position is None else charged.plan[position].item_id
    turn = charged.turn
    return EndedTurn(participant_id, turn.used_ms, turn.cycles, is_held(charged), next_item_id, turn.began_version)


def reopen(state: Session, command: Reopen, now_ms: int) -> Transition:
    """Return the transition that continues an ended session. It is paused for the reason `reopened`.

    The time since the end is charged to no budget, and the turn number stays. Warnings with a threshold below the time
    to zero are armed again. A hold in which the session ended goes on. No participant is done in this turn any more.

    Raises:
        InvalidTransition: the session never started, or the turn in which it ended is not known.
        ValidationFailed: the session is of the first edition, the time to add is missing or not positive, the mode does
            not allow `participant_ids`, or the clock of the turn would still have no time.
        ParticipantNotFound: the session does not have a participant in `participant_ids`.
    """
    if not state.is_second_edition:
        raise ValidationFailed.at_path("", "sessions of the first edition cannot be reopened")
    if state.started_at_ms is None:
        raise InvalidTransition(f"Session cannot be reopened: the session is {state.status} and never started")
    if command.turn is None:
        raise InvalidTransition(f"Session cannot be reopened: no store has the turn in which it was {state.status}")
    is_out_of_time = ran_out_of_time(state)
    if command.delta_ms is None and is_out_of_time:
        raise ValidationFailed.at_path("delta_ms", "required, because time ran out")
    if command.delta_ms is not None and command.delta_ms <= 0 and is_out_of_time:
        raise ValidationFailed.at_path("delta_ms", "should be positive, because time ran out")
    resumed = _add_time(_resume_turn(state, command.turn, now_ms), command)
    if is_out_of_time and not _has_time(resumed):
        path = "delta_ms" if command.participant_ids is None else "participant_ids"
        raise ValidationFailed.at_path(path, "the clock of the turn in which time ran out would still have no time")
    turn = replace(
        resumed.turn,
        warned_ms=reached_warning_thresholds_ms(resumed),
        is_in_overtime=is_past_zero_in_overtime(resumed),
    )
    reopened = replace(resumed, turn=turn)
    if command.delta_ms is not None or state.breaks is not None:
        reopened = block_undo(reopened)
    return Transition(make_event(EventType.SESSION_REOPENED, reopened, now_ms), reopened)


def _resume_turn(ended: Session, turn: EndedTurn, now_ms: int) -> Session:
    """Return the state, with the next version, that is paused in the turn in which the session ended."""
    position = None if turn.participant_id is None else find_participant_index(ended, turn.participant_id)
    # If all participants were done, the turn would end again at once.
    participants = tuple(
        replace(each, done_turn=None) if each.done_turn is not None and each.done_turn == ended.turn_number else each
        for each in ended.participants
    )
    if position is not None and ended.turn.cycles > turn.cycles:
        # The end of the session also counted this turn as finished.
        owner = participants[position]
        participants = replace_item(participants, position, replace(owner, cycle_count=owner.cycle_count - 1))
    pauses = (ActivePause(REOPENED_REASON, now_ms),)
    continued = with_next_version(ended if turn.is_held else continue_item(ended), now_ms)
    if turn.next_item_id is not None:
        continued = with_next_item(continued, turn.next_item_id)
    return replace(
        continued,
        status=Status.PAUSED,
        participants=participants,
        active_position=position,
        turn=CurrentTurn(turn.used_ms, turn.cycles, began_version=turn.began_version),
        pauses=(ActivePause(HOLD_REASON, now_ms), *pauses) if turn.is_held else pauses,
        completed_at_ms=None,
        breaks=None,
    )


def _add_time(resumed: Session, command: Reopen) -> Session:
    """Return the state with the time of the command added."""
    delta_ms, ids = command.delta_ms, command.participant_ids
    if resumed.ends_at_ms is not None:
        return _set_end(resumed, command)
    if delta_ms is None:
        if ids is not None:
            raise ValidationFailed.at_path("participant_ids", "is allowed only with delta_ms")
        return resumed
    active = resumed.active_participant
    if ids is None and active is not None:
        match resumed.rules.sync_mode:
            case SyncMode.PER_PARTICIPANT:
                return adjust_budgets(resumed, Adjust(delta_ms, (active.participant_id,)))
            case SyncMode.PER_GROUP:
                return adjust_budgets(resumed, Adjust(delta_ms, group_id=active.group_id))
    return adjust_budgets(resumed, Adjust(delta_ms, ids))


def _set_end(resumed: Session, command: Reopen) -> Session:
    now_ms = resumed.updated_at_ms
    if command.participant_ids is not None:
        raise ValidationFailed.at_path("participant_ids", "one end serves the whole session; omit this member")
    if command.delta_ms is None or command.delta_ms <= 0:
        raise ValidationFailed.at_path("delta_ms", "required and positive, because the new end is delta_ms from now")
    check_end(now_ms + command.delta_ms, now_ms, "delta_ms")
    return replace(resumed, ends_at_ms=now_ms + command.delta_ms)


def _has_time(resumed: Session) -> bool:
    left_ms = time_to_zero_ms(resumed)
    return left_ms is None or left_ms > 0 or resumed.rules.on_timeout is OnTimeout.OVERTIME
