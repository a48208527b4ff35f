"""Reads of past versions of sessions: replays of earlier answers, and sessions as they were at an instant.

The reader searches the version history in Redis first, then Postgres, then the outbox. The outbox is not second,
because its entries have to be scanned one after the other.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from synckairos.clock.begin_turn import is_held
from synckairos.clock.charges import charges_in_effect
from synckairos.clock.earlier_turns import EndedTurn, RestoredTurn
from synckairos.clock.model import Break, Session, Status
from synckairos.clock.recorded_times import find_breaks
from synckairos.clock.reopen import find_ended_turn
from synckairos.clock.transition import Charge, EventType
from synckairos.clock.undo import find_restored_turn
from synckairos.errors import IdempotencyKeyReused, SessionArchived, SessionNotFound, StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.service.requests import CommandRequest, CreateRequest, SessionResult
from synckairos.session_names import bare_id
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.document_scan import extract_created_at_ms
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.session_parser import parse_session
from synckairos.wire.snapshot import SessionSnapshot

CREATIONS = frozenset({EventType.SESSION_CREATED, EventType.SESSION_RECORDED})
"""Types of the events that create a session."""


class PastVersionReader:
    """Reads past versions of sessions from Redis, Postgres and the outbox.

    Sessions and participants are given by their names in their tenants. All methods raise StoreUnavailable if Redis or
    Postgres is needed and does not answer.
    """

    def __init__(self, store: SessionStore, outbox: Outbox, history: HistoryReader) -> None:
        self._store = store
        self._outbox = outbox
        self._history = history

    async def replay_answer(
        self,
        session_name: str,
        request: CommandRequest | CreateRequest,
        record: bytes,
        current: SessionSnapshot | None,
        now_ms: int,
    ) -> SessionResult:
        """Return the answer to an earlier request with the same command id. It has the version that `record` names.

        `record` is the idempotency record. `current` is the stored snapshot of the session, None if the caller does not
        have it. If `current` is the version in the record, the method needs no round trip. `now_ms` is the time of
        Redis for the answer.

        Raises:
            IdempotencyKeyReused: the command id was used for another request.
            ReplayedRefusal: the first request with the command id was refused.
        """
        with reporting_invalid_data(self._store.keys.idempotency_records(session_name)):
            decision = IdempotencyRecord.parse(record)
        if not request.matches_fingerprint(decision.fingerprint):
            raise IdempotencyKeyReused
        snapshot = await self._find(session_name, (decision.epoch, decision.version), current)
        refusal = decision.to_error()
        if refusal is not None:
            refusal.document = snapshot.document
            try:
                raise refusal
            finally:
                del refusal  # with it, this frame and the traceback of the refusal would be a reference cycle
        return SessionResult(snapshot, now_ms, expired_participant_id=decision.expired_participant_id, replayed=True)

    async def read_at_instant(self, session_name: str, at_ms: int) -> SessionResult:
        """Return the newest version of a session that was committed at or before `at_ms`, ms since the Unix epoch.

        Overdue transitions that are not committed yet are not applied.

        Raises: SessionNotFound if the session was not created yet or was deleted at that instant.
        """
        oldest: FeedMessage | None = None
        for message in await self._store.read_history(session_name):
            if message.at_ms <= at_ms:
                return _answer(message, at_ms)
            oldest = message
        with suppress(StoreUnavailable):
            return await self._audited_at(session_name, at_ms, oldest)
        for message in await self._in_outbox(session_name):
            if message.at_ms <= at_ms:
                return _answer(message, at_ms)
            oldest = message
        return await self._audited_at(session_name, at_ms, oldest)

    async def find_expired_participant_id(self, session_name: str, expired: Session) -> str | None:
        """Return the id of the participant that had the turn when time ended a session, None if no participant had it.

        The event of the end contains the id. If the version history no longer has that event, the version before the
        end shows the turn. The result is also None if no store has that version.
        """
        is_completed = expired.status is Status.COMPLETED  # by the end of the last item of its plan
        end = EventType.SESSION_COMPLETED if is_completed else EventType.SESSION_EXPIRED
        for message in await self._store.read_history(session_name):
            if message.event_type is end:
                return message.participant_id
        assert expired.completed_at_ms is not None
        with suppress(SessionNotFound):
            before = await self.read_at_instant(session_name, expired.completed_at_ms - 1)
            active = before.session.active_participant
            return None if active is None else active.participant_id
        return None

    async def find_ended_turn(self, session_name: str, ended: Session) -> EndedTurn | None:
        """Return the turn in which a session ended, from its newest version before the end.

        The outbox is read before Postgres, because Postgres possibly has only earlier versions. None if no store has
        the version.

        Raises: SessionArchived if only cold storage has the version.
        """
        for message in await self._store.read_history(session_name):
            if (turn := _ended_turn(message.snapshot, ended)) is not None:
                return turn
        for message in await self._in_outbox(session_name):
            if (turn := _ended_turn(message.snapshot, ended)) is not None:
                return turn
        audited = await self._history.read_newest_unfinished_version(session_name)
        if audited is not None and (turn := _ended_turn(audited, ended)) is not None:
            return turn
        await self._check_not_archived(session_name, ended)
        return None

    async def _check_not_archived(self, session_name: str, ended: Session) -> None:
        """Raise SessionArchived if retention removed versions of this session from Postgres."""
        removed = await self._history.read_archive_records(session_name, removed_only=True)
        if any(each.created_at_ms == ended.rules.created_at_ms for each in removed):
            raise SessionArchived(ended.session_id)

    async def find_sessions_of_running_participant(self, participant_name: str) -> list[str]:
        """Return the ids of all sessions of its tenant in which the clock of a participant possibly runs.

        The outbox is read before Postgres, because Postgres possibly has only earlier versions.
        """
        in_outbox = await self._outbox.participant_session_names(participant_name)
        audited = await self._history.used_time.find_running_sessions(participant_name)
        return [*dict.fromkeys((*map(bare_id, in_outbox), *audited))]

    async def find_breaks_before(
        self, session_name: str, ended: Session, audited_version: int | None, *, is_needed: bool
    ) -> tuple[Break, ...] | None:
        """Return the breaks that the clock measured in an ended session, None if `is_needed` is False.

        Return None also if the session has more charges than one command reads.

        The breaks follow from the charges of all versions. The outbox is read before Postgres, because Postgres
        possibly has only earlier versions. If the outbox has all versions, Postgres is not read. If Postgres has
        versions, as `audited_version` of the stored session tells, and the breaks are not needed, the outbox is not
        read.

        Raises:
            SessionArchived: retention removed versions of the session from Postgres.
            StoreUnavailable: Postgres does not answer, or does not have all versions or their charges yet.
        """
        created_at_ms = ended.rules.created_at_ms
        assert ended.started_at_ms is not None
        assert ended.completed_at_ms is not None
        if not is_needed and audited_version is not None:
            await self._check_not_archived(session_name, ended)
            return None
        entries = [
            entry
            for entry in await self._outbox.read_session_entries(session_name)
            if extract_created_at_ms(entry.document) == created_at_ms
        ]
        events = [entry.to_clock_event() for entry in entries]
        audited: list[Charge] = []
        if not events or events[0].type not in CREATIONS:
            await self._check_not_archived(session_name, ended)
            if is_needed:
                before_version = entries[0].version if entries else ended.version + 1
                found = await self._history.used_time.read_charges(session_name, before_version)
                if found is None:
                    return None
                audited = found
        if not is_needed:
            return None
        if any(event.charges is None for event in events):
            raise StoreUnavailable("The charges of the session are not complete yet; try again shortly")
        return find_breaks(ended.started_at_ms, ended.completed_at_ms, charges_in_effect(events, audited))

    async def find_restored_turn(self, session_name: str, current: Session, turns: int) -> RestoredTurn | None:
        """Return the facts that an undo of `turns` turns restores, None if the turns cannot be undone.

        `current` is the newest version. The search follows `turn.began_version`: the version before the beginning of a
        turn names the beginning of the turn before it. So the search reads one version for each turn, and two versions
        more. Versions that the history in Redis does not have need a round trip to Postgres each.
        """
        versions = _KnownVersions(session_name, current, await self._store.read_history(session_name))
        next_began, began = None, current.turn.began_version
        for _ in range(turns - is_held(current)):
            if began is None:
                return None
            before = await self._read_version(versions, began - 1)
            next_began, began = began, before.turn.began_version
        if began is None:
            return None
        begun = await self._read_version(versions, began)
        next_begun = current if next_began is None else await self._read_version(versions, next_began)
        return find_restored_turn(current, begun, next_begun)

    async def _read_version(self, versions: "_KnownVersions", version: int) -> Session:
        """Return a version of the session of `versions`, from `versions`, the outbox or Postgres."""
        snapshot = versions.find(version)
        if snapshot is None and not versions.has_outbox:
            versions.add_outbox(await self._in_outbox(versions.session_name))
            snapshot = versions.find(version)
        return parse_session(
            (snapshot or await self._audited(versions.session_name, versions.position(version))).document
        )

    async def _audited_at(self, session_name: str, at_ms: int, oldest: FeedMessage | None) -> SessionResult:
        """Return the version of a session that was in effect at the instant `at_ms`, from Postgres.

        `oldest` is the oldest version after that instant that the caller has found, None if the caller has found none.

        Raises: StoreUnavailable if versions between that instant and `oldest` can be missing from Postgres.
        """
        audited = await self._history.read_version_at_instant(session_name, at_ms)
        if oldest is not None:
            await self._check_audited_before(session_name, oldest, at_ms)
        if audited is None or audited.snapshot.deleted:
            raise SessionNotFound(bare_id(session_name))
        return SessionResult(audited.snapshot, at_ms)

    async def _check_audited_before(self, session_name: str, oldest: FeedMessage, at_ms: int) -> None:
        """Raise StoreUnavailable if Postgres does not have the version before `oldest` yet.

        A creation, recovery or import needs no version before. The same is true if `at_ms` is before the creation.
        """
        if oldest.event_type in (EventType.SESSION_CREATED, EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED):
            return
        snapshot = oldest.snapshot
        if at_ms < parse_session(snapshot.document).rules.created_at_ms:
            return
        if await self._history.read_version_document(session_name, snapshot.epoch, snapshot.version - 1) is None:
            raise StoreUnavailable("Postgres does not have the version of that instant yet; try again shortly")

    async def _find(
        self, session_name: str, position: tuple[str, int], current: SessionSnapshot | None
    ) -> SessionSnapshot:
        """Return the snapshot of the version at `position` (epoch, version), from the first store that has it."""
        if current is not None and current.epoch_and_version == position:
            return current
        for message in await self._store.read_history(session_name):
            if message.snapshot.epoch_and_version == position:
                return message.snapshot
        with suppress(StoreUnavailable):
            return await self._audited(session_name, position)
        for message in await self._in_outbox(session_name):
            if message.snapshot.epoch_and_version == position:
                return message.snapshot
        return await self._audited(session_name, position)

    async def _audited(self, session_name: str, position: tuple[str, int]) -> SessionSnapshot:
        document = await self._history.read_version_document(session_name, *position)
        if document is None:
            raise StoreUnavailable("Postgres does not have the version of this answer yet; try again shortly")
        return SessionSnapshot(*position, document)

    async def _in_outbox(self, session_name: str) -> Iterator[FeedMessage]:
        """Return the session's versions in the outbox, which Postgres possibly does not have yet, newest first.

        If the caller queries Postgres afterwards, no version is missed. A drain in the meantime only moves versions to
        Postgres.
        """
        return (entry.to_feed_message() for entry in reversed(await self._outbox.read_session_entries(session_name)))


class _KnownVersions:
    """Versions of one epoch of a session that a search has already read, from the history in Redis and the outbox."""

    def __init__(self, session_name: str, current: Session, history: Iterable[FeedMessage]) -> None:
        self.session_name = session_name
        self.has_outbox = False
        self._epoch = current.epoch
        self._snapshots = {each.snapshot.epoch_and_version: each.snapshot for each in history}

    def add_outbox(self, messages: Iterable[FeedMessage]) -> None:
        """Add the versions in the outbox."""
        self.has_outbox = True
        self._snapshots |= {each.snapshot.epoch_and_version: each.snapshot for each in messages}

    def position(self, version: int) -> tuple[str, int]:
        """Return the epoch and the version for a read of Postgres."""
        return self._epoch, version

    def find(self, version: int) -> SessionSnapshot | None:
        """Return the snapshot of a version, None if it is not known."""
        return self._snapshots.get(self.position(version))


def _ended_turn(snapshot: SessionSnapshot, ended: Session) -> EndedTurn | None:
    """Return the turn in which `ended` ended if `snapshot` is a version before the end, else None."""
    before = parse_session(snapshot.document, snapshot.deleted)
    is_before_end = before.epoch == ended.epoch and before.version < ended.version and not before.status.is_final
    return find_ended_turn(before, ended) if is_before_end else None


def _answer(message: FeedMessage, at_ms: int) -> SessionResult:
    """Return a version as the answer to a read at an instant.

    Raises: SessionNotFound if the version is a deletion.
    """
    if message.snapshot.deleted:
        raise SessionNotFound(message.session_id)
    return SessionResult(message.snapshot, at_ms)
