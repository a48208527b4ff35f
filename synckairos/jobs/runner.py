"""Runner of background jobs: one attempt for each wake-up, and a sweep for due jobs and jobs of dead workers.

A failed attempt affects only its job. Its error is saved, and the job is retried later.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from synckairos.backoff import RetrySchedule
from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.jobs.metrics import JOB_DURATION
from synckairos.jobs.table import ClaimedJob, DueJob, JobTable
from synckairos.telemetry import alert_sender, log

RETRY_DELAYS_S = (5.0, 25.0)
"""Seconds before the second attempt and before the third attempt at a job."""

LEASE_S = 30.0
"""Seconds of a lease. If a worker does not renew the lease in this time, the worker counts as dead."""

_WAKEUPS_PER_SWEEP = 100

logger = log.get_logger(__name__)

JobHandler = Callable[[ClaimedJob], Awaitable[Mapping[str, Any]]]
"""Function that runs one attempt at a job and returns the job's result as JSON values."""


class PermanentJobFailure(SyncKairosError):
    """A retry cannot complete this job, because its parameters, its session or its source are invalid.

    `report` becomes the result of the job, None if there is none. It has JSON values.
    """

    code = "JOB_REFUSED"

    def __init__(self, message: str, report: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.report = report


class JobRunner:
    """Runs the attempts of one worker at jobs.

    `handler` does the work of a job. `worker` is the name of the worker in the job table.
    """

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
        """Claim a job, and run one attempt at it. Do nothing if the job is not due or another worker runs it.

        Return when the attempt has ended. Errors of the job are saved in the job table, and not raised. If this call is
        cancelled, the job is released for other workers.
        """
        try:
            claim = await self._job_table.claim_if_due(job_id, self._worker, self._lease_s)
            if claim is not None:
                await self._attempt(claim)
        except StoreUnavailable as fault:
            # If the attempt has begun, its lease expires and another worker runs the job.
            logger.warning("job interrupted", job_id=job_id, error=fault.message)

    async def reclaim_and_wake_due(self, wake_up: Callable[[DueJob], Awaitable[None]]) -> None:
        """Queue the jobs of dead workers again, and call `wake_up` for each due job, the longest overdue first.

        A job of a dead worker fails instead, with an alert, if this was its last allowed attempt.
        """
        for each in await self._job_table.end_abandoned_attempts():
            logger.warning("job abandoned by its worker", job_id=each.job_id, type=each.type, attempts=each.attempts)
            if each.status == "failed":
                _raise_alert(each.job_id, each.type, each.error)
        for due in await self._job_table.due_jobs(_WAKEUPS_PER_SWEEP):
            await wake_up(due)

    async def _attempt(self, claim: ClaimedJob) -> None:
        fields = {"job_id": claim.job_id, "type": claim.type, "attempt": claim.attempts}
        logger.info("job started", **fields)
        began_s, outcome = time.monotonic(), "interrupted"
        work = asyncio.ensure_future(self._handler(claim))
        try:
            if not await self._renew_until_done(claim, work):
                logger.warning("job was taken over by another worker", **fields)
                return
            result = work.result()
            outcome = "done"
        except asyncio.CancelledError:
            await _cancel(work)
            with suppress(StoreUnavailable):
                await asyncio.shield(self._job_table.release(claim))
            raise
        except Exception as fault:  # noqa: BLE001 - every error concerns this job only
            outcome = "failed"
            await self._record_failure(claim, fault)
            return
        finally:
            JOB_DURATION.labels(claim.type, outcome).observe(time.monotonic() - began_s)
        await self._job_table.complete(claim, result)
        logger.info("job done", **fields, result=dict(result))

    async def _renew_until_done(self, claim: ClaimedJob, work: "asyncio.Future[Mapping[str, Any]]") -> bool:
        """Renew the lease until `work` ends, and return True.

        If another worker took the job, cancel `work` and return False.
        """
        while True:
            done, _ = await asyncio.wait([work], timeout=self._lease_s / 3)
            if done:
                return True
            try:
                is_renewed = await self._job_table.renew_lease(claim, self._lease_s)
            except StoreUnavailable:
                continue  # `work` also needs Postgres and will fail
            if not is_renewed:
                await _cancel(work)
                return False

    async def _record_failure(self, claim: ClaimedJob, fault: Exception) -> None:
        error = fault.message if isinstance(fault, SyncKairosError) else f"{type(fault).__name__}: {fault}"
        retry_in_s = self._retries.delay_s(claim.attempts - 1) or 0.0
        for_good = isinstance(fault, PermanentJobFailure)
        report = fault.report if isinstance(fault, PermanentJobFailure) else None
        status = await self._job_table.save_failed_attempt(claim, error, retry_in_s, for_good=for_good, result=report)
        if status == "failed":
            _raise_alert(claim.job_id, claim.type, error)
        else:
            fields = {"job_id": claim.job_id, "type": claim.type, "attempt": claim.attempts}
            logger.warning("job attempt failed", **fields, error=error)


def _raise_alert(job_id: int, type_: str, error: str) -> None:
    alert_sender.raise_alert("job failed", job_id=job_id, type=type_, error=error)


async def _cancel(work: "asyncio.Future[Any]") -> None:
    work.cancel()
    await asyncio.wait([work])
    if not work.cancelled():
        work.exception()
