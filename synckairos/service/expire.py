"""Commit of the overdue transitions of many sessions in one batch.

The transitions of each session are calculated separately. The commits of all sessions are sent in one round trip to
Redis. The reason is that thousands of sessions can fall due in one second. Before batches, one task and one round trip
for each session were half of the cost of an expiry.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from synckairos.clock import engine
from synckairos.clock.commands import Expire
from synckairos.principal import TIMEKEEPER
from synckairos.service.prepare_commit import PreparedCommit, build_versions, prepare_commit, traced_version
from synckairos.service.session_cache import SessionCache
from synckairos.store.commit_script import Committed
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import SessionLoadResult
from synckairos.telemetry import log, tracing
from synckairos.telemetry.metrics import COMMAND_DURATION, COMMANDS
from synckairos.wire.outbox_entry import COMMAND_OF_TIME, CommitCause
from synckairos.wire.rendered_session import RenderedSession

CAUSED_BY_TIME = CommitCause(TIMEKEEPER.actor, COMMAND_OF_TIME)
"""The cause of overdue transitions in the audit."""

logger = log.get_logger(__name__)


class OverdueBatchCommitter:
    """Commits the overdue transitions of many sessions in one batch. The timekeeper uses it through `Sessions`.

    For each session that a batch does not commit, the caller needs `Sessions.commit_overdue`.
    """

    def __init__(self, store: SessionStore, cache: SessionCache, on_commit: Callable[[int], None]) -> None:
        self._store = store
        self._cache = cache
        self._on_commit = on_commit

    async def commit_overdue(self, due: Sequence[tuple[str, SessionLoadResult]]) -> list[bool]:
        """Commit the overdue transitions of loaded sessions in one round trip.

        `due` has the name of each session in its tenant. The results are in the order of `due`: True if this call
        committed the transitions of the session. Each session's commit is atomic by itself. If the result is False,
        this call committed nothing for the session, and the caller must call `Sessions.commit_overdue` for the session.
        The possible reasons are: the session does not exist, another commit came first, no transition was overdue, the
        calculation of the transitions raised an error, or one commit cannot contain all overdue transitions of the
        session.

        Raises: the errors of `SessionStore.commit_all`. Some of the sessions were possibly committed then, so
        `on_commit` was called for the partitions of all sessions that this call tried to commit.
        """
        began_s, began_ns = time.perf_counter(), time.time_ns()
        decided: dict[str, tuple[PreparedCommit, RenderedSession]] = {}
        for session_name, loaded in due:
            try:
                expiry = self._decide(session_name, loaded)
            except Exception as error:  # noqa: BLE001 - other sessions continue; `Sessions.commit_overdue` logs the error
                logger.debug("session not expired in the batch", session_id=session_name, cause=repr(error))
                continue
            if expiry is not None:
                decided[session_name] = expiry
        try:
            outcomes = await self._store.commit_all([prepared.commit for prepared, _ in decided.values()])
        except Exception:
            self._notify(decided)
            raise
        took_s = time.perf_counter() - began_s
        done = {each for each, outcome in zip(decided, outcomes, strict=True) if isinstance(outcome, Committed)}
        duration = COMMAND_DURATION.with_labels("expire")
        for session_name in done:
            prepared, rendered = decided[session_name]
            if not rendered.session.status.is_final:
                self._cache.put(session_name, prepared.stored.snapshot, rendered)
            duration.observe(took_s)
        COMMANDS.labels("expire", "applied").inc(len(done))
        if (recorder := tracing.active) is not None and done:
            versions = [traced_version(name, decided[name][0].stored.snapshot) for name in done]
            recorder.record_command(tracing.RunningCommand("expire", began_ns, versions), "applied")
        self._notify(done)
        return [session_name in done for session_name, _ in due]

    def _notify(self, session_names: Iterable[str]) -> None:
        """Call `on_commit` for each partition of these sessions."""
        for partition in {self._store.keys.partition_of(each) for each in session_names}:
            self._on_commit(partition)

    def _decide(self, session_name: str, loaded: SessionLoadResult) -> tuple[PreparedCommit, RenderedSession] | None:
        """Return the commit of a session's overdue transitions, and the session after these transitions.

        None if the caller must call `Sessions.commit_overdue` for the session instead, for example because Redis has
        lost versions of the session.
        """
        stored = loaded.stored
        if stored is None or stored.snapshot.deleted:
            return None
        known = self._store.known.find(session_name)
        if known is not None and known.is_missing_in(stored.snapshot):
            return None
        before = self._cache.parse_stored(session_name, stored.snapshot, self._store.keys.session(session_name))
        decision = engine.apply(before.session, Expire(), loaded.now_ms)
        if not decision.overdue or decision.has_more_overdue:
            return None
        causes = (CAUSED_BY_TIME for _ in decision.overdue)
        versions, rendered = build_versions(decision.overdue, causes, before, stored.snapshot.tag)
        return prepare_commit(session_name, stored, versions, rendered.session, by_time=True), rendered
