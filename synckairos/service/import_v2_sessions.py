"""Import of unfinished sessions from SyncKairos v2: each v2 state becomes one version, exactly once.

v2 decides about a session until a caller changes the session in this product. Until that change, a later v2 state
replaces the imported state. It also replaces the transitions that became due in this product by time. After that
change, each new v2 state is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from synckairos.clock.importing import import_session
from synckairos.clock.model import Session
from synckairos.clock.transition import EventType, Transition
from synckairos.errors import SessionNotImported, StoreUnavailable, SyncKairosError
from synckairos.principal import Principal
from synckairos.service.prepare_commit import MAX_ATTEMPTS, RecordedOutcome, build_version, prepare_commit
from synckairos.service.restore import SessionRestorer
from synckairos.store.commit_script import AlreadyDecided, CommitConflict, Committed
from synckairos.store.sessions import SessionStore
from synckairos.store.store_generation import Generations, make_session_epoch
from synckairos.store.stored_session import StoredSession
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.outbox_entry import CommitCause
from synckairos.wire.session_parser import parse_session
from synckairos.wire.v2_state_parser import IMPORT_COMMAND, is_v2_epoch

IMPORTER = Principal.importer(IMPORT_COMMAND)
"""The principal of the import."""

MADE_BY_TIME = frozenset(
    {
        EventType.PARTICIPANT_EXPIRED,
        EventType.GROUP_EXPIRED,
        EventType.CYCLE_EXPIRED,
        EventType.TIME_WARNING,
        EventType.OVERTIME_STARTED,
        EventType.SESSION_EXPIRED,
    }
)
"""Event types that no caller causes. The timekeeper of this product makes such events also in an imported session.

v2 has no timekeeper.
"""


class ImportRefused(SyncKairosError):
    """A v2 session cannot be imported, because a session with the same id was created or changed in this product."""

    code = "IMPORT_REFUSED"


class ImportEffect(StrEnum):
    """The effect of an import: a new session, a new version of an imported session, or no change."""

    IMPORTED = "imported"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """A v2 session: its state, the JSON values from which the state was parsed, and the digest of these values."""

    state: Session
    values: dict[str, Any]
    digest: str

    @property
    def record_name(self) -> str:
        """Return the name of the idempotency record of this import. Each v2 state has its own name."""
        return IMPORTER.qualify_command_id(f"{IMPORT_COMMAND}:{self.digest}")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The effect of an import (`outcome`), and the epoch and version in this product that have the v2 state."""

    outcome: ImportEffect
    epoch: str
    version: int


class SessionImporter:
    """Importer of v2 sessions. After each commit it calls `on_commit` with the partition of the session."""

    def __init__(
        self,
        store: SessionStore,
        restorer: SessionRestorer,
        generations: Generations,
        on_commit: Callable[[int], None],
    ) -> None:
        self._store = store
        self._restorer = restorer
        self._generations = generations
        self._on_commit = on_commit

    async def import_session(self, request: ImportRequest) -> ImportResult:
        """Import one v2 state. If the same state was imported before, nothing changes.

        The import takes two round trips to Redis, and one to Postgres if Redis does not have the session.

        Raises:
            ImportRefused: the session was created or changed in this product. Nothing was imported.
            OutboxFull: the outbox is full. Nothing was imported; retry.
            StoreUnavailable: Redis or Postgres does not answer. The state was possibly imported. A retry is safe.
        """
        session_id = request.state.session_id
        loaded = await self._store.load(session_id, request.record_name)
        if loaded.stored is None and await self._restore(session_id):
            loaded = await self._store.load(
                session_id, request.record_name
            )  # now with the idempotency records that were restored
        if loaded.record is not None:
            return _unchanged(loaded.record)
        stored = loaded.stored
        for _ in range(MAX_ATTEMPTS):
            transition, outcome = await self._decide(request, stored)
            if transition is None:
                assert stored is not None
                return ImportResult(outcome, *stored.snapshot.epoch_and_version)
            position = transition.state.epoch, transition.state.version
            cause = CommitCause(
                IMPORTER.actor, IMPORT_COMMAND, {"v2": request.values}, request.record_name, request.digest
            )
            versions = [build_version(transition, cause)]
            decided = RecordedOutcome(request.record_name, request.digest)
            prepared = prepare_commit(session_id, stored, versions, transition.state, outcome=decided)
            match await self._store.commit(prepared.commit):
                case Committed():
                    self._on_commit(self._store.keys.partition_of(session_id))
                    return ImportResult(outcome, *position)
                case AlreadyDecided(earlier):
                    return _unchanged(earlier)
                case CommitConflict(_, stored):
                    pass
        raise StoreUnavailable("Too many commands change this session at the same time; try again")

    async def find_unchanged_import(self, session_id: str) -> StoredSession | None:
        """Return the stored session if it was imported and no caller has changed or deleted it since its last import.

        Return None if a caller has changed or deleted the session, if Redis does not have the session, or if its
        version history does not have the import.
        """
        stored = (await self._store.load(session_id)).stored
        if stored is None or stored.snapshot.deleted or not await self._is_untouched(session_id, stored):
            return None
        return stored

    async def _restore(self, session_id: str) -> bool:
        """Restore or recover a session that Redis does not have. Return False if there is no session to restore."""
        try:
            return await self._restorer.restore_or_recover(session_id) is not None
        except SessionNotImported:
            return False

    async def _decide(
        self, request: ImportRequest, stored: StoredSession | None
    ) -> tuple[Transition | None, ImportEffect]:
        """Return the transition to commit on top of `stored` and the effect.

        The transition is None if nothing changes.
        """
        state = request.state
        if stored is None:
            return await self._begin(state, 0), ImportEffect.IMPORTED
        snapshot = stored.snapshot
        before = parse_session(snapshot.document, snapshot.deleted)
        is_created_later = state.rules.created_at_ms > before.updated_at_ms
        if is_v2_epoch(snapshot.epoch):
            # An ended session from v2's audit. v2's Redis has it for one more hour, unless v2 created it again.
            if state.status.is_final and not is_created_later:
                return None, ImportEffect.UNCHANGED
            return await self._begin(state, before.updated_at_ms), ImportEffect.IMPORTED
        if snapshot.deleted and is_created_later:
            return await self._begin(state, before.updated_at_ms), ImportEffect.IMPORTED
        if snapshot.deleted:
            raise ImportRefused("it was deleted here, and v2 still has it")
        if not await self._is_untouched(state.session_id, stored):
            raise ImportRefused(
                f"it was created or changed here (version {snapshot.version}), and v2 has another state"
            )
        next_version = import_session(state, snapshot.epoch, snapshot.version + 1, before.updated_at_ms)
        return next_version, ImportEffect.UPDATED

    async def _begin(self, state: Session, not_before_ms: int) -> Transition:
        """Return the transition that imports `state` under a new epoch.

        Its version is the v2 version of `state` plus 1, so that v2 clients see only growing versions.
        """
        generation = await self._generations.load_or_create(self._store.keys.partition_of(state.session_id))
        return import_session(state, make_session_epoch(generation), state.version + 1, not_before_ms)

    async def _is_untouched(self, session_id: str, stored: StoredSession) -> bool:
        """Return whether the session has no versions after its last import except overdue transitions.

        Returns False if the version history does not have the last import.
        """
        for message in await self._store.read_history(session_id):
            if message.snapshot.epoch != stored.snapshot.epoch:
                return False
            if message.event_type is EventType.SESSION_IMPORTED:
                return True
            if message.event_type not in MADE_BY_TIME:
                return False
        return False


def _unchanged(record: bytes) -> ImportResult:
    """Return the result of an import from the idempotency record of the same import."""
    decided = IdempotencyRecord.parse(record)
    return ImportResult(ImportEffect.UNCHANGED, decided.epoch, decided.version)
