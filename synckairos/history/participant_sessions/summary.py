"""Digests: what lists tell of a session, as Redis keeps it for recent history; pure.

The facts are the same for everybody who took part; beside them stands each one's part, as two numbers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from synckairos.audit.entry_rows import EventRow, ParticipantRow, SessionRow
from synckairos.history.records import ParticipantSession
from synckairos.store.participant_sessions import SessionSummary
from synckairos.wire.instants import instant_ms
from synckairos.wire.participant_session_json import render_pieces

MOVING = ("running", "paused")
"""Statuses in which somebody's time, or a break, goes on."""

_GONE = b"null"


def build_summary(part: ParticipantSession) -> SessionSummary:
    """Return what Postgres told of a session, but for whose part it is."""
    facts = [part.sync_mode, part.status, part.started_at_ms, part.completed_at_ms, part.at_ms, part.paused_ms]
    return _digest(part.session_id, _of(part.epoch, part.version), facts, part.metadata)


def _digest(session_id: str, of: bytes, facts: list[Any], metadata: bytes) -> SessionSummary:
    sync_mode, status, started_at_ms, completed_at_ms, _, paused_ms = facts
    if status in MOVING:
        return SessionSummary(of, orjson.dumps(facts), metadata)
    pieces = render_pieces(
        session_id=session_id,
        sync_mode=sync_mode,
        status=status,
        started_at_ms=started_at_ms,
        completed_at_ms=completed_at_ms,
        paused_ms=paused_ms,
        metadata=metadata,
        synced=True,
    )
    return SessionSummary(of, orjson.dumps(facts), metadata, b"\n".join(pieces))


def render_part(time_used_ms: int, cycle_count: int) -> bytes:
    return b"%d %d" % (time_used_ms, cycle_count)


def is_gone(digest: SessionSummary) -> bool:
    """Tell whether the session was deleted."""
    return digest.facts == _GONE


def participant_part(digest: SessionSummary, part: bytes, session_id: str, began_at_ms: int) -> ParticipantSession:
    """Return somebody's part in a session that isn't gone."""
    epoch, version = digest.position.split()
    time_used_ms, cycle_count = part.split()
    facts: list[Any] = orjson.loads(digest.facts)
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
        metadata=digest.metadata,
        began_at_ms=began_at_ms,
    )


def summary_after(was: SessionSummary | None, session: SessionRow, events: Iterable[EventRow]) -> SessionSummary | None:
    """Return a session's digest after a batch with these versions of it; None where what is known doesn't lead there.

    It leads there from the digest of the version before, or from the first version on.
    """
    known_version, at_ms, status, paused_ms = 0, 0, "", 0
    if was is not None:
        epoch, version = was.position.decode().split()
        if epoch == session.epoch:
            known_version = int(version)
            if known_version >= session.version:
                return was
        if not is_gone(was):
            if epoch != session.epoch:
                return None  # which of the two is the later is for Postgres to say
            _, status, _, _, at_ms, paused_ms = orjson.loads(was.facts)
    if session.deleted_at is not None:
        return SessionSummary(_of(session.epoch, session.version), _GONE)
    versions = sorted(
        (row for row in events if row.epoch == session.epoch and row.version > known_version),
        key=lambda row: row.version,
    )
    if [row.version for row in versions] != list(range(known_version + 1, session.version + 1)):
        return None
    for row in versions:
        row_ms = instant_ms(row.occurred_at)
        if status == "paused":
            paused_ms += max(0, row_ms - at_ms)
        at_ms, status = row_ms, row.status
    facts = [
        session.sync_mode,
        session.status,
        None if session.started_at is None else instant_ms(session.started_at),
        None if session.completed_at is None else instant_ms(session.completed_at),
        at_ms,
        paused_ms,
    ]
    return _digest(str(session.session_id), _of(session.epoch, session.version), facts, session.metadata.encode())


def participant_parts(people: Sequence[ParticipantRow]) -> dict[str, bytes]:
    """Return the parts of those who are in the session now."""
    return {
        str(each.participant_id): render_part(each.time_used_ms, each.cycle_count)
        for each in people
        if each.cycle_count is not None
    }


def _of(epoch: str, version: int) -> bytes:
    return f"{epoch} {version}".encode()
