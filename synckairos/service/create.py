"""Creation of sessions, once for each Idempotency-Key. The random ids are made here, because `clock` is pure."""

from collections.abc import Callable
from uuid import UUID

from uuid6 import uuid7

from synckairos.clock import creation
from synckairos.clock.first_edition_compatibility import check_first_edition
from synckairos.errors import IdempotencyKeyReused, SessionExists, StoreUnavailable
from synckairos.frozen_replace import replace
from synckairos.limits.tenant_budgets import TenantBudgets
from synckairos.service.authorization import authorize_without_session
from synckairos.service.label_rights import require_creation_rights
from synckairos.service.past_versions import PastVersionReader
from synckairos.service.prepare_commit import (
    MAX_ATTEMPTS,
    RecordedOutcome,
    build_version,
    prepare_commit,
    traced_version,
)
from synckairos.service.requests import CreateRequest, SessionResult
from synckairos.service.restore import SessionRestorer
from synckairos.service.session_cache import SessionCache
from synckairos.session_names import session_name
from synckairos.store.commit_script import AlreadyDecided, Commit, CommitConflict, Committed
from synckairos.store.sessions import SessionStore
from synckairos.store.store_generation import Generations, make_session_epoch
from synckairos.store.stored_session import StoredSession
from synckairos.telemetry import tracing
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.telemetry.metrics import COMMIT_CONFLICTS
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_parser import parse_session

KEY_TTL_S = 7 * 24 * 3600
"""Seconds that Redis keeps the Idempotency-Key of a creation."""


class SessionCreator:
    """Creates sessions. Each created session is put into `cache`, and `on_commit` is called with its partition.

    `tenants` has the limits of tenants. `clock_edition` is the edition of the clock's rules for new sessions, 1 or 2.
    """

    def __init__(
        self,
        store: SessionStore,
        past_versions: PastVersionReader,
        restorer: SessionRestorer,
        generations: Generations,
        cache: SessionCache,
        on_commit: Callable[[int], None],
        tenants: TenantBudgets,
        clock_edition: int,
    ) -> None:
        self._store = store
        self._past_versions = past_versions
        self._restorer = restorer
        self._generations = generations
        self._cache = cache
        self._on_commit = on_commit
        self._tenants = tenants
        self._clock_edition = clock_edition

    async def create(self, request: CreateRequest) -> SessionResult:
        """Create a session, or replay the answer if the same request with the same Idempotency-Key was decided before.

        Without an Idempotency-Key, each call is a new request.

        Raises: Forbidden, ValidationFailed, SessionExists, and the errors of `Sessions.execute`. RateLimitExceeded also
        if the tenant has the maximum number of sessions that have not ended. SessionExists means
        that another session has the id of the request. ValidationFailed means that a JSON member of the request needs a
        later edition of the clock than the edition of new sessions.
        """
        authorize_without_session(request.principal, "create")
        await require_creation_rights(request.principal, request.spec.labels)
        if self._clock_edition == 1:
            check_first_edition(request.spec)
        session_id = request.session_id or str(uuid7())
        is_repeated = False
        if request.command_id is not None:
            session_id, is_repeated = await self._reserve(request, request.command_id, session_id)
        name = session_name(request.principal.tenant, session_id)
        loaded = await self._store.load(name, request.record_name, request.meter)
        if loaded.record is not None:
            return await self._past_versions.replay_answer(name, request, loaded.record, loaded.snapshot, loaded.now_ms)
        await self._require_room(request.principal.tenant)
        return await self._create(request, session_id, is_repeated, loaded.stored, loaded.now_ms)

    async def _require_room(self, tenant: str) -> None:
        """Check that a tenant is below its limit of unfinished sessions. One round trip if it has such a limit.

        Simultaneous creations can exceed the limit by their number.

        Raises: RateLimitExceeded if the limit is reached.
        """
        if self._tenants.limits_sessions_of(tenant):
            self._tenants.require_session(tenant, await self._store.live.count_unfinished(tenant))

    async def _reserve(self, request: CreateRequest, command_id: str, session_id: str) -> tuple[str, bool]:
        """Return the session id that belongs to the creation's Idempotency-Key, and whether the key was used before.

        Raises: IdempotencyKeyReused if the key was used for another request.
        """
        value = f"{session_id} {request.fingerprint}"
        key = f"create:{request.principal.qualify_request_id(command_id)}"
        reserved = await self._store.reserve_command_id(key, value, KEY_TTL_S) or value
        reserved_id, _, fingerprint = reserved.partition(" ")
        with reporting_invalid_data(self._store.keys.reserved_command_id(key)):
            UUID(reserved_id)
        if fingerprint != request.fingerprint:
            raise IdempotencyKeyReused
        return reserved_id, reserved != value

    async def _create(
        self, request: CreateRequest, session_id: str, is_repeated: bool, stored: StoredSession | None, now_ms: int
    ) -> SessionResult:
        """Commit a new session.

        If another attempt with the same Idempotency-Key has committed first, replay its answer. If the session id is in
        use, store the refusal and raise SessionExists.
        """
        name = session_name(request.principal.tenant, session_id)
        for _ in range(MAX_ATTEMPTS):
            if stored is None and is_repeated:
                stored = await self._restorer.restore_unless_deleted(name)
            elif stored is None and session_id == request.session_id:
                stored = await self._restorer.restore_if_postgres_answers(name)
            if stored is not None and not stored.snapshot.deleted:
                return await self._refuse(request, session_id, stored, now_ms)
            if stored is not None:
                # If a session with this id existed before, the new session begins after its end. This holds even if the
                # clock of Redis was set back in the meantime.
                now_ms = max(now_ms, parse_session(stored.snapshot.document).updated_at_ms + 1)
            generation = await self._generations.load_or_create(self._store.keys.partition_of(name))
            spec = replace(request.spec, edition=self._clock_edition)
            created = creation.create(spec, session_id, make_session_epoch(generation), now_ms)
            rendered = RenderedSession.render(created.state)
            version = build_version(created, request.cause, rendered)
            prepared = prepare_commit(name, stored, [version], created.state, outcome=_outcome(request))
            match await self._store.commit(prepared.commit):
                case Committed():
                    self._restorer.remove_from_unknown_cache(name)
                    self._on_commit(self._store.keys.partition_of(name))
                    if tracing.active is not None:
                        tracing.note_commit(traced_version(name, prepared.stored.snapshot))
                    self._cache.put(name, prepared.stored.snapshot, rendered)
                    return SessionResult.from_stored_session(prepared.stored, now_ms, parsed=created.state)
                case AlreadyDecided(record):
                    return await self._past_versions.replay_answer(name, request, record, None, now_ms)
                case CommitConflict(now_ms, stored):
                    COMMIT_CONFLICTS.inc()
        raise StoreUnavailable("Too many requests create this session at the same time; try again")

    async def _refuse(
        self, request: CreateRequest, session_id: str, stored: StoredSession, now_ms: int
    ) -> SessionResult:
        """Store the refusal for the Idempotency-Key and raise SessionExists.

        If another request has stored a decision for the key in the meantime, replay that decision.
        """
        refusal, name = SessionExists(session_id), session_name(request.principal.tenant, session_id)
        outcome = _outcome(request, refusal)
        if outcome is not None:
            record = outcome.render_record(stored.snapshot)
            result = await self._store.commit(
                Commit(name, stored.snapshot, command_id=outcome.command_id, record=record)
            )
            if isinstance(result, AlreadyDecided):
                return await self._past_versions.replay_answer(name, request, result.record, None, now_ms)
        try:
            raise refusal
        finally:
            del refusal, outcome  # with them, this frame and the traceback of the refusal would be a reference cycle


def _outcome(request: CreateRequest, refusal: SessionExists | None = None) -> RecordedOutcome | None:
    name = request.record_name
    return None if name is None else RecordedOutcome(name, request.fingerprint, refusal)
