"""The timekeeper: what falls due happens, on time, with nobody connected. A third door beside HTTP and sockets.

It sleeps until the next deadline, is woken when an earlier one is written, claims what is due by a lease and sends an
ordinary `Expire` through the service. The version check, not the claim, makes each expiry happen once.
"""

import asyncio
import contextlib
import time

from synckairos.clock.commands import Expire
from synckairos.errors import SessionNotFound, StoreUnavailable
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest
from synckairos.service.sessions import Sessions
from synckairos.store.clock_step_detector import ClockStepDetector
from synckairos.store.deadlines import Deadlines, DueClaims
from synckairos.store.stored_session import LoadedSession
from synckairos.telemetry import log
from synckairos.telemetry.metrics import CLOCK_STEPS, TIMEKEEPER_LATENESS

LEASE_MS = 500
"""After a claimer dies, its sessions are looked at again this much later."""

AT_ONCE = 64
"""Sessions claimed and committed together: a few ms of this process' time, so that requests needn't wait for more."""

BATCHES = 4
"""Batches of one partition under way: while the store works on one, this process decides another."""

LONGEST_SLEEP_S = 1.0
"""Even without a wake-up (a lost message, a store that came back) the deadlines are looked at this often."""

logger = log.get_logger(__name__)


class Timekeeper:
    """Brings about what fell due, for as long as `run` runs."""

    def __init__(self, sessions: Sessions, deadlines: Deadlines, partitions: int) -> None:
        self._sessions = sessions
        self._deadlines = deadlines
        self._partitions = partitions
        self._wake = asyncio.Event()
        self._steps = ClockStepDetector()

    async def run(self) -> None:
        """Keep time until cancelled; a store that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            for partition in range(self._partitions):
                tasks.create_task(self._keep(partition, tasks))

    async def _listen(self) -> None:
        """Wake the sleepers when an earlier deadline was written."""
        while True:
            with contextlib.suppress(StoreUnavailable, OSError):
                async for _ in self._deadlines.wake_ups():
                    self._wake.set()
                    self._wake = asyncio.Event()
            await asyncio.sleep(LONGEST_SLEEP_S)

    async def _keep(self, partition: int, tasks: asyncio.TaskGroup) -> None:
        room = asyncio.Semaphore(BATCHES)
        while True:
            wake = self._wake  # taken before the look: what is written after it isn't missed
            await room.acquire()  # before the claim, so that no lease runs while its sessions wait here
            try:
                claim = await self._deadlines.claim(partition, AT_ONCE, LEASE_MS)
            except StoreUnavailable:
                room.release()
                await asyncio.sleep(LONGEST_SLEEP_S)
                continue
            tasks.create_task(self._expire_all(claim)).add_done_callback(lambda _: room.release())
            self._look_for_step(claim)
            if len(claim.due) < AT_ONCE:
                await self._sleep(claim, wake)

    async def _expire_all(self, claim: DueClaims) -> None:
        """Commit what was claimed, all together; whom that leaves over, one by one."""
        await asyncio.sleep(0)  # the next claim goes out first: the store answers it while this process decides
        try:
            done = await self._sessions.expire_all([(session_id, loaded) for session_id, _, loaded in claim.due])
        except StoreUnavailable:
            return
        except Exception:  # noqa: BLE001 the store refuses one; asked one by one that one tells, and no other suffers
            done = [False] * len(claim.due)
        for (_, due_ms, _), is_done in zip(claim.due, done, strict=True):
            if is_done:
                TIMEKEEPER_LATENESS.observe(max(0, claim.now_ms - due_ms) / 1000)
        left = (claimed for claimed, is_done in zip(claim.due, done, strict=True) if not is_done)
        await asyncio.gather(*(self._expire(*claimed) for claimed in left))

    def _look_for_step(self, claim: DueClaims) -> None:
        """Tell where the store's clock was set: what it says goes, but somebody should know."""
        step_ms = self._steps.observe(claim.sent_at_s, claim.received_at_s, claim.now_ms)
        if step_ms:
            direction = "forward" if step_ms > 0 else "back"
            CLOCK_STEPS.labels(direction).inc()
            logger.warning("the store's clock was stepped", direction=direction, step_ms=step_ms)

    async def _sleep(self, claim: DueClaims, wake: asyncio.Event) -> None:
        """Sleep until the next deadline that is known, or until an earlier one is written."""
        wait_s = LONGEST_SLEEP_S
        if claim.next_due_ms is not None:
            elapsed_s = time.monotonic() - claim.sent_at_s
            wait_s = min(wait_s, (claim.next_due_ms - claim.now_ms) / 1000 - elapsed_s)
        if wait_s <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await wake.wait()

    async def _expire(self, session_id: str, due_ms: int, loaded: LoadedSession) -> None:
        """Commit what fell due in one session; whatever becomes of it, the lease brings it back."""
        try:
            answer = await self._sessions.carry_out(CommandRequest(TIMEKEEPER, session_id, Expire(), "expire"), loaded)
            TIMEKEEPER_LATENESS.observe(max(0, answer.now_ms - due_ms) / 1000)
            if answer.parsed is None or answer.session.updated_at_ms < due_ms:
                # Nothing was due after all: put the deadline back to what the state says.
                await self._deadlines.realign(session_id)
        except SessionNotFound:
            with contextlib.suppress(StoreUnavailable):
                await self._deadlines.realign(session_id)
        except StoreUnavailable:
            pass
        except Exception:  # one broken session must not stop the clock for all others
            logger.exception("a deadline could not be kept", session_id=session_id)
