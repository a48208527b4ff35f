"""What a session's clocks read at an instant: calculated from its facts, by the engine's own rules. Pure."""

import math

from synckairos.clock.model import Group, OnTimeout, Participant, Session, Status, SyncMode
from synckairos.clock.timing import active_group, charge_until, deadline_at_ms
from synckairos.errors import ParticipantNotFound


def at(state: Session, now_ms: float) -> Session:
    """Return a session as it reads at an instant of the server's clock, ms since the Unix epoch.

    Never past a deadline: what happens there is the server's to say. Only overtime reads below zero.
    """
    deadline_ms = deadline_at_ms(state)
    if deadline_ms is not None and state.rules.on_timeout is not OnTimeout.OVERTIME:
        now_ms = min(now_ms, deadline_ms)
    return charge_until(state, math.floor(now_ms))


def remaining_ms(state: Session, now_ms: float, participant_id: str | None = None) -> int | None:
    """Return what the running clock reads, or a participant's own: ms; None where nothing limits it.

    Where nothing runs, it is the clock that would. Raises ParticipantNotFound.
    """
    shown = at(state, now_ms)
    mode = state.rules.sync_mode
    if participant_id is not None:
        return share_ms(shown, participant(shown, participant_id))
    if mode is SyncMode.PER_PARTICIPANT:
        active: Participant | Group | None = shown.active_participant
        return None if active is None else active.remaining_ms
    if mode is SyncMode.PER_GROUP:
        active = active_group(shown)
        return None if active is None else active.remaining_ms
    return shown.remaining_ms


def share_ms(shown: Session, of: Participant) -> int | None:
    """Return a participant's own remaining time in a session that `at` gave, ms."""
    if shown.rules.sync_mode is not SyncMode.PER_CYCLE:
        return of.remaining_ms
    # One budget for whoever's cycle it is: the active one sees what is left of it, the others what awaits them.
    is_turn = of is shown.active_participant and shown.status is not Status.PENDING
    return shown.remaining_ms if is_turn else shown.rules.time_per_cycle_ms


def used_ms(state: Session, now_ms: float, participant_id: str | None = None) -> int:
    """Return the time used by the session or one participant, ms. Raises ParticipantNotFound."""
    shown = at(state, now_ms)
    return shown.used_ms if participant_id is None else participant(shown, participant_id).used_ms


def participant(state: Session, participant_id: str) -> Participant:
    """Return the participant of that id. Raises ParticipantNotFound."""
    for each in state.participants:
        if each.participant_id == participant_id:
            return each
    raise ParticipantNotFound(participant_id)
