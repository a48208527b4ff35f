"""Somebody's part in a session as lists tell it: one JSON object, in pieces where somebody's own two numbers stand.

What is the same for everybody who took part can so be rendered once and kept.
"""

import orjson

from synckairos.wire.instants import render_instant

Pieces = tuple[bytes, bytes, bytes]
"""Before the time used, between it and the count of cycles, and behind that. No piece has a line feed in it."""


def render_pieces(
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
    """Render what a session's row has in common; `metadata` is JSON without line feeds."""
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
    """Put somebody's numbers between the pieces."""
    return b"%b%b%b%b%b" % (pieces[0], time_used_ms, pieces[1], cycle_count, pieces[2])
