"""Recall: answers decided before, and sessions as they were. Where the hot path ends and memory begins."""

from collections.abc import Iterator
from contextlib import suppress

from synckairos.clock.model import EventType, Session
from synckairos.errors import IdempotencyKeyReused, SessionNotFound, StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.service.requests import Answer, CommandRequest, CreateRequest
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.session_json import parse_session
from synckairos.wire.snapshot import Snapshot


class PastVersions:
    """Looks in Redis' history, then in Postgres, and only then through all that is on its way there.

    Raises StoreUnavailable where the store that is needed doesn't answer.
    """

    def __init__(self, store: SessionStore, outbox: Outbox, history: HistoryReader) -> None:
        self._store = store
        self._outbox = outbox
        self._history = history

    async def decided(
        self,
        session_id: str,
        request: CommandRequest | CreateRequest,
        record: bytes,
        current: Snapshot | None,
        now_ms: int,
    ) -> Answer:
        """Give the first decided answer again, rendered from the document of the version it named.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            ReplayedRefusal: it was a refusal.
        """
        decided = IdempotencyRecord.parse(record)
        if not request.matches(decided.fingerprint):
            raise IdempotencyKeyReused
        snapshot = await self._snapshot(session_id, (decided.epoch, decided.version), current)
        refusal = decided.to_error()
        if refusal is not None:
            refusal.document = snapshot.document
            raise refusal
        return Answer(snapshot, now_ms, expired_participant_id=decided.expired_participant_id, replayed=True)

    async def as_it_was(self, session_id: str, at_ms: int) -> Answer:
        """Return the newest version in effect at an instant before the last transition. Raises SessionNotFound."""
        oldest: FeedMessage | None = None
        for message in await self._store.history(session_id):
            if message.at_ms <= at_ms:
                return _then(message, at_ms)
            oldest = message
        with suppress(StoreUnavailable):
            return await self._archived_at(session_id, at_ms, oldest)
        for message in await self._on_their_way(session_id):
            if message.at_ms <= at_ms:
                return _then(message, at_ms)
            oldest = message
        return await self._archived_at(session_id, at_ms, oldest)

    async def out_of_time_id(self, expired: Session) -> str | None:
        """Return the participant whose turn it was when a session expired, None if it was no participant's.

        The event of the expiry names it. Without that event in the history of Redis, the version before says it.
        """
        for message in await self._store.history(expired.session_id):
            if message.event_type is EventType.SESSION_EXPIRED:
                return message.participant_id
        assert expired.completed_at_ms is not None
        before = await self.as_it_was(expired.session_id, expired.completed_at_ms - 1)
        active = before.session.active_participant
        return None if active is None else active.participant_id

    async def _archived_at(self, session_id: str, at_ms: int, oldest: FeedMessage | None) -> Answer:
        """Return what Postgres has of an instant before `oldest`. Raises StoreUnavailable where it may lack some."""
        archived = await self._history.version_at(session_id, at_ms)
        if oldest is not None:
            await self._check_archived_before(oldest, at_ms)
        if archived is None or archived.snapshot.deleted:
            raise SessionNotFound(session_id)
        return Answer(archived.snapshot, at_ms)

    async def _check_archived_before(self, oldest: FeedMessage, at_ms: int) -> None:
        """Raise StoreUnavailable where versions between an instant and the oldest known are still on their way."""
        if oldest.event_type in (EventType.SESSION_CREATED, EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED):
            return
        snapshot = oldest.snapshot
        if at_ms < parse_session(snapshot.document).rules.created_at_ms:
            return
        if await self._history.version_document(oldest.session_id, snapshot.epoch, snapshot.version - 1) is None:
            raise StoreUnavailable("The version of that time is on its way to the archive; try again shortly")

    async def _snapshot(self, session_id: str, position: tuple[str, int], current: Snapshot | None) -> Snapshot:
        """Return the snapshot of one version (epoch, version): from where it is held, nearest first."""
        if current is not None and current.position == position:
            return current
        for message in await self._store.history(session_id):
            if message.snapshot.position == position:
                return message.snapshot
        with suppress(StoreUnavailable):
            return await self._archived(session_id, position)
        for message in await self._on_their_way(session_id):
            if message.snapshot.position == position:
                return message.snapshot
        return await self._archived(session_id, position)

    async def _archived(self, session_id: str, position: tuple[str, int]) -> Snapshot:
        document = await self._history.version_document(session_id, *position)
        if document is None:
            raise StoreUnavailable("This answer's version is on its way to the archive; try again shortly")
        return Snapshot(*position, document)

    async def _on_their_way(self, session_id: str) -> Iterator[FeedMessage]:
        """Return the versions that Postgres may not have yet, newest first; whoever asks it next misses none."""
        return (entry.to_feed_message() for entry in reversed(await self._outbox.session_entries(session_id)))


def _then(message: FeedMessage, at_ms: int) -> Answer:
    """Answer with a version as that of an instant. Raises SessionNotFound for a tombstone."""
    if message.snapshot.deleted:
        raise SessionNotFound(message.session_id)
    return Answer(message.snapshot, at_ms)
