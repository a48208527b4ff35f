"""The timekeeper: commits overdue transitions on time, even if no client is connected.

The timekeeper sleeps until the next deadline. It wakes up earlier if an instance stores an earlier deadline. It claims
due sessions with leases, and commits their overdue transitions through the service in batches. The version check of the
commit, not the claim, ensures that each expiry happens once.
"""

import asyncio
import contextlib
import time
from functools import partial

from synckairos.clock.commands import Expire
from synckairos.errors import InvalidStoredData, SessionNotFound, StoreUnavailable
from synckairos.principal import timekeeper_of
from synckairos.service.requests import CommandRequest
from synckairos.service.sessions import Sessions
from synckairos.session_names import split_session_name
from synckairos.store.clock_step_detector import ClockStepDetector
from synckairos.store.deadlines import Deadlines, DueClaims
from synckairos.store.stored_session import SessionLoadResult
from synckairos.telemetry import log
from synckairos.telemetry.guarded_loop import keep_running
from synckairos.telemetry.invalid_data import report_invalid_data
from synckairos.telemetry.metrics import CLOCK_STEPS, TIMEKEEPER_LATENESS

LEASE_MS = 500
"""Milliseconds after which another instance can claim sessions that an instance claimed before it died."""

BATCH_SIZE = 64
"""Number of sessions that are claimed and committed together.

A batch takes a few ms of this process, so that requests do not wait longer.
"""

MAX_BATCHES = 4
"""Maximum number of concurrent batches of one partition. This process decides one batch while Redis commits another."""

BROKEN_LEASE_MS = 30_000
"""Milliseconds before a session that could not be expired is claimed again.

The session can be repaired in the meantime.
"""

MAX_SLEEP_S = 1.0
"""Seconds: maximum time between two checks of the deadlines. A wake-up can be lost."""

logger = log.get_logger(__name__)


class Timekeeper:
    """Commits overdue transitions as long as `run` runs."""

    def __init__(self, sessions: Sessions, deadlines: Deadlines, partitions: int) -> None:
        self._sessions = sessions
        self._deadlines = deadlines
        self._partitions = partitions
        self._wake_up = asyncio.Event()
        self._clock_steps = ClockStepDetector()

    async def run(self) -> None:
        """Commit overdue transitions until cancelled. If Redis does not answer, try again after `MAX_SLEEP_S`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running("wake-ups", self._listen))
            for partition in range(self._partitions):
                tasks.create_task(keep_running("timekeeper", partial(self._keep_time, partition, tasks)))

    async def _listen(self) -> None:
        """Wake up the loops of all partitions when an earlier deadline is stored."""
        while True:
            with contextlib.suppress(StoreUnavailable, OSError):
                async for _ in self._deadlines.listen_for_earlier_deadlines():
                    self._wake_up.set()
                    self._wake_up = asyncio.Event()
            await asyncio.sleep(MAX_SLEEP_S)

    async def _keep_time(self, partition: int, tasks: asyncio.TaskGroup) -> None:
        free_batches = asyncio.Semaphore(MAX_BATCHES)
        while True:
            wake_up = self._wake_up  # read before the claim, so that a deadline stored after the claim is not missed
            await (
                free_batches.acquire()
            )  # before the claim, so that claimed sessions do not wait here while their lease runs
            try:
                claim = await self._deadlines.claim_due(partition, BATCH_SIZE, LEASE_MS)
            except StoreUnavailable:
                free_batches.release()
                await asyncio.sleep(MAX_SLEEP_S)
                continue
            tasks.create_task(self._expire_all(claim)).add_done_callback(lambda _: free_batches.release())
            self._report_clock_step(claim)
            if len(claim.due) < BATCH_SIZE:
                await self._sleep(claim, wake_up)

    async def _expire_all(self, claim: DueClaims) -> None:
        """Commit all claimed sessions in one batch.

        Then commit individually each session that the batch did not commit.
        """
        await asyncio.sleep(0)  # lets the next claim be sent first, so that Redis answers it while this process decides
        for session_name in claim.invalid:
            await self._postpone(session_name, claim.now_ms)
        try:
            done = await self._sessions.commit_overdue_batch(
                [(session_name, loaded) for session_name, _, loaded in claim.due]
            )
        except InvalidStoredData:
            done = [False] * len(claim.due)
        except StoreUnavailable:
            return
        except Exception as error:  # noqa: BLE001 - one session can fail the batch; its individual commit logs the error
            logger.debug("batch of expiries failed", cause=repr(error))
            done = [False] * len(claim.due)
        for (_, due_ms, _), is_done in zip(claim.due, done, strict=True):
            if is_done:
                _observe_lateness(claim, due_ms)
        left = (claimed for claimed, is_done in zip(claim.due, done, strict=True) if not is_done)
        await asyncio.gather(*(self._expire(claim, *claimed) for claimed in left))

    def _report_clock_step(self, claim: DueClaims) -> None:
        """Log and count a step of the Redis clock. The new time is used, but the operator must be notified."""
        step_ms = self._clock_steps.detect_step(claim.sent_at_s, claim.received_at_s, claim.now_ms)
        if step_ms:
            direction = "forward" if step_ms > 0 else "back"
            CLOCK_STEPS.labels(direction).inc()
            logger.warning("the store's clock was stepped", direction=direction, step_ms=step_ms)

    async def _sleep(self, claim: DueClaims, wake_up: asyncio.Event) -> None:
        """Sleep until the next deadline in Redis, or until an earlier deadline is stored, but at most `MAX_SLEEP_S`."""
        wait_s = MAX_SLEEP_S
        if claim.next_due_ms is not None:
            elapsed_s = time.monotonic() - claim.sent_at_s
            wait_s = min(wait_s, (claim.next_due_ms - claim.now_ms) / 1000 - elapsed_s)
        if wait_s <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await wake_up.wait()

    async def _expire(self, claim: DueClaims, session_name: str, due_ms: int, loaded: SessionLoadResult) -> None:
        """Commit the overdue transitions of one session. No error of the commit is raised.

        If Redis does not answer, any instance claims the session again when the lease ends.
        """
        try:
            tenant, session_id = split_session_name(session_name)
            request = CommandRequest(timekeeper_of(tenant), session_id, Expire(), "expire")
            answer = await self._sessions.execute(request, loaded)
            _observe_lateness(claim, due_ms)
            if answer.parsed is None or answer.session.updated_at_ms < due_ms:
                # No transition was due. So set the deadline of the session to the deadline in its hash.
                if loaded.stored is not None and loaded.stored.due_ms == due_ms:
                    report_invalid_data(f":deadlines:{session_name}", "the session's deadline is not that of its state")
                    await self._postpone(session_name, loaded.now_ms)
                else:
                    await self._deadlines.update_from_state(session_name)
        except SessionNotFound:
            with contextlib.suppress(StoreUnavailable):
                await self._deadlines.update_from_state(session_name)
        except InvalidStoredData:
            await self._postpone(session_name, loaded.now_ms)
        except StoreUnavailable:
            pass
        except Exception:  # one session with a fault must not stop the clocks of other sessions
            logger.exception("a deadline could not be kept", session_id=session_name)
            await self._postpone(session_name, loaded.now_ms)

    async def _postpone(self, session_name: str, claimed_at_ms: int) -> None:
        """Extend the lease on a claimed session, because the next attempt would also fail.

        `claimed_at_ms` is the time of Redis at the claim, in ms since the Unix epoch.
        """
        with contextlib.suppress(StoreUnavailable):
            await self._deadlines.extend_lease(session_name, claimed_at_ms + LEASE_MS, claimed_at_ms + BROKEN_LEASE_MS)


def _observe_lateness(claim: DueClaims, due_ms: int) -> None:
    """Record the time from the deadline `due_ms` until now, when the transition of a claimed session is committed."""
    claimed_late_s = (claim.now_ms - due_ms) / 1000
    TIMEKEEPER_LATENESS.observe(max(0.0, claimed_late_s + time.monotonic() - claim.received_at_s))
