"""Runs background jobs: one attempt per wake-up, and a sweep for due jobs and for the jobs of dead workers.

A failed attempt affects only its own job: the error is saved, and the job is retried later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from synckairos.backoff import RetrySchedule
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.jobs.table import DueJob, JobClaim, JobTable
from synckairos.telemetry import alerts, log

RETRY_DELAYS_S = (5.0, 25.0)
"""Seconds before the second and the third attempt."""

LEASE_S = 30.0
"""Seconds after the last renewal of a lease until its worker counts as dead."""

_WAKEUPS_PER_SWEEP = 100

logger = log.get_logger(__name__)

JobHandler = Callable[[JobClaim], Awaitable[Mapping[str, Any]]]
"""Runs one attempt and returns its result as JSON values."""


class PermanentJobFailure(SyncKairosError):
    """A job that no retry can complete, because of its parameters or of the session that they name."""

    code = "JOB_REFUSED"


class JobRunner:
    """Runs attempts of one worker. `handler` does the work of a job."""

    def __init__(
        self,
        job_table: JobTable,
        handler: JobHandler,
        worker: str,
        *,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self._job_table = job_table
        self._handler = handler
        self._worker = worker
        self._retries = RetrySchedule(retry_delays_s)
        self._lease_s = lease_s

    async def run_job(self, job_id: int) -> None:
        """Run one attempt at a job, unless another worker runs it. Raises only CancelledError, and then releases it."""
        try:
            claim = await self._job_table.claim(job_id, self._worker, self._lease_s)
            if claim is not None:
                await self._attempt(claim)
        except StoreUnavailable as fault:
            # If the attempt began, its lease expires and another worker runs the job.
            logger.warning("job interrupted", job_id=job_id, error=fault.message)

    async def sweep(self, wake_up: Callable[[DueJob], Awaitable[None]]) -> None:
        """Reclaim the jobs of dead workers, and call `wake_up` for the jobs that are due."""
        for each in await self._job_table.reclaim_abandoned():
            logger.warning("job left by its worker", job_id=each.job_id, type=each.type, attempts=each.attempts)
            if each.status == "failed":
                _raise_alert(each.job_id, each.type, each.error)
        for due in await self._job_table.due_jobs(_WAKEUPS_PER_SWEEP):
            await wake_up(due)

    async def _attempt(self, claim: JobClaim) -> None:
        fields = {"job_id": claim.job_id, "type": claim.type, "attempt": claim.attempts}
        logger.info("job started", **fields)
        work = asyncio.ensure_future(self._handler(claim))
        try:
            if not await self._renew_until_done(claim, work):
                logger.warning("job was taken over by another worker", **fields)
                return
            result = work.result()
        except asyncio.CancelledError:
            await _cancel(work)
            with suppress(StoreUnavailable):
                await asyncio.shield(self._job_table.release(claim))
            raise
        except Exception as fault:  # noqa: BLE001 - every error concerns this job only
            await self._record_failure(claim, fault)
            return
        await self._job_table.complete(claim, result)
        logger.info("job done", **fields, result=dict(result))

    async def _renew_until_done(self, claim: JobClaim, work: "asyncio.Future[Mapping[str, Any]]") -> bool:
        """Renew the lease until the work ends; cancel the work and return False if the claim was lost."""
        while True:
            done, _ = await asyncio.wait([work], timeout=self._lease_s / 3)
            if done:
                return True
            try:
                is_renewed = await self._job_table.renew_lease(claim, self._lease_s)
            except StoreUnavailable:
                continue  # the work will fail too
            if not is_renewed:
                await _cancel(work)
                return False

    async def _record_failure(self, claim: JobClaim, fault: Exception) -> None:
        error = fault.message if isinstance(fault, SyncKairosError) else f"{type(fault).__name__}: {fault}"
        retry_in_s = self._retries.delay_s(claim.attempts - 1) or 0.0
        for_good = isinstance(fault, PermanentJobFailure)
        status = await self._job_table.fail(claim, error, retry_in_s, for_good=for_good)
        if status == "failed":
            _raise_alert(claim.job_id, claim.type, error)
        else:
            fields = {"job_id": claim.job_id, "type": claim.type, "attempt": claim.attempts}
            logger.warning("job attempt failed", **fields, error=error)


def _raise_alert(job_id: int, type_: str, error: str) -> None:
    alerts.raise_alert("job failed", job_id=job_id, type=type_, error=error)


async def _cancel(work: "asyncio.Future[Any]") -> None:
    work.cancel()
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
