"""Restoring: sessions that Redis doesn't hold, whether it let them go as agreed or lost them with everything else."""

from synckairos.clock.model import Session
from synckairos.clock.recovery import OutagePolicy, recover
from synckairos.errors import SessionLeftInV2, StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.history.records import AuditedVersion
from synckairos.service.commits import build_version, commit_of, due_at_ms, live_since_ms
from synckairos.store.commit_script import Conflict
from synckairos.store.outbox import MIN_STAY_AFTER_DEADLINE_MS
from synckairos.store.sessions import EvictedSession, SessionStore
from synckairos.store.store_generation import Generations, belongs_to_generation, new_epoch
from synckairos.store.stored_session import StoredSession
from synckairos.telemetry import log
from synckairos.telemetry.metrics import RECOVERED_SESSIONS, RESTORED_SESSIONS
from synckairos.wire.outbox_entry import Cause
from synckairos.wire.session_json import parse_session
from synckairos.wire.v2_session import is_v2_epoch

BY_RECOVERY = Cause("recovery", "recover")

logger = log.get_logger(__name__)


class SessionRestorer:
    """Brings sessions back from Postgres. Raises StoreUnavailable where it, or Redis, doesn't answer."""

    def __init__(
        self,
        store: SessionStore,
        history: HistoryReader,
        generations: Generations,
        *,
        session_ttl_s: int,
        policy: OutagePolicy,
    ) -> None:
        self._store = store
        self._history = history
        self._generations = generations
        self._session_ttl_ms = session_ttl_s * 1000
        self._policy = policy

    async def bring_back(self, session_id: str) -> StoredSession | None:
        """Bring a session back that Redis doesn't hold. None where there never was one.

        One that Redis let go comes back as it was, same epoch and version; one that it lost goes on at the next
        version under a new epoch. A tombstone isn't put back, only told.

        Raises:
            SessionLeftInV2: the session is live in v2, or was never ended there. v2 decides about its clock.
        """
        archived = await self._history.latest_version(session_id)
        if archived is None:
            return None
        if archived.snapshot.deleted:
            return StoredSession(archived.snapshot)
        state = parse_session(archived.snapshot.document)
        if is_v2_epoch(archived.snapshot.epoch) and not state.status.is_final:
            raise SessionLeftInV2(session_id)
        generation = await self._generations.current(self._store.keys.partition_of(session_id))
        if state.status.is_final or belongs_to_generation(archived.snapshot.epoch, generation):
            return await self._restore(archived, state)
        return await self._recover(archived, state, new_epoch(generation))

    async def _restore(self, archived: AuditedVersion, state: Session) -> StoredSession | None:
        due_ms = due_at_ms(state)
        now_ms = await self._store.now_ms()
        until_ms = 0 if due_ms is None else due_ms + MIN_STAY_AFTER_DEADLINE_MS - now_ms
        evicted = EvictedSession(
            stored=StoredSession(archived.snapshot, due_ms),
            status=state.status,
            live_since_ms=live_since_ms(state),
            ttl_ms=max(self._session_ttl_ms, until_ms),
        )
        RESTORED_SESSIONS.inc()
        return (await self._store.restore(state.session_id, evicted, archived.records)).stored

    async def _recover(self, archived: AuditedVersion, state: Session, epoch: str) -> StoredSession | None:
        """Take up a session whose newest versions are lost; whoever is first decides under which epoch."""
        transition = recover(state, epoch, await self._store.now_ms(), self._policy)
        recovered = transition.state
        step = build_version(transition, BY_RECOVERY)
        await self._store.add_records(state.session_id, archived.records)
        outcome = await self._store.commit(commit_of(recovered, None, [step], by_time=True))
        if isinstance(outcome, Conflict):
            return outcome.stored
        RECOVERED_SESSIONS.inc()
        logger.warning("session recovered", session_id=state.session_id, version=recovered.version, epoch=epoch)
        return StoredSession(step.message.snapshot, due_at_ms(recovered))

    async def bring_back_unless_deleted(self, session_id: str) -> StoredSession | None:
        """Bring a session back; a tombstone that only the archive remembers counts as nothing there."""
        try:
            stored = await self.bring_back(session_id)
        except SessionLeftInV2:
            return None
        return None if stored is None or stored.snapshot.deleted else stored

    async def bring_back_if_reachable(self, session_id: str) -> StoredSession | None:
        """Look whether a chosen id is taken by a session Redis let go; without Postgres take it as free.

        Its rows can't clash later: the new session has an epoch of its own.
        """
        try:
            return await self.bring_back_unless_deleted(session_id)
        except StoreUnavailable:
            return None
