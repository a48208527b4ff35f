"""Recall: answers decided before, and sessions that Redis let go. Where the hot path ends and memory begins."""

from synckairos.asking import Answer
from synckairos.audit.archive import Archive
from synckairos.clock.model import Session
from synckairos.clock.timing import next_due
from synckairos.errors import IdempotencyKeyReused, SessionNotFound, StoreUnavailable
from synckairos.metrics import RESTORED_SESSIONS
from synckairos.store.sessions import Evicted, SessionStore, Stored
from synckairos.wire.record import Record
from synckairos.wire.session import parse_session

AFTER_DEADLINE_MS = 3_600_000
"""A session stays in Redis at least this long after its deadline."""


class Recall:
    """Looks in Redis first, then in Postgres. Raises StoreUnavailable where the one that is needed doesn't answer."""

    def __init__(self, store: SessionStore, archive: Archive, session_ttl_s: int) -> None:
        self._store = store
        self._archive = archive
        self._session_ttl_ms = session_ttl_s * 1000

    async def decided(
        self, session_id: str, fingerprint: str, record: bytes, stored: Stored | None, now_ms: int
    ) -> Answer:
        """Give the first decided answer again, rendered from the document of the version it named.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            Refused: it was a refusal.
        """
        decided = Record.parse(record)
        if decided.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        document = await self._document(session_id, decided.epoch, decided.version, stored)
        refusal = decided.error()
        if refusal is not None:
            refusal.document = document
            raise refusal
        return Answer(
            document,
            decided.epoch,
            decided.version,
            now_ms,
            expired_participant_id=decided.expired_participant_id,
            replayed=True,
        )

    async def as_it_was(self, session_id: str, at_ms: int) -> Answer:
        """Return the newest version in effect at an instant before the last transition. Raises SessionNotFound."""
        history = await self._store.history(session_id)
        past = next((message for message in reversed(history) if message.at_ms <= at_ms), None)
        if past is not None and not past.deleted:
            return Answer(past.state, past.epoch, past.version, at_ms)
        archived = None if past is not None else await self._archive.state_at(session_id, at_ms)
        if archived is None or archived.deleted:
            raise SessionNotFound(session_id)
        return Answer(archived.state, archived.epoch, archived.version, at_ms)

    async def bring_back(self, session_id: str) -> Stored | None:
        """Bring a session back that Redis let go: as it was, same epoch and version. None where there never was one.

        A tombstone isn't put back, only told.
        """
        archived = await self._archive.latest(session_id)
        if archived is None:
            return None
        if archived.deleted:
            return Stored(archived.epoch, archived.version, True, archived.state)
        state = parse_session(archived.state)
        due = next_due(state)
        due_ms = None if due is None else due.at_ms
        now_ms = await self._store.now_ms()
        until_ms = 0 if due_ms is None else due_ms + AFTER_DEADLINE_MS - now_ms
        lost = Evicted(
            stored=Stored(archived.epoch, archived.version, False, archived.state, due_ms),
            status=state.status,
            live_since_ms=live_since_ms(state),
            ttl_ms=max(self._session_ttl_ms, until_ms),
        )
        RESTORED_SESSIONS.inc()
        return (await self._store.restore(session_id, lost, archived.records)).stored

    async def bring_back_if_reachable(self, session_id: str) -> Stored | None:
        """Look whether a chosen id is taken by a session Redis let go; without Postgres take it as free.

        Its rows can't clash later: the new session has an epoch of its own.
        """
        try:
            stored = await self.bring_back(session_id)
        except StoreUnavailable:
            return None
        # A tombstone that only the archive remembers isn't in Redis: the commit must expect nothing there.
        return None if stored is None or stored.deleted else stored

    async def _document(self, session_id: str, epoch: str, version: int, stored: Stored | None) -> bytes:
        """Return the document of one version: from where it is held, nearest first."""
        if stored is not None and (stored.epoch, stored.version) == (epoch, version):
            return stored.document
        for message in reversed(await self._store.history(session_id)):
            if (message.epoch, message.version) == (epoch, version):
                return message.state
        archived = await self._archive.snapshot(session_id, epoch, version)
        if archived is None:
            raise StoreUnavailable("This answer's version is on its way to the archive; try again shortly")
        return archived


def live_since_ms(state: Session) -> int | None:
    """Return a session's creation instant, None where it is final or deleted."""
    return None if state.deleted or state.status.is_final else state.rules.created_at_ms
