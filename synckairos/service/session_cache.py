"""Sessions as they were last seen here, stored and parsed: the next command needn't load and parse what this one made.

A guess that is checked and never believed: it counts only where Redis still holds the very same bytes.
"""

from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.snapshot import Snapshot

MAX_BYTES = 8 << 20
"""What the documents may weigh together; the sessions parsed from them weigh a few times as much."""


class SessionCache:
    """The sessions commanded lately, by id, oldest first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: dict[str, tuple[Snapshot, RenderedSession]] = {}

    def held(self, session_id: str) -> Snapshot | None:
        """Return how a session was stored when it was last seen."""
        known = self._known.get(session_id)
        return None if known is None else known[0]

    def of(self, session_id: str, document: bytes) -> RenderedSession:
        """Return what a document says, parsed only where it isn't known."""
        _, known = self._known.get(session_id) or (None, None)
        return known if known is not None and known.document == document else RenderedSession.parse(document, known)

    def keep(self, session_id: str, snapshot: Snapshot, rendered: RenderedSession) -> None:
        """Remember what a stored document says, and forget what was seen longest ago where that is too much."""
        self._forget(session_id)
        self._known[session_id] = snapshot, rendered
        self._bytes += len(rendered.document)
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._known)))

    def _forget(self, session_id: str) -> None:
        known = self._known.pop(session_id, None)
        if known is not None:
            self._bytes -= len(known[1].document)
