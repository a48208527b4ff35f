"""The command `undo`, which takes back turns: the session continues in a turn that it has already left.

The command needs facts of earlier versions, and the state of a session does not contain them. So the caller finds them
with `find_restored_turn`, and the audit stores them with the command. A replay then needs nothing else.
"""

from synckairos.clock.begin_turn import is_held, is_hold, with_passed_thresholds
from synckairos.clock.commands import Undo
from synckairos.clock.earlier_turns import RestoredGroup, RestoredItem, RestoredParticipant, RestoredTurn, UndoCharge
from synckairos.clock.make_transition import make_event
from synckairos.clock.model import CurrentTurn, Extensions, Group, OnTimeout, Participant, Session, Status
from synckairos.clock.pauses import is_paused_by_timeout, lift_timeout_pause
from synckairos.clock.plan_item import PlanItem
from synckairos.clock.plan_items import begin_next_item, with_next_item
from synckairos.clock.timing import charge_session_until, is_turn_free, time_to_zero_ms
from synckairos.clock.transition import Charge, EventType, Transition
from synckairos.errors import CannotUndo
from synckairos.frozen_replace import replace

MAX_TURNS = 100
"""Maximum number of turns that one command undoes."""


def find_restored_turn(current: Session, begun: Session, next_begun: Session) -> RestoredTurn | None:
    """Return the facts that an undo restores. None if the versions differ in participants, groups or plan items.

    `begun` is the version that began the turn to restore. `next_begun` is the version that began the turn after it, or
    `current` if no turn began after it. `current` is the newest version.
    """
    if _ids(begun) != _ids(current):
        return None
    active, position, used_in_turn_ms = begun.active_participant, begun.active_position, 0
    if position is not None:
        used_in_turn_ms = next_begun.participants[position].used_ms - begun.participants[position].used_ms
    participants = tuple(
        _participant_facts(before)
        for before, now in zip(begun.participants, current.participants, strict=True)
        if before is active or _participant_facts(before) != _participant_facts(now)
    )
    groups = tuple(
        _group_facts(before)
        for before, now in zip(begun.groups, current.groups, strict=True)
        if _group_facts(before) != _group_facts(now)
    )
    items = tuple(
        _item_facts(before)
        for before, now in zip(begun.plan, current.plan, strict=True)
        if _item_facts(before) != _item_facts(now)
    )
    return RestoredTurn(
        version=begun.version,
        at_ms=begun.updated_at_ms,
        active_participant_id=None if active is None else active.participant_id,
        used_in_turn_ms=used_in_turn_ms,
        used_ms=begun.used_ms,
        remaining_ms=begun.remaining_ms,
        cycles=begun.turn.cycles,
        participants=participants,
        groups=groups,
        items=items,
        item_id=None if begun.item_position is None else begun.plan[begun.item_position].item_id,
        schedule_offset_ms=begun.schedule_offset_ms,
        extensions=begun.extensions,
        lag_receipt=begun.lag_receipt,
    )


def _ids(state: Session) -> tuple[list[str], ...]:
    return (
        [each.participant_id for each in state.participants],
        [each.group_id for each in state.groups],
        [each.item_id for each in state.plan],
    )


def _participant_facts(each: Participant) -> RestoredParticipant:
    return RestoredParticipant(
        each.participant_id,
        each.remaining_ms,
        each.used_ms,
        each.cycle_count,
        each.has_expired,
        each.reading,
        each.lag,
    )


def _group_facts(each: Group) -> RestoredGroup:
    return RestoredGroup(each.group_id, each.remaining_ms, each.used_ms, each.has_expired, each.reading)


def _item_facts(each: PlanItem) -> RestoredItem:
    return RestoredItem(each.item_id, each.status, each.used_ms)


def undo(state: Session, command: Undo, now_ms: int) -> Transition:
    """Return the transition that restores an earlier turn. It begins at `now_ms` with a new turn number.

    Clocks, lag accounts, numbers of turns, plan items and extensions are those of the restored turn at its beginning.
    `charge` determines the time that the participant of this turn keeps as used; its clock does not fall below zero by
    that, except in overtime, and a free first turn does not go past its limit. A hold ends. A pause at zero ends if the
    clock has time. Other pauses, metadata and labels stay, and so does the end of a session with an end, with its
    extensions.

    Raises: CannotUndo if the session is of the first edition, or if the turn to restore is not known.
    """
    restored = command.restored
    if not state.is_second_edition or restored is None:
        raise CannotUndo("The session does not have so many turns that can be undone")
    begun = _restore(state, restored, now_ms)
    kept_ms = _kept_ms(charge_session_until(state, now_ms).used_ms, begun, command.charge, restored)
    return _make_undo_transition(state, restored, begun, kept_ms, now_ms)


def undo_past_free_limit(state: Session, command: Undo, now_ms: int) -> Transition | None:
    """Return an undo as earlier releases made it in a free first turn under `on_timeout: overtime`.

    They charged a free first turn past its limit, and let it go into overtime. None for any undo in which they did not.
    Only a replay of their event rows needs this.
    """
    restored = command.restored
    if restored is None or state.rules.free_first_turn_ms is None or state.rules.on_timeout is not OnTimeout.OVERTIME:
        return None
    begun = _restore(state, restored, now_ms)
    kept_ms = charge_session_until(state, now_ms).used_ms - restored.used_ms
    if command.charge is not UndoCharge.RESUMED or not is_turn_free(begun) or kept_ms < state.rules.free_first_turn_ms:
        return None
    undone = _make_undo_transition(state, restored, begun, kept_ms, now_ms)
    turn = replace(undone.state.turn, is_in_overtime=True)
    return Transition(undone.event, replace(undone.state, turn=turn))


def _make_undo_transition(
    state: Session, restored: RestoredTurn, begun: Session, kept_ms: int, now_ms: int
) -> Transition:
    """Return the transition of an undo. `begun` is the state of `_restore`, and `kept_ms` the time that is kept."""
    if kept_ms:
        begun = charge_session_until(replace(begun, anchor_ms=now_ms - kept_ms), now_ms)
    pauses = tuple(pause for pause in state.pauses if not is_hold(pause))
    undone = with_passed_thresholds(
        replace(
            begun,
            status=Status.PAUSED if pauses else Status.RUNNING,
            pauses=pauses,
            anchor_ms=None if pauses else now_ms,
        )
    )
    if is_paused_by_timeout(undone):
        undone = lift_timeout_pause(undone, now_ms)
    event = make_event(EventType.TURN_UNDONE, undone, now_ms)
    return Transition(replace(event, charges=undo_charges(undone, restored), restored_at_ms=restored.at_ms), undone)


def undo_charges(undone: Session, restored: RestoredTurn) -> tuple[Charge, ...]:
    """Return the charge of an undo: the time that the participant of the restored turn keeps as used.

    `undone` is the state after the undo. The charge begins with the restored turn. The charges of all versions after
    `restored.version` are void.
    """
    active = undone.active_participant
    if active is None:
        return ()
    before_ms = next(each.used_ms for each in restored.participants if each.participant_id == active.participant_id)
    kept_ms = active.used_ms - before_ms
    return (Charge(active.participant_id, restored.at_ms, restored.at_ms + kept_ms),) if kept_ms else ()


def _restore(state: Session, restored: RestoredTurn, now_ms: int) -> Session:
    """Return the state, with the next version, with the facts of the restored turn at its beginning. No clock runs."""
    participants = {each.participant_id: each for each in restored.participants}
    groups = {each.group_id: each for each in restored.groups}
    items = {each.item_id: each for each in restored.items}
    positions = {each.participant_id: position for position, each in enumerate(state.participants)}
    turn_number = state.turn_number
    before = replace(
        state,
        version=state.version + 1,
        updated_at_ms=now_ms,
        participants=tuple(
            _restore_participant(each, participants.get(each.participant_id)) for each in state.participants
        ),
        groups=tuple(_restore_group(each, groups.get(each.group_id)) for each in state.groups),
        active_position=None if restored.active_participant_id is None else positions[restored.active_participant_id],
        used_ms=restored.used_ms,
        remaining_ms=restored.remaining_ms,
        turn=CurrentTurn(cycles=restored.cycles, began_version=restored.version),
        turn_number=None if turn_number is None else turn_number + 1,
        # An end is an instant, so no undo gives its time back, and the extensions that moved it stay.
        extensions=_extensions(state, restored),
        lag_receipt=restored.lag_receipt,
        anchor_ms=None,
        plan=tuple(_restore_item(each, items.get(each.item_id)) for each in state.plan),
        schedule_offset_ms=restored.schedule_offset_ms,
    )
    return before if restored.item_id is None else begin_next_item(with_next_item(before, restored.item_id), now_ms)


def _extensions(state: Session, restored: RestoredTurn) -> Extensions | None:
    return restored.extensions if state.ends_at_ms is None else state.extensions


def _restore_participant(now: Participant, before: RestoredParticipant | None) -> Participant:
    if before is None:
        return now
    return replace(
        now,
        remaining_ms=before.remaining_ms,
        used_ms=before.used_ms,
        cycle_count=before.cycle_count,
        has_expired=before.has_expired,
        reading=before.reading,
        lag=before.lag,
    )


def _restore_group(now: Group, before: RestoredGroup | None) -> Group:
    if before is None:
        return now
    return replace(
        now,
        remaining_ms=before.remaining_ms,
        used_ms=before.used_ms,
        has_expired=before.has_expired,
        reading=before.reading,
    )


def _restore_item(now: PlanItem, before: RestoredItem | None) -> PlanItem:
    return now if before is None else replace(now, status=before.status, used_ms=before.used_ms)


def _kept_ms(used_ms: int, begun: Session, charge: UndoCharge, restored: RestoredTurn) -> int:
    """Return the time in ms that the participant of the restored turn keeps as used.

    `used_ms` is the used time of the session before the undo, at the instant of the undo. `begun` is the state at the
    beginning of the restored turn.
    """
    match charge:
        case UndoCharge.NO_PARTICIPANT:
            return 0
        case UndoCharge.MOVER:
            kept_ms = restored.used_in_turn_ms
        case UndoCharge.RESUMED:
            kept_ms = used_ms - restored.used_ms
    left_ms = None if begun.ends_at_ms is not None else time_to_zero_ms(begun)
    # A free first turn has no overtime: its limit cancels the session.
    if left_ms is None or (begun.rules.on_timeout is OnTimeout.OVERTIME and not is_turn_free(begun)):
        return kept_ms
    return min(kept_ms, left_ms)


class TurnStack:
    """The versions that began the turns of a session, of those turns that an undo can restore, the newest last.

    Simulations use it, because they store no versions. At most the newest `MAX_TURNS` turns before the current turn are
    kept.
    """

    def __init__(self) -> None:
        self._begun: list[Session] = []

    def add_transition(self, transition: Transition) -> None:
        """Add the next transition of the session."""
        state = transition.state
        if transition.event.type is EventType.TURN_UNDONE:
            while self._begun[-1].version > (state.turn.began_version or 0):
                self._begun.pop()
        elif state.turn.began_version is None:
            self._begun.clear()
        elif state.turn.began_version == state.version:
            self._begun.append(state)
            del self._begun[: -MAX_TURNS - 1]

    def find_restored_turn(self, current: Session, command: Undo) -> RestoredTurn | None:
        """Return the facts that an undo of the newest version `current` restores, None if it is not possible."""
        at = len(self._begun) - command.turns - (not is_held(current))
        if at < 0 or current.turn.began_version is None:
            return None
        next_begun = self._begun[at + 1] if at + 1 < len(self._begun) else current
        return find_restored_turn(current, self._begun[at], next_begun)
