"""The JSON of a session in the list of a participant's sessions, rendered as pieces of text around two numbers.

Only these two numbers, the used time and the cycle count, differ between participants. So the pieces are rendered once
per session and are stored.
"""

import orjson

from synckairos.wire.instants import render_instant

Pieces = tuple[bytes, bytes, bytes]
"""The text before the used time, between used time and cycle count, and after the cycle count. Without line feeds."""


def render_row_template(
    *,
    session_id: str,
    sync_mode: str,
    status: str,
    started_at_ms: int | None,
    completed_at_ms: int | None,
    paused_ms: int,
    metadata: bytes,
    synced: bool,
) -> Pieces:
    """Render the three pieces of a session's JSON that are the same for all participants.

    Instants are in ms since the Unix epoch, None if absent. `metadata` must be JSON without line feeds. `paused_ms` is
    the paused time of the session. Pass `synced=True` if Postgres has the newest version of the session.
    """
    head = {
        "session_id": session_id,
        "sync_mode": sync_mode,
        "status": status,
        "started_at": None if started_at_ms is None else render_instant(started_at_ms),
        "completed_at": None if completed_at_ms is None else render_instant(completed_at_ms),
    }
    tail = b',"metadata":%b,"synced":%b}' % (metadata, b"true" if synced else b"false")
    return orjson.dumps(head)[:-1] + b',"time_used_ms":', b',"paused_ms":%d,"cycle_count":' % paused_ms, tail


def render_row(pieces: Pieces, time_used_ms: bytes, cycle_count: bytes) -> bytes:
    """Render the session for one participant: the pieces, with the participant's two numbers between them.

    Both numbers must be decimal digits in ASCII.
    """
    return b"%b%b%b%b%b" % (pieces[0], time_used_ms, pieces[1], cycle_count, pieces[2])
