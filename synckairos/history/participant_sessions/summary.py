"""Session summaries: the data of one session that the lists of its participants show, in the form cached in Redis.

Pure functions. The facts of a summary are the same for all participants of the session. Each participant has a part
with two numbers: the used time in milliseconds and the number of turns.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from synckairos.audit.entry_rows import EventRow, ParticipantRow, SessionRow
from synckairos.clock.recorded_times import RECORDING_EVENTS
from synckairos.history.records import ParticipantSession
from synckairos.store.participant_sessions import SessionSummary
from synckairos.wire.instants import datetime_to_ms
from synckairos.wire.participant_session_json import render_row_template

CHANGING_STATUSES = ("running", "paused")
"""Session statuses in which a clock or a pause runs, so that values of the summary change without a command."""

_DELETED = b"null"  # value of `SessionSummary.facts` for a deleted session


def build_summary(session: ParticipantSession) -> SessionSummary:
    """Build the summary of a session from the list item of one of its participants."""
    facts = [
        session.sync_mode,
        session.status,
        session.started_at_ms,
        session.completed_at_ms,
        session.at_ms,
        session.paused_ms,
    ]
    return _render_summary(
        session.session_id, _render_position(session.epoch, session.version), facts, session.metadata
    )


def _render_summary(session_id: str, position: bytes, facts: list[Any], metadata: bytes) -> SessionSummary:
    sync_mode, status, started_at_ms, completed_at_ms, _, paused_ms = facts
    if status in CHANGING_STATUSES:
        return SessionSummary(position, orjson.dumps(facts), metadata)
    pieces = render_row_template(
        session_id=session_id,
        sync_mode=sync_mode,
        status=status,
        started_at_ms=started_at_ms,
        completed_at_ms=completed_at_ms,
        paused_ms=paused_ms,
        metadata=metadata,
        synced=True,
    )
    return SessionSummary(position, orjson.dumps(facts), metadata, b"\n".join(pieces))


def render_participant_part(time_used_ms: int, cycle_count: int) -> bytes:
    """Return a participant's part of a summary as text with two numbers and a space between them.

    The numbers are the used time in ms and the number of turns.
    """
    return b"%d %d" % (time_used_ms, cycle_count)


def is_deleted(summary: SessionSummary) -> bool:
    """Return whether the summary belongs to a deleted session."""
    return summary.facts == _DELETED


def build_participant_session(
    summary: SessionSummary, part: bytes, session_id: str, began_at_ms: int
) -> ParticipantSession:
    """Build the list item of a participant from the session's summary and the participant's part.

    `part` is a result of `render_participant_part`. `began_at_ms` is the list position in ms since the Unix epoch. The
    summary must not belong to a deleted session.
    """
    epoch, version = summary.position.split()
    time_used_ms, cycle_count = part.split()
    facts: list[Any] = orjson.loads(summary.facts)
    return ParticipantSession(
        session_id=session_id,
        epoch=epoch.decode(),
        version=int(version),
        sync_mode=facts[0],
        status=facts[1],
        started_at_ms=facts[2],
        completed_at_ms=facts[3],
        at_ms=facts[4],
        time_used_ms=int(time_used_ms),
        paused_ms=facts[5],
        cycle_count=int(cycle_count),
        metadata=summary.metadata,
        began_at_ms=began_at_ms,
    )


def summary_after_batch(
    before: SessionSummary | None, session: SessionRow, events: Iterable[EventRow]
) -> SessionSummary | None:
    """Return the summary of a session after the drain committed `events`.

    - `before`: the summary before the commit; None if Redis has no summary.
    - `session`: the session's row after the commit.

    Return `before` if it is at least as new as `session`. If `session` is deleted, return the summary of a deleted
    session. Otherwise the events must be complete from the version after `before` to the version of `session`. Without
    `before`, or in another epoch after a deletion, they must be complete from version 1. If they are not complete,
    return None. The next reader then reads the summary from Postgres.
    """
    known_version, at_ms, status, paused_ms = 0, 0, "", 0
    if before is not None:
        epoch, version = before.position.decode().split()
        if epoch == session.epoch:
            known_version = int(version)
            if known_version >= session.version:
                return before
        if not is_deleted(before):
            if epoch != session.epoch:
                return None  # only Postgres has the information which of the two epochs is later
            _, status, _, _, at_ms, paused_ms = orjson.loads(before.facts)
    if session.deleted_at is not None:
        return SessionSummary(_render_position(session.epoch, session.version), _DELETED)
    versions = sorted(
        (row for row in events if row.epoch == session.epoch and row.version > known_version),
        key=lambda row: row.version,
    )
    if [row.version for row in versions] != list(range(known_version + 1, session.version + 1)):
        return None
    for row in versions:
        row_ms = datetime_to_ms(row.occurred_at)
        if status == "paused":
            paused_ms += max(0, row_ms - at_ms)
        if row.event_type in RECORDING_EVENTS and session.started_at and session.completed_at:
            # The event concerns the only participant.
            recorded_ms = datetime_to_ms(session.completed_at) - datetime_to_ms(session.started_at)
            paused_ms = recorded_ms - (row.time_used_ms or 0)
        at_ms, status = row_ms, row.status
    facts = [
        session.sync_mode,
        session.status,
        None if session.started_at is None else datetime_to_ms(session.started_at),
        None if session.completed_at is None else datetime_to_ms(session.completed_at),
        at_ms,
        paused_ms,
    ]
    position = _render_position(session.epoch, session.version)
    return _render_summary(str(session.session_id), position, facts, session.metadata.encode())


def render_participant_parts(participants: Sequence[ParticipantRow]) -> dict[str, bytes]:
    """Return the part of each participant that has not left the session, by participant id."""
    return {
        str(each.participant_id): render_participant_part(each.time_used_ms, each.cycle_count)
        for each in participants
        if each.cycle_count is not None
    }


def _render_position(epoch: str, version: int) -> bytes:
    return f"{epoch} {version}".encode()
