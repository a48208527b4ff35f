"""Sessions as they were last seen here, parsed: the next command on one of them needn't parse what this one rendered.

A guess that is checked and never believed: it counts only where Redis still holds the very same bytes.
"""

from synckairos.clock.model import Session
from synckairos.wire.session import parse_session

MAX_BYTES = 8 << 20
"""What the documents may weigh together; the sessions parsed from them weigh a few times as much."""


class Parsed:
    """The sessions commanded lately, by id, oldest first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: dict[str, tuple[bytes, Session]] = {}

    def of(self, session_id: str, document: bytes) -> Session:
        """Return what a document says, parsed only where it isn't known."""
        known = self._known.get(session_id)
        return known[1] if known is not None and known[0] == document else parse_session(document)

    def keep(self, session_id: str, document: bytes, session: Session) -> None:
        """Remember what a document says, and forget what was seen longest ago where that is too much."""
        self._forget(session_id)
        self._known[session_id] = document, session
        self._bytes += len(document)
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._known)))

    def _forget(self, session_id: str) -> None:
        known = self._known.pop(session_id, None)
        if known is not None:
            self._bytes -= len(known[0])
