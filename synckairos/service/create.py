"""Creating: a new session committed, once for its Idempotency-Key. It makes the ids that the clock may not make."""

from collections.abc import Callable

from uuid6 import uuid7

from synckairos.clock import creation
from synckairos.errors import IdempotencyKeyReused, SessionExists, StoreUnavailable
from synckairos.service.commits import MAX_ATTEMPTS, build_version, commit_of, stored_after
from synckairos.service.past_versions import PastVersions
from synckairos.service.requests import Answer, CreateRequest
from synckairos.service.restore import SessionRestorer
from synckairos.service.session_cache import SessionCache
from synckairos.store.commit_script import AlreadyDecided, Commit, Committed, Conflict
from synckairos.store.sessions import SessionStore
from synckairos.store.store_generation import Generations, new_epoch
from synckairos.store.stored_session import StoredSession
from synckairos.telemetry.metrics import COMMIT_CONFLICTS
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import parse_session

KEY_TTL_S = 7 * 24 * 3600
"""How long a creation's Idempotency-Key is remembered where the caller left the session's id to us."""


class SessionCreator:
    """Makes sessions; what it commits is kept `parsed`, and `on_commit` told of, as all commits are."""

    def __init__(
        self,
        store: SessionStore,
        recall: PastVersions,
        restorer: SessionRestorer,
        generations: Generations,
        parsed: SessionCache,
        on_commit: Callable[[int], None],
    ) -> None:
        self._store = store
        self._recall = recall
        self._restorer = restorer
        self._generations = generations
        self._parsed = parsed
        self._on_commit = on_commit

    async def create(self, request: CreateRequest) -> Answer:
        """Make a session. Raises SessionExists, besides what `Sessions.execute` raises."""
        session_id = request.session_id or str(uuid7())
        is_known = False
        if request.command_id is not None:
            session_id, is_known = await self._reserve(request, request.command_id, session_id)
        loaded = await self._store.load(session_id, request.command_id, request.meter)
        if loaded.record is not None:
            return await self._recall.decided(session_id, request, loaded.record, loaded.snapshot, loaded.now_ms)
        return await self._make(request, session_id, is_known, loaded.stored, loaded.now_ms)

    async def _reserve(self, request: CreateRequest, command_id: str, session_id: str) -> tuple[str, bool]:
        """Return the session id that a creation's key stands for, and whether it stood for it before."""
        ours = f"{session_id} {request.fingerprint}"
        key = f"create:{request.principal.scoped(command_id)}"
        kept = await self._store.reserve_command_id(key, ours, KEY_TTL_S) or ours
        kept_id, _, fingerprint = kept.partition(" ")
        if fingerprint != request.fingerprint:
            if request.meter is not None:
                request.meter.waive()
            raise IdempotencyKeyReused
        return kept_id, kept != ours

    async def _make(
        self, request: CreateRequest, session_id: str, is_known: bool, stored: StoredSession | None, now_ms: int
    ) -> Answer:
        """Commit a new session; `is_known` says that its key was used before, so that it may exist already."""
        for _ in range(MAX_ATTEMPTS):
            if stored is None and is_known:
                stored = await self._restorer.bring_back_unless_deleted(session_id)
            elif stored is None and session_id == request.session_id:
                stored = await self._restorer.bring_back_if_reachable(session_id)
            if stored is not None and not stored.snapshot.deleted:
                return await self._refuse(request, session_id, stored, now_ms)
            if stored is not None:
                # A new life begins after the old one's end, even where the store's clock was set back meanwhile.
                now_ms = max(now_ms, parse_session(stored.snapshot.document).updated_at_ms + 1)
            generation = await self._generations.current(self._store.keys.partition_of(session_id))
            made = creation.create(request.spec, session_id, new_epoch(generation), now_ms)
            rendered = RenderedSession.render(made.state)
            steps = [build_version(made, request.cause, rendered)]
            reached = stored_after(stored, steps, made.state)
            record = b""
            if request.command_id is not None:
                record = IdempotencyRecord(request.fingerprint, *reached.snapshot.position).render()
            commit = commit_of(made.state, stored, steps, request.command_id, record)
            match await self._store.commit(commit):
                case Committed():
                    self._on_commit(self._store.keys.partition_of(session_id))
                    self._parsed.keep(session_id, reached.snapshot, rendered)
                    return Answer.of(reached, now_ms, parsed=made.state)
                case AlreadyDecided(record):
                    return await self._recall.decided(session_id, request, record, None, now_ms)
                case Conflict(now_ms, stored):
                    COMMIT_CONFLICTS.inc()
        raise StoreUnavailable("Too many others create this session at once; try again")

    async def _refuse(self, request: CreateRequest, session_id: str, stored: StoredSession, now_ms: int) -> Answer:
        """Raise SessionExists, and keep that for the key; what was decided for it meanwhile is the answer."""
        refusal = SessionExists(session_id)
        if request.command_id is not None:
            record = IdempotencyRecord.from_refusal(request.fingerprint, *stored.snapshot.position, refusal).render()
            commit = Commit(session_id, stored.snapshot, command_id=request.command_id, record=record)
            outcome = await self._store.commit(commit)
            if isinstance(outcome, AlreadyDecided):
                return await self._recall.decided(session_id, request, outcome.record, None, now_ms)
        raise refusal
