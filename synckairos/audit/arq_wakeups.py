"""Kicks: "drain this partition now", "carry this background job out". One of the two files that import arq.

A kick only saves waiting. It is never on a command's path, never raises, and may be lost: a sweep follows. Background
jobs have a queue of their own, so that no drain ever waits behind one.
"""

import asyncio
from typing import Any

import orjson
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from synckairos.telemetry import log

DRAIN_JOB = "drain"

WAKEUP_EXPIRES_S = 60
"""Seconds after which arq drops a wake-up that no worker took."""

_COALESCE_S = 0.2  # kicks within this time are one
_GIVE_UP_S = 5.0  # a queued job that nobody took for so long no longer stands in for later kicks
_PAUSE_AFTER_FAULT_S = 1.0  # no back-off: nothing is sent again, so this only limits the warnings in the log

logger = log.get_logger(__name__)


def open_arq_queue(url: str, key_prefix: str, timeout_s: float, name: str = "drain") -> ArqRedis:
    """Make a client of the job queue; connects when it is used. Jobs are JSON: pickle would run whatever is sent."""
    pool: ConnectionPool = ConnectionPool.from_url(
        url, socket_connect_timeout=timeout_s, socket_timeout=timeout_s, socket_keepalive=True, protocol=2
    )
    return ArqRedis(
        pool_or_conn=pool,
        job_serializer=serialize_job,
        job_deserializer=orjson.loads,
        default_queue_name=arq_queue_name(key_prefix, name),
    )


def serialize_job(value: dict[str, Any]) -> bytes:
    """Render a job, or what became of it: an exception as its text."""
    return orjson.dumps(value, default=repr)


def arq_queue_name(key_prefix: str, name: str = "drain") -> str:
    return f"{key_prefix}:{name}-queue"


def wakeup_key(queue: ArqRedis, partition: int) -> str:
    """Return the key that stands while a job for a partition is queued and not yet begun."""
    return f"{queue.default_queue_name}:kicked:{partition}"


class DrainWakeups:
    """Kicks from one process: coalesced per partition here, and among all processes by a key beside the queue."""

    def __init__(self, queue_redis_url: str, key_prefix: str, timeout_s: float = 2.0) -> None:
        self._queue = open_arq_queue(queue_redis_url, key_prefix, timeout_s)
        self._wanted: set[int] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, in a task of its own."""
        self._task = asyncio.create_task(self._send_all(), name="drain kicks")

    async def close(self) -> None:
        """Send what is wanted, for a second at most, and end."""
        if self._task is not None:
            task, self._task = self._task, None
            self._news.set()
            # Waiting, not cancelling: a cancelled enqueue would leak its connection.
            _, unfinished = await asyncio.wait([task], timeout=1.0)
            for each in unfinished:
                each.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._queue.aclose(close_connection_pool=True)

    def wake_up(self, partition: int) -> None:
        """Ask for a drain soon. Synchronous and immediate, never raises."""
        self._wanted.add(partition)
        self._news.set()

    async def _send_all(self) -> None:
        while self._task is not None or self._wanted:
            await self._news.wait()
            self._news.clear()
            wanted, self._wanted = self._wanted, set()
            pause_s = _COALESCE_S
            try:
                for partition in sorted(wanted):
                    await send_drain_wakeup(self._queue, partition)
            except (RedisError, OSError) as fault:
                # No retry: by the time the queue is back, a sweep has taken what this wakeups was for.
                logger.warning("drain kick not sent", error=str(fault))
                pause_s = _PAUSE_AFTER_FAULT_S
            if self._task is None:
                return
            await asyncio.sleep(pause_s)


async def send_drain_wakeup(queue: ArqRedis, partition: int) -> None:
    """Queue a job for a partition, unless one is queued that hasn't begun. Three round trips, one where one is.

    The key is taken away when the job begins, so a kick that comes while a drain is under way is a job of its own: it
    can't be lost between that drain's last look and its end.
    """
    if await queue.set(wakeup_key(queue, partition), b"1", nx=True, px=int(_GIVE_UP_S * 1000)):
        await queue.enqueue_job(DRAIN_JOB, partition, _expires=WAKEUP_EXPIRES_S)
