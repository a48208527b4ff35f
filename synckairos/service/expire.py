"""Commits the overdue transitions of many sessions in one batch.

The transitions of each session are calculated separately. All are committed in one round trip. The reason is that
thousands of sessions can fall due in one second. A task and a round trip for each session were half of the cost of an
expiry.
"""

import time
from collections.abc import Callable, Sequence

from synckairos.clock import engine
from synckairos.clock.commands import Expire
from synckairos.principal import TIMEKEEPER
from synckairos.service.prepare_commit import PreparedCommit, build_versions, prepare
from synckairos.service.session_cache import SessionCache
from synckairos.store.commit_script import Committed
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import LoadedSession
from synckairos.telemetry import log
from synckairos.telemetry.metrics import COMMAND_DURATION, COMMANDS
from synckairos.wire.outbox_entry import Cause
from synckairos.wire.rendered_session import RenderedSession

CAUSED_BY_TIME = Cause(TIMEKEEPER.actor, "expire")
"""The cause of overdue transitions."""

logger = log.get_logger(__name__)


class BatchExpirer:
    """Expires sessions in batches, if nothing prevents it. `Sessions.expire` handles the others."""

    def __init__(self, store: SessionStore, cache: SessionCache, on_commit: Callable[[int], None]) -> None:
        self._store = store
        self._cache = cache
        self._on_commit = on_commit

    async def expire(self, due: Sequence[tuple[str, LoadedSession]]) -> list[bool]:
        """Commit the overdue transitions of loaded sessions; tell for each whether it is done. One round trip.

        Each commit is atomic by itself. A session that is not done must be expired alone. It does not exist, another
        commit came first, nothing was due, or it could not be decided. Or one decision cannot hold all its overdue
        transitions. Raises StoreUnavailable; some sessions may then be done.
        """
        began_s = time.perf_counter()
        decided: dict[str, tuple[PreparedCommit, RenderedSession]] = {}
        for session_id, loaded in due:
            try:
                expiry = self._decide(session_id, loaded)
            except Exception as error:  # noqa: BLE001 - must not affect the others; expired alone, the session logs it
                logger.debug("session not expired in the batch", session_id=session_id, cause=repr(error))
                continue
            if expiry is not None:
                decided[session_id] = expiry
        outcomes = await self._store.commit_all([prepared.commit for prepared, _ in decided.values()])
        took_s = time.perf_counter() - began_s
        done = {each for each, outcome in zip(decided, outcomes, strict=True) if isinstance(outcome, Committed)}
        for session_id in done:
            prepared, rendered = decided[session_id]
            if not rendered.session.status.is_final:
                self._cache.put(session_id, prepared.stored.snapshot, rendered)
            COMMAND_DURATION.observe(took_s)
        COMMANDS.labels("expire", "applied").inc(len(done))
        for partition in {self._store.keys.partition_of(session_id) for session_id in done}:
            self._on_commit(partition)
        return [session_id in done for session_id, _ in due]

    def _decide(self, session_id: str, loaded: LoadedSession) -> tuple[PreparedCommit, RenderedSession] | None:
        """Return the commit of a session's overdue transitions with the session after them, None if not possible."""
        stored = loaded.stored
        if stored is None or stored.snapshot.deleted:
            return None
        before = self._cache.parse(session_id, stored.snapshot.document)
        decision = engine.apply(before.session, Expire(), loaded.now_ms)
        if not decision.overdue or decision.has_more_overdue:
            return None
        causes = (CAUSED_BY_TIME for _ in decision.overdue)
        versions, rendered = build_versions(decision.overdue, causes, before, stored.snapshot.tag)
        return prepare(stored, versions, rendered.session, by_time=True), rendered
