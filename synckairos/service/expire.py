"""What time itself does, for many sessions at once: decided one by one, committed in one trip.

Thousands can fall due in one second, and a task and a trip for each were half of what an expiry cost.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

from synckairos.clock import engine
from synckairos.clock.commands import Expire
from synckairos.principal import TIMEKEEPER
from synckairos.service.commits import build_versions, commit_of
from synckairos.service.session_cache import SessionCache
from synckairos.store.commit_script import Commit, Committed
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import LoadedSession
from synckairos.telemetry.metrics import COMMAND_DURATION, COMMANDS
from synckairos.wire.outbox_entry import Cause
from synckairos.wire.rendered_session import RenderedSession

BY_TIME = Cause(TIMEKEEPER.actor, "expire")


class BatchExpirer:
    """Brings about what fell due where nothing is in the way; the rest is the service's."""

    def __init__(self, store: SessionStore, parsed: SessionCache, on_commit: Callable[[int], None]) -> None:
        self._store = store
        self._parsed = parsed
        self._on_commit = on_commit

    async def expire(self, due: Sequence[tuple[str, LoadedSession]]) -> list[bool]:
        """Commit what fell due in sessions that are loaded already; tell which of them are done. One round trip.

        Each commit is by itself. Who isn't done is to be asked alone: it isn't there, somebody else was first, nothing
        was due after all, or more than one decision carries. Raises StoreUnavailable: some may be done.
        """
        began_s = time.perf_counter()
        made: dict[str, tuple[Commit, RenderedSession]] = {}
        for session_id, loaded in due:
            with contextlib.suppress(Exception):  # a broken session is no other's trouble; asked alone, it tells
                if (expiry := self._decide(session_id, loaded)) is not None:
                    made[session_id] = expiry
        outcomes = await self._store.commit_all([commit for commit, _ in made.values()])
        took_s = time.perf_counter() - began_s
        done = {each for each, outcome in zip(made, outcomes, strict=True) if isinstance(outcome, Committed)}
        for session_id in done:
            commit, rendered = made[session_id]
            after = rendered.session
            if not after.status.is_final:
                self._parsed.keep(session_id, commit.versions[-1].message.snapshot, rendered)
            COMMAND_DURATION.observe(took_s)
        COMMANDS.labels("expire", "applied").inc(len(done))
        for partition in {self._store.keys.partition_of(session_id) for session_id in done}:
            self._on_commit(partition)
        return [session_id in done for session_id, _ in due]

    def _decide(self, session_id: str, loaded: LoadedSession) -> tuple[Commit, RenderedSession] | None:
        """Return what to commit of what fell due, and what that leads to."""
        stored = loaded.stored
        if stored is None or stored.snapshot.deleted:
            return None
        before = self._parsed.of(session_id, stored.snapshot.document)
        decision = engine.apply(before.session, Expire(), loaded.now_ms)
        if not decision.overdue or decision.has_more_overdue:
            return None
        steps, rendered = build_versions(
            decision.overdue, (BY_TIME for _ in decision.overdue), before, stored.snapshot.tag
        )
        return commit_of(rendered.session, stored, steps, by_time=True), rendered
