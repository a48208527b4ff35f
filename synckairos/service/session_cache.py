"""The session cache: recently used sessions of this instance, stored and parsed.

The next command then need not load and parse the session that the last command made. An entry is never trusted: it is
used only if Redis still holds the same bytes.
"""

from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_version import Snapshot

MAX_BYTES = 8 << 20
"""Bytes of all documents in the cache. The sessions parsed from them need a few times as much memory."""


class SessionCache:
    """The recently used sessions by id, oldest first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[str, tuple[Snapshot, RenderedSession]] = {}

    def snapshot(self, session_id: str) -> Snapshot | None:
        """Return the last known snapshot of a session, None if it is not in the cache."""
        entry = self._entries.get(session_id)
        return None if entry is None else entry[0]

    def parse(self, session_id: str, document: bytes) -> RenderedSession:
        """Return the session of a document. It is parsed only if the cache has another document."""
        _, cached = self._entries.get(session_id) or (None, None)
        if cached is not None and cached.document == document:
            return cached
        return RenderedSession.parse(document, cached)

    def put(self, session_id: str, snapshot: Snapshot, rendered: RenderedSession) -> None:
        """Add a session. If the cache is too large then, remove the sessions that were added first."""
        self._remove(session_id)
        self._entries[session_id] = snapshot, rendered
        self._bytes += len(rendered.document)
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, session_id: str) -> None:
        entry = self._entries.pop(session_id, None)
        if entry is not None:
            self._bytes -= len(entry[1].document)
