"""The session cache: recently used sessions of this instance, each with its stored snapshot and its parsed state.

If Redis still has the bytes of the cached session, the next command does not load and parse the document again. If
Redis has other bytes, the cached session is not used.
"""

from synckairos.session_names import bare_id
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.snapshot import SessionSnapshot, check_stored_document

MAX_BYTES = 8 << 20
"""Bytes: maximum total size of the documents in the cache. The parsed sessions need several times this memory."""


class SessionCache:
    """A cache of sessions by name.

    Beyond `max_bytes` of documents, sessions whose last `put` is the oldest are removed.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[str, tuple[SessionSnapshot, RenderedSession]] = {}

    def find_snapshot(self, session_name: str) -> SessionSnapshot | None:
        """Return the cached snapshot of a session, None if the session is not in the cache."""
        entry = self._entries.get(session_name)
        return None if entry is None else entry[0]

    def parse_cached(self, session_name: str, document: bytes) -> RenderedSession:
        """Return the parsed session of `document`.

        If the cache has the same document for this session, the document is not parsed again. The cache does not
        change.
        """
        _, cached = self._entries.get(session_name) or (None, None)
        if cached is not None and cached.document == document:
            return cached
        return RenderedSession.parse(document, cached)

    def parse_stored(self, session_name: str, snapshot: SessionSnapshot, key: str) -> RenderedSession:
        """Return the parsed session of a stored snapshot. `key` is the Redis key of the session, for the report.

        Raises: InvalidStoredData if the document is invalid, or is of another session, epoch or version.
        """
        _, cached = self._entries.get(session_name) or (None, None)
        if cached is not None and cached.document == snapshot.document:
            session = cached.session
            if session.version == snapshot.version and session.epoch == snapshot.epoch:
                return cached
        with reporting_invalid_data(key):
            parsed = self.parse_cached(session_name, snapshot.document)
            session = parsed.session
            position = (bare_id(session_name), *snapshot.epoch_and_version)
            if (session.session_id, session.epoch, session.version) != position:
                raise ValueError("the document is of another session or version")
            return parsed

    def check_stored_document(self, session_name: str, snapshot: SessionSnapshot, key: str) -> None:
        """Check a stored document without parsing the whole document. `key` is the Redis key, for the report.

        Raises: InvalidStoredData if the document is of another session or version.
        """
        _, cached = self._entries.get(session_name) or (None, None)
        if cached is None or cached.document != snapshot.document:
            with reporting_invalid_data(key):
                check_stored_document(bare_id(session_name), snapshot)

    def put(self, session_name: str, snapshot: SessionSnapshot, rendered: RenderedSession) -> None:
        """Put a session into the cache, in place of an earlier snapshot of the session.

        If the cache is then too large, remove the sessions whose last `put` is the oldest.
        """
        self._remove(session_name)
        self._entries[session_name] = snapshot, rendered
        self._bytes += len(rendered.document)
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, session_name: str) -> None:
        entry = self._entries.pop(session_name, None)
        if entry is not None:
            self._bytes -= len(entry[1].document)
