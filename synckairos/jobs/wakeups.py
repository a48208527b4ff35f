"""Wake-ups for background jobs through arq."""

import asyncio

from redis.exceptions import RedisError

from synckairos.audit.drain_wakeups import WAKEUP_EXPIRES_S, make_arq_client, make_arq_queue_outage
from synckairos.jobs.table import DueJob
from synckairos.telemetry.outages import StoreOutage

RUN_JOB = "carry_out"
"""Name of the arq function that runs a job. Workers of other releases use the same name."""


class JobWakeups:
    """Sends wake-ups for jobs. The methods never raise, because a sweep finds all due jobs in the job table."""

    def __init__(
        self, queue_redis_url: str, key_prefix: str, timeout_s: float = 2.0, outage: StoreOutage | None = None
    ) -> None:
        self._queue = make_arq_client(queue_redis_url, key_prefix, timeout_s, "job")
        self._outage = outage or make_arq_queue_outage()
        self._sending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait at most one second for wake-ups whose callers were cancelled and that are still being sent.

        Then disconnect.
        """
        if self._sending:
            await asyncio.wait(self._sending, timeout=1.0)
        await self._queue.aclose(close_connection_pool=True)

    async def wake_worker(self, due: DueJob) -> None:
        """Send a wake-up for a job.

        One worker receives it. A second wake-up with the same `DueJob.arq_wakeup_id` has no effect.
        """
        task = asyncio.create_task(self._send(due))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        await asyncio.shield(task)  # a cancelled enqueue would leak its connection

    async def _send(self, due: DueJob) -> None:
        try:
            await self._queue.enqueue_job(RUN_JOB, due.job_id, _job_id=due.arq_wakeup_id, _expires=WAKEUP_EXPIRES_S)
        except (RedisError, OSError) as fault:
            self._outage.report_unreachable("job wake-ups", fault)
        else:
            self._outage.report_reachable("job wake-ups")
