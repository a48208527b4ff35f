"""Wake-ups for background jobs over arq: "run this job now"."""

import asyncio

from redis.exceptions import RedisError

from synckairos.audit.arq_wakeups import WAKEUP_EXPIRES_S, open_arq_queue
from synckairos.jobs.table import DueJob
from synckairos.telemetry import log

RUN_JOB = "carry_out"

logger = log.get_logger(__name__)


class JobWakeups:
    """Tells workers of background jobs. Never raises: the table has them, and a sweep finds them there."""

    def __init__(self, queue_redis_url: str, key_prefix: str, timeout_s: float = 2.0) -> None:
        self._queue = open_arq_queue(queue_redis_url, key_prefix, timeout_s, "job")

    async def close(self) -> None:
        await self._queue.aclose(close_connection_pool=True)

    async def wake_up(self, due: DueJob) -> None:
        """Have a job carried out soon, by whichever worker is free; told twice, once."""
        try:
            # A cancelled enqueue would leak its connection.
            await asyncio.shield(
                self._queue.enqueue_job(RUN_JOB, due.job_id, _job_id=due.name, _expires=WAKEUP_EXPIRES_S)
            )
        except (RedisError, OSError) as fault:
            logger.warning("job kick not sent", job_id=due.job_id, error=str(fault))
