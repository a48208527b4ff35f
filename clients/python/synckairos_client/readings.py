"""Readings of a session's clocks at an instant, calculated from the session's facts by the rules of `clock`. Pure."""

import math
from dataclasses import replace

from synckairos_client.errors import ParticipantNotFound
from synckairos_client.generated.clock.expected_starts import expected_starts_ms
from synckairos_client.generated.clock.individual.all_clocks import clocks_charged_until
from synckairos_client.generated.clock.model import Group, OnTimeout, Participant, Session, Status, SyncMode
from synckairos_client.generated.clock.timing import (
    active_group,
    charge_session_until,
    deadline_at_ms,
    session_remaining_ms,
)

__all__ = [
    "changes_with_time",
    "expected_starts_ms",
    "find_participant",
    "participant_remaining_ms",
    "remaining_ms_at",
    "session_charged_until",
    "used_ms_at",
]


def changes_with_time(state: Session) -> bool:
    """Return whether a reading of the session changes with time: a clock runs, or the session has an end."""
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        has_end = state.ends_at_ms is not None and state.started_at_ms is not None and not state.status.is_final
        return has_end or state.status is Status.RUNNING
    return state.anchor_ms is not None or (state.ends_at_ms is not None and state.status is Status.PAUSED)


def session_charged_until(state: Session, now_ms: float) -> Session:
    """Return a copy of the session with the time charged until `now_ms`, the server's time in ms since the Unix epoch.

    Time after a deadline is charged only with the timeout policy `overtime`, because otherwise the server decides the
    effect of the deadline. A reading is below zero only in overtime. The clock of a session with an end also runs
    during a pause, so `updated_at_ms` of the result is then the instant of the reading. In `individual`, each clock has
    a deadline of its own.
    """
    if state.rules.sync_mode is SyncMode.INDIVIDUAL:
        return clocks_charged_until(state, math.floor(now_ms))
    deadline_ms = deadline_at_ms(state)
    if deadline_ms is not None and state.rules.on_timeout is not OnTimeout.OVERTIME:
        now_ms = min(now_ms, deadline_ms)
    if state.ends_at_ms is not None and state.status is Status.PAUSED:
        return replace(state, updated_at_ms=max(state.updated_at_ms, math.floor(now_ms)))
    return charge_session_until(state, math.floor(now_ms))


def remaining_ms_at(state: Session, now_ms: float, participant_id: str | None = None) -> int | None:
    """Return the reading of one clock at `now_ms`, in ms. Return None if this clock has no time limit.

    If `participant_id` is given, the clock is the own clock of this participant. Otherwise it is the running clock, or
    the clock that would run after a start or resume, and in `individual` there is none. `now_ms` is the server's time
    in ms since the Unix epoch.

    Raises: ParticipantNotFound if the session does not have this participant.
    """
    charged = session_charged_until(state, now_ms)
    mode = charged.rules.sync_mode
    if participant_id is not None:
        return participant_remaining_ms(charged, find_participant(charged, participant_id))
    if mode is SyncMode.INDIVIDUAL:
        return None
    if mode is SyncMode.PER_PARTICIPANT:
        active: Participant | Group | None = charged.active_participant
        return None if active is None else active.remaining_ms
    if mode is SyncMode.PER_GROUP:
        active = active_group(charged)
        return None if active is None else active.remaining_ms
    return session_remaining_ms(charged)


def participant_remaining_ms(charged: Session, participant: Participant) -> int | None:
    """Return a participant's own remaining time in ms, None if there is no time limit.

    `charged` is the result of `session_charged_until`.
    """
    if charged.rules.sync_mode is not SyncMode.PER_CYCLE:
        return participant.remaining_ms
    # Each cycle has the same budget. The active participant has the remaining time; other participants have the full
    # budget. With a plan, the items have different budgets, so other participants have none.
    is_turn = participant is charged.active_participant and charged.status is not Status.PENDING
    if is_turn:
        return charged.remaining_ms
    return 0 if charged.plan else charged.rules.time_per_cycle_ms


def used_ms_at(state: Session, now_ms: float, participant_id: str | None = None) -> int:
    """Return the used time at `now_ms` in ms: of the session, or of one participant if `participant_id` is given.

    `now_ms` is the server's time in ms since the Unix epoch.

    Raises: ParticipantNotFound if the session does not have this participant.
    """
    charged = session_charged_until(state, now_ms)
    return charged.used_ms if participant_id is None else find_participant(charged, participant_id).used_ms


def find_participant(state: Session, participant_id: str) -> Participant:
    """Return the participant with this id.

    Raises: ParticipantNotFound.
    """
    for each in state.participants:
        if each.participant_id == participant_id:
            return each
    raise ParticipantNotFound(participant_id)
