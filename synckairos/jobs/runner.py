"""Carries jobs out, one attempt each time it is told to, and sees to those that nobody tells it of.

A job's failure is its own: it is noted, tried again later, and touches no other job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from synckairos.backoff import RetrySchedule
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.jobs.table import DueJob, JobClaim, JobTable
from synckairos.telemetry import alerts, log

RETRY_S = (5.0, 25.0)
"""Seconds before the second and the third attempt."""

LEASE_S = 30.0
"""Seconds without a sign of life after which a worker counts as dead."""

_KICKS_AT_ONCE = 100

logger = log.get_logger(__name__)

RunAttempt = Callable[[JobClaim], Awaitable[Mapping[str, Any]]]


class PermanentJobFailure(SyncKairosError):
    """A job that can't be carried out, however often it is tried: its params, or what they name, aren't fit for it."""

    code = "JOB_REFUSED"


class JobRunner:
    """One worker's way with jobs. `carry_out` does the work and returns its result as JSON values."""

    def __init__(
        self,
        job_table: JobTable,
        carry_out: RunAttempt,
        worker: str,
        *,
        retry_s: Sequence[float] = RETRY_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self._board = job_table
        self._carry_out = carry_out
        self._worker = worker
        self._retries = RetrySchedule(retry_s)
        self._lease_s = lease_s

    async def run_job(self, job_id: int) -> None:
        """Carry a job out, unless somebody else does. Raises nothing but what cancelling does; then it is put back."""
        try:
            claim = await self._board.claim(job_id, self._worker, self._lease_s)
            if claim is not None:
                await self._attempt(claim)
        except StoreUnavailable as fault:
            # Where it was begun, its lease runs out and somebody takes it up again.
            logger.warning("job interrupted", job_id=job_id, error=fault.message)

    async def sweep(self, kick: Callable[[DueJob], Awaitable[None]]) -> None:
        """Take up what dead workers left, and have everything kicked that is due."""
        for each in await self._board.reclaim_abandoned():
            logger.warning("job left by its worker", job_id=each.job_id, type=each.type, attempts=each.attempts)
            if each.status == "failed":
                _alarm(each.job_id, each.type, each.error)
        for due in await self._board.due_jobs(_KICKS_AT_ONCE):
            await kick(due)

    async def _attempt(self, claim: JobClaim) -> None:
        known = {"job_id": claim.job_id, "type": claim.type, "attempt": claim.attempts}
        logger.info("job begun", **known)
        work = asyncio.ensure_future(self._carry_out(claim))
        try:
            if not await self._keep_alive(claim, work):
                logger.warning("job is somebody else's now", **known)
                return
            result = work.result()
        except asyncio.CancelledError:
            await _end(work)
            with suppress(StoreUnavailable):
                await asyncio.shield(self._board.release(claim))
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is this job's alone
            await self._failed(claim, fault)
            return
        await self._board.complete(claim, result)
        logger.info("job done", **known, result=dict(result))

    async def _keep_alive(self, claim: JobClaim, work: "asyncio.Future[Mapping[str, Any]]") -> bool:
        """Renew the lease until the work ends; False where it was lost, and the work given up."""
        while True:
            done, _ = await asyncio.wait([work], timeout=self._lease_s / 3)
            if done:
                return True
            try:
                is_ours = await self._board.renew_lease(claim, self._lease_s)
            except StoreUnavailable:
                continue  # the work will notice too
            if not is_ours:
                await _end(work)
                return False

    async def _failed(self, claim: JobClaim, fault: Exception) -> None:
        error = fault.message if isinstance(fault, SyncKairosError) else f"{type(fault).__name__}: {fault}"
        again_s = self._retries.delay_s(claim.attempts - 1) or 0.0
        status = await self._board.fail(claim, error, again_s, for_good=isinstance(fault, PermanentJobFailure))
        if status == "failed":
            _alarm(claim.job_id, claim.type, error)
        else:
            known = {"job_id": claim.job_id, "type": claim.type, "attempt": claim.attempts}
            logger.warning("job attempt failed", **known, error=error)


def _alarm(job_id: int, type_: str, error: str) -> None:
    alerts.raise_alert("job failed", job_id=job_id, type=type_, error=error)


async def _end(work: "asyncio.Future[Any]") -> None:
    work.cancel()
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
