"""Restoring of evicted sessions from Postgres to Redis, and recovery of sessions after data loss."""

from synckairos.clock import engine
from synckairos.clock.commands import Delete
from synckairos.clock.model import Session
from synckairos.clock.recover_lost_session import OutageChargePolicy, recover_session
from synckairos.errors import SessionNotImported, StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.history.records import AuditedVersion
from synckairos.service.prepare_commit import (
    build_version,
    created_at_if_live_ms,
    next_transition_at_ms,
    prepare_commit,
)
from synckairos.service.unknown_sessions import UnknownSessionCache
from synckairos.session_names import bare_id
from synckairos.store.commit_script import CommitConflict, find_records_ttl_ms
from synckairos.store.known_versions import KnownVersion
from synckairos.store.outbox import MIN_STAY_AFTER_DEADLINE_MS
from synckairos.store.sessions import SessionStore, SessionToRestore
from synckairos.store.store_generation import Generations, belongs_to_generation, make_session_epoch
from synckairos.store.stored_session import SessionLoadResult, StoredSession
from synckairos.telemetry import log
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.telemetry.metrics import RECOVERED_SESSIONS, RESTORED_SESSIONS
from synckairos.wire.outbox_entry import CommitCause
from synckairos.wire.session_parser import parse_session
from synckairos.wire.v2_state_parser import is_v2_epoch

_RECOVERY = ("recovery", "recover")

CAUSED_BY_RECOVERY = CommitCause(*_RECOVERY)
"""The cause of a session's first version after data loss, in the audit.

If version numbers between the last remaining version and this version are left out, the cause has the argument
`from_version`, the number of the last remaining version.
"""

_CAUSED_BY_LOST_DELETION = CommitCause("recovery", "delete")

logger = log.get_logger(__name__)


class SessionRestorer:
    """Restores sessions from Postgres to Redis. Sessions are given by their names in their tenants.

    All methods except `restore_if_postgres_answers` raise StoreUnavailable if Redis or Postgres does not answer.
    """

    def __init__(
        self,
        store: SessionStore,
        history: HistoryReader,
        generations: Generations,
        *,
        session_ttl_s: int,
        policy: OutageChargePolicy,
    ) -> None:
        """Create a restorer.

        `session_ttl_s` is the TTL in seconds of a restored session in Redis. A restored session with a deadline stays
        at least one hour after its deadline. `policy` is the outage policy for sessions that are recovered after data
        loss.
        """
        self._store = store
        self._history = history
        self._generations = generations
        self._session_ttl_ms = session_ttl_s * 1000
        self._policy = policy
        self._unknown = UnknownSessionCache()
        self._unreachable = UnknownSessionCache()

    async def restore_or_recover(self, session_name: str) -> StoredSession | None:
        """Restore or recover a session that Redis does not have, and return the stored session.

        An evicted session is restored unchanged, with the same epoch and version. After data loss, an unfinished
        session is recovered: it continues at the next version under a new epoch. An ended session is always restored
        unchanged. A deleted session is returned but not written to Redis. Return None if Postgres does not have the
        session, or if an earlier call did not find the session in Postgres a few seconds ago.

        Raises:
            SessionNotImported: the session is unfinished in v2 and was not imported. v2 decides about its clock.
        """
        return None if self.is_known_to_be_missing(session_name) else await self._restore_or_recover(session_name)

    async def complete_load(self, session_name: str, loaded: SessionLoadResult) -> StoredSession | None:
        """Return the session of a load. Restore or recover the session if Redis does not have all of it.

        Raises: the errors of `restore_or_recover` and `recover_lost_versions`.
        """
        if loaded.stored is None:
            return await self.restore_or_recover(session_name)
        if loaded.lost is None:
            return loaded.stored
        return await self.recover_lost_versions(session_name, loaded.stored, loaded.lost)

    def is_known_to_be_missing(self, session_name: str) -> bool:
        """Return whether `restore_or_recover` would return None for this session now, without a read of Postgres."""
        return self._unknown.contains(session_name)

    async def read_like_a_missing_session(self, session_name: str) -> None:
        """Read Postgres as for a session that does not exist.

        Call this for a session in Redis that the caller cannot reach. The number of look-ups then does not show that
        the session exists.
        """
        if not self._unreachable.contains(session_name):
            await self._history.read_latest_version(session_name)
            self._unreachable.add(session_name)

    def remove_from_unknown_cache(self, session_name: str) -> None:
        """Remove a session from the cache of unknown sessions, because this instance has created the session."""
        self._unknown.remove(session_name)

    async def _restore_or_recover(self, session_name: str) -> StoredSession | None:
        known = self._store.known.find(session_name)
        audited = await self._history.read_latest_version(session_name)
        if audited is None:
            self._unknown.add(session_name)
            return None
        snapshot = audited.snapshot
        if snapshot.deleted:
            return StoredSession(snapshot)
        is_behind = known is not None and known.is_missing_in(snapshot)
        with reporting_invalid_data(f"sync_events {session_name}"):
            state = parse_session(snapshot.document)
        if is_v2_epoch(snapshot.epoch) and not state.status.is_final:
            raise SessionNotImported(bare_id(session_name))
        generation = await self._load_generation(session_name)
        if not is_behind and (state.status.is_final or belongs_to_generation(snapshot.epoch, generation)):
            return await self._restore_evicted(session_name, audited, state)
        return await self._recover(session_name, None, audited, state, known)

    async def recover_lost_versions(
        self, session_name: str, stored: StoredSession, lost: KnownVersion
    ) -> StoredSession | None:
        """Continue a session that Redis has, but without the version `lost`, under a new epoch. Return the session.

        `stored` is the session in Redis. The session continues from the newer of `stored` and the latest version in
        Postgres, if both have the same epoch, else from `stored`. Its version number is higher than that of `lost`, so
        a lost version number is never issued again. If a deletion was lost, the session is deleted again. If another
        instance has recovered the session first, return the session of that instance.

        Raises: StoreUnavailable if Redis or Postgres does not answer. InvalidStoredData.
        """
        base = AuditedVersion(session_name, stored.snapshot)
        audited = await self._history.read_latest_version(session_name)
        epoch, version = stored.snapshot.epoch_and_version
        if audited is not None and audited.snapshot.epoch == epoch and audited.snapshot.version > version:
            newest = audited.snapshot
            if not newest.deleted:
                base = audited
            elif newest.version >= lost.version:
                lost = KnownVersion(epoch, newest.version, newest.tag, lost.at_ms, deleted=True)
        with reporting_invalid_data(self._store.keys.session(session_name)):
            state = parse_session(base.snapshot.document)
        return await self._recover(session_name, stored, base, state, lost)

    async def _restore_evicted(
        self, session_name: str, audited: AuditedVersion, state: Session
    ) -> StoredSession | None:
        due_ms = next_transition_at_ms(state)
        now_ms = await self._store.now_ms(session_name)
        min_stay_ms = 0 if due_ms is None else due_ms + MIN_STAY_AFTER_DEADLINE_MS - now_ms
        evicted = SessionToRestore(
            stored=StoredSession(audited.snapshot, due_ms),
            status=state.status,
            live_since_ms=created_at_if_live_ms(state),
            ttl_ms=max(self._session_ttl_ms, min_stay_ms),
        )
        RESTORED_SESSIONS.inc()
        return (await self._store.restore(session_name, evicted, audited.records)).stored

    async def _load_generation(self, session_name: str) -> str:
        return await self._generations.load_or_create(self._store.keys.partition_of(session_name))

    async def _recover(
        self,
        session_name: str,
        base: StoredSession | None,
        audited: AuditedVersion,
        state: Session,
        known: KnownVersion | None,
    ) -> StoredSession | None:
        """Continue a session whose newest versions are lost from `state`, under a new epoch.

        `base` is the session in Redis, None if Redis does not have it. `state` is the parsed document of `audited`.
        `known` is the newest version that is known to have existed. If it is the deletion of this epoch, the session is
        deleted again. If another instance has recovered the session first, return the session of that instance.
        """
        epoch = make_session_epoch(await self._load_generation(session_name))
        now_ms = await self._store.now_ms(session_name)
        after_version = 0 if known is None else known.version
        transition = recover_session(state, epoch, now_ms, self._policy, after_version)
        recovered = transition.state
        cause = CAUSED_BY_RECOVERY
        if recovered.version > state.version + 1:
            cause = CommitCause(*_RECOVERY, {"from_version": state.version})
        versions = [build_version(transition, cause)]
        if known is not None and known.deleted and known.epoch == state.epoch:
            deletion = engine.apply(recovered, Delete(), recovered.updated_at_ms)
            versions += [build_version(each, _CAUSED_BY_LOST_DELETION) for each in deletion.all_transitions]
            recovered = deletion.all_transitions[-1].state
        prepared = prepare_commit(session_name, base, versions, recovered, by_time=True)
        if audited.records:
            ttl_ms = find_records_ttl_ms(prepared.commit.due_ms, now_ms)
            await self._store.add_idempotency_records(session_name, audited.records, ttl_ms)
        outcome = await self._store.commit(prepared.commit)
        if isinstance(outcome, CommitConflict):
            if outcome.stored is not None and outcome.lost is not None:
                return await self.recover_lost_versions(session_name, outcome.stored, outcome.lost)
            return outcome.stored
        RECOVERED_SESSIONS.inc()
        logger.warning("session recovered", session_id=session_name, version=recovered.version, epoch=epoch)
        return prepared.stored

    async def restore_unless_deleted(self, session_name: str) -> StoredSession | None:
        """Restore or recover a session that Redis does not have, and return the stored session.

        Return None if the session never existed, was deleted, or is unfinished in v2 and was not imported.
        """
        try:
            stored = await self._restore_or_recover(session_name)
        except SessionNotImported:
            return None
        return None if stored is None or stored.snapshot.deleted else stored

    async def restore_if_postgres_answers(self, session_name: str) -> StoredSession | None:
        """Restore or recover an earlier session whose id a creation uses, and return the stored session.

        Return None if there is no such session, or if a store does not answer. The id then counts as free. Rows of an
        earlier and a new session with the same id cannot collide, because the new session has its own epoch.
        """
        try:
            return await self.restore_unless_deleted(session_name)
        except StoreUnavailable:
            return None
