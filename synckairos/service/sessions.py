"""Sessions: load → apply → commit, again on conflict. Every door calls this and nothing below it.

From here on REST, sockets and deadlines are the same. It knows what to do when somebody else was first, or when the
session isn't in Redis any more.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from synckairos.clock import engine
from synckairos.clock.commands import Expire, Switch, with_actor
from synckairos.clock.engine import Decision
from synckairos.clock.model import Status
from synckairos.errors import SessionNotFound, StoreUnavailable, SyncKairosError
from synckairos.principal import TIMEKEEPER
from synckairos.service.commits import MAX_ATTEMPTS, build_versions, commit_of, stored_after
from synckairos.service.create import SessionCreator
from synckairos.service.expire import BY_TIME, BatchExpirer
from synckairos.service.past_versions import PastVersions
from synckairos.service.requests import Answer, CommandRequest, CreateRequest
from synckairos.service.restore import SessionRestorer
from synckairos.service.session_cache import SessionCache
from synckairos.store.commit_script import AlreadyDecided, Conflict, NewVersion
from synckairos.store.rate_limits import RateMeter
from synckairos.store.sessions import SessionStore
from synckairos.store.store_generation import Generations
from synckairos.store.stored_session import LoadedSession, StoredSession
from synckairos.telemetry.metrics import COMMAND_DURATION, COMMANDS, COMMIT_CONFLICTS
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.rendered_session import RenderedSession

T = TypeVar("T")


class Sessions:
    """All sessions, as every door sees them.

    Refusals are raised as `SyncKairosError`. StoreUnavailable decides nothing: the command may have happened; the same
    command id asked again tells. The store counts each request that has a meter.
    """

    def __init__(
        self,
        store: SessionStore,
        recall: PastVersions,
        restorer: SessionRestorer,
        generations: Generations,
        on_commit: Callable[[int], None],
    ) -> None:
        """Take what it stands on, and what to call with the partition after each commit (synchronous, never raises)."""
        self._store = store
        self._recall = recall
        self._restorer = restorer
        self._on_commit = on_commit
        self._parsed = SessionCache()
        self._creator = SessionCreator(store, recall, restorer, generations, self._parsed, on_commit)
        self._expirer = BatchExpirer(store, self._parsed, on_commit)
        self._running: set[asyncio.Task[Any]] = set()

    # -- asking -------------------------------------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """Return Redis TIME in ms since the Unix epoch."""
        return await self._store.now_ms()

    async def read(self, session_id: str, meter: RateMeter | None = None) -> Answer:
        """Return a session as it is now; commits what fell due first, so nobody sees a clock past its zero.

        One round trip, where nothing fell due. Raises SessionNotFound, RateLimitExceeded, StoreUnavailable.
        """
        loaded = await self._store.load(session_id, meter=meter, held=self._parsed.held(session_id))
        stored = loaded.stored or await self._restorer.bring_back(session_id)
        if stored is None or stored.snapshot.deleted:
            raise SessionNotFound(session_id)
        if stored.due_ms is not None and stored.due_ms <= loaded.now_ms:
            return await self.expire(session_id)
        return Answer.of(stored, loaded.now_ms)

    async def read_at(self, session_id: str, at_ms: int, meter: RateMeter | None = None) -> Answer:
        """Return a session as it was at an instant; an instant to come counts as now.

        Raises SessionNotFound before its creation and after its deletion.
        """
        with suppress(SessionNotFound):
            current = await self.read(session_id, meter)
            if current.session.updated_at_ms <= at_ms:
                return current
        return await self._recall.as_it_was(session_id, at_ms)

    # -- commanding ---------------------------------------------------------------------------------------------------

    async def execute(self, request: CommandRequest) -> Answer:
        """Carry a command out: exactly once for one command id, whatever becomes of the caller.

        Two round trips; one more for each lost race. A caller that goes away doesn't take the commit with it.
        """
        return await self._to_the_end(self.carry_out(request))

    async def create(self, request: CreateRequest) -> Answer:
        """Make a session. Raises SessionExists, besides what `execute` raises."""
        return await self._to_the_end(_counted("create", self._creator.create(request)))

    async def expire(self, session_id: str) -> Answer:
        """Commit what fell due, each link effective at its own deadline."""
        return await self.execute(CommandRequest(TIMEKEEPER, session_id, Expire(), "expire"))

    async def expire_all(self, due: Sequence[tuple[str, LoadedSession]]) -> list[bool]:
        """Commit overdue transitions of many sessions in one batch, see `BatchExpirer.expire`."""
        return await self._expirer.expire(due)

    async def drain(self) -> None:
        """Wait for commands under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        # A cancelled Redis command leaves its outcome unknown: whoever waits may go, the work goes on.
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def carry_out(self, request: CommandRequest, loaded: LoadedSession | None = None) -> Answer:
        """Do as `execute` does in the caller's own task: for a caller that nobody cancels, so it costs no second one.

        Cancelled all the same, it has committed everything or nothing. Who has the session `loaded` already, and sends
        no command id, saves a round trip.
        """
        return await _counted(request.verb, self._carry_out(request, loaded))

    async def _carry_out(self, request: CommandRequest, loaded: LoadedSession | None) -> Answer:
        if loaded is None:
            held = self._parsed.held(request.session_id)
            loaded = await self._store.load(request.session_id, request.command_id, request.meter, held)
        if loaded.record is not None:
            return await self._recall.decided(
                request.session_id, request, loaded.record, loaded.snapshot, loaded.now_ms
            )
        return await self._decide(request, loaded)

    async def _decide(self, request: CommandRequest, loaded: LoadedSession) -> Answer:
        """Apply and commit until nobody else was first."""
        stored, now_ms = loaded.stored, loaded.now_ms
        command = with_actor(request.command, request.principal.actor)
        for _ in range(MAX_ATTEMPTS):
            stored = stored or await self._restorer.bring_back(request.session_id)
            if stored is None or stored.snapshot.deleted:
                raise SessionNotFound(request.session_id)
            before = self._parsed.of(request.session_id, stored.snapshot.document)
            out_of_time_id = None
            if before.session.status is Status.EXPIRED and isinstance(command, Switch):
                out_of_time_id = await self._recall.out_of_time_id(before.session)
            decision = engine.apply(before.session, command, now_ms, request.precondition, out_of_time_id)
            steps, rendered = _steps(decision, request, stored.snapshot.tag, before)
            after = rendered.session
            reached = stored_after(stored, steps, after)
            record = b""
            if request.command_id is not None and not decision.has_more_overdue:
                record = _record(request.fingerprint, reached, decision.refusal, decision.expired_participant_id)
            if steps or record:
                command_id = request.command_id if record else None
                commit = commit_of(after, stored, steps, command_id, record, by_time=not decision.own)
                outcome = await self._store.commit(commit)
                if isinstance(outcome, AlreadyDecided):
                    return await self._recall.decided(request.session_id, request, outcome.record, None, now_ms)
                if isinstance(outcome, Conflict):
                    COMMIT_CONFLICTS.inc()
                    stored, now_ms = outcome.stored, outcome.now_ms
                    continue
                if steps:
                    self._on_commit(self._store.keys.partition_of(request.session_id))
                self._parsed.keep(request.session_id, reached.snapshot, rendered)
            if decision.has_more_overdue:
                stored = reached
                continue
            if decision.refusal is not None:
                decision.refusal.document = reached.snapshot.document
                raise decision.refusal
            return Answer.of(reached, now_ms, after, decision.expired_participant_id)
        raise StoreUnavailable("Too many others change this session at once; try again")


async def _counted(verb: str, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Do the work, and count what became of it and how long that took."""
    began_s = time.perf_counter()
    outcome = "failed"
    try:
        answer = await work
        outcome = "replayed" if answer.replayed else "applied"
    except SyncKairosError as refusal:
        if refusal.status < 500:
            outcome = "replayed" if refusal.replayed else "refused"
        raise
    finally:
        _counter(verb, outcome)()
        COMMAND_DURATION.observe(time.perf_counter() - began_s)
    return answer


@cache
def _counter(verb: str, outcome: str) -> Callable[[], None]:
    return COMMANDS.labels(verb, outcome).inc


def _steps(
    decision: Decision, request: CommandRequest, tag: str, before: RenderedSession
) -> tuple[list[NewVersion], RenderedSession]:
    """Return what to commit on the version `before`, tagged `tag`, and the last one rendered.

    Each has its cause: time's doing is the timekeeper's, whoever asked meanwhile.
    """
    causes = [
        *(BY_TIME for _ in decision.overdue),
        *(request.cause for _ in decision.own),
        *(BY_TIME for _ in decision.follow_up),
    ]
    if causes and request.command_id is not None and decision.refusal is None and not decision.has_more_overdue:
        # The last row of an accepted command carries its id, so that the answer survives Redis letting the session go.
        at = len(decision.overdue) + len(decision.own) - 1
        causes[at] = replace(
            causes[at],
            command_id=request.command_id,
            fingerprint=request.fingerprint,
            expired_participant_id=decision.expired_participant_id,
        )
    return build_versions(decision.transitions, causes, before, tag)


def _record(fingerprint: str, reached: StoredSession, refusal: SyncKairosError | None, expired: str | None) -> bytes:
    if refusal is not None:
        return IdempotencyRecord.from_refusal(fingerprint, *reached.snapshot.position, refusal).render()
    return IdempotencyRecord(fingerprint, *reached.snapshot.position, expired).render()
