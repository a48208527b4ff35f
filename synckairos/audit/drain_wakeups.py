"""Wake-ups through arq, each of which makes a worker drain one partition.

A wake-up only shortens the time until the next sweep. Commands therefore do not wait for wake-ups, and a wake-up can be
lost. Background jobs use a separate arq queue, so that a long job delays no drain. The only other module that imports
arq is `process.arq_loop`.
"""

import asyncio
from typing import Any

import orjson
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from synckairos.store.connect import connection_options
from synckairos.telemetry.invalid_data import report_invalid_data
from synckairos.telemetry.outages import StoreOutage

DRAIN_JOB = "drain"

WAKEUP_EXPIRES_S = 60
"""Seconds after which arq drops a wake-up that no worker received."""

_COALESCE_S = 0.2  # seconds within which several requests for one partition become one wake-up
_SUPPRESS_S = 5.0  # seconds for which a queued wake-up suppresses further wake-ups; then it counts as lost
_PAUSE_AFTER_FAULT_S = 1.0
_NO_TTL = -1  # reply of PTTL for a key that never expires


def make_arq_queue_outage() -> StoreOutage:
    """Return a new outage log for the Redis of the arq queues.

    Without this Redis, sweeps of the workers start all work.
    """
    return StoreOutage(
        "queue redis", "QUEUE_REDIS_URL", "drains and jobs start up to two seconds later; nothing else waits"
    )


def make_arq_client(url: str, key_prefix: str, timeout_s: float, name: str = "drain") -> ArqRedis:
    """Return a new client of the arq queue `name`. The client connects at its first use.

    `timeout_s` limits each connect and each reply. Messages are JSON. arq's default is pickle, which would execute code
    in a message.
    """
    pool: ConnectionPool = ConnectionPool(**connection_options(url, timeout_s))
    return ArqRedis(
        pool_or_conn=pool,
        job_serializer=serialize_arq_job,
        job_deserializer=orjson.loads,
        default_queue_name=arq_queue_name(key_prefix, name),
    )


def serialize_arq_job(value: dict[str, Any]) -> bytes:
    """Return an arq job or its result as JSON. A value that JSON lacks, such as an exception, becomes its `repr`."""
    return orjson.dumps(value, default=repr)


def arq_queue_name(key_prefix: str, name: str = "drain") -> str:
    """Return the Redis key of the arq queue `name`. Workers and senders use the same key."""
    return f"{key_prefix}:{name}-queue"


def drain_wakeup_key(queue: ArqRedis, partition: int) -> str:
    """Return the Redis key that marks a queued wake-up for a partition.

    The key exists from the moment when the wake-up is queued until its drain begins, or until the key's TTL ends.
    """
    return f"{queue.default_queue_name}:kicked:{partition}"


class DrainWakeupSender:
    """Sends the wake-ups of one process in a background task.

    Requests of this process for one partition are combined. A key in the queue's Redis combines the wake-ups of all
    processes, so that at most one wake-up for a partition is queued.
    """

    def __init__(
        self, queue_redis_url: str, key_prefix: str, timeout_s: float = 2.0, outage: StoreOutage | None = None
    ) -> None:
        self._queue = make_arq_client(queue_redis_url, key_prefix, timeout_s)
        self._outage = outage or make_arq_queue_outage()
        self._requested: set[int] = set()
        self._has_requests = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start_sending(self) -> None:
        """Start the task that sends wake-ups."""
        self._task = asyncio.create_task(self._send_all(), name="drain wake-ups")

    async def close(self) -> None:
        """Wait at most one second until the requested wake-ups are sent. Then drop unsent wake-ups, and disconnect."""
        if self._task is not None:
            task, self._task = self._task, None
            self._has_requests.set()
            # Wait before the cancellation, because a cancelled enqueue would leak its connection.
            _, unfinished = await asyncio.wait([task], timeout=1.0)
            for each in unfinished:
                each.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._queue.aclose(close_connection_pool=True)

    def request_drain(self, partition: int) -> None:
        """Request a wake-up for a partition. Returns at once; the background task sends the wake-up. Never raises."""
        self._requested.add(partition)
        self._has_requests.set()

    async def _send_all(self) -> None:
        while self._task is not None or self._requested:
            await self._has_requests.wait()
            self._has_requests.clear()
            requested, self._requested = self._requested, set()
            pause_s = _COALESCE_S
            try:
                for partition in sorted(requested):
                    await enqueue_drain_wakeup(self._queue, partition)
            except (RedisError, OSError) as fault:
                # Do not retry. A sweep drains these partitions before the queue is reachable again.
                self._outage.report_unreachable("drain wake-ups", fault)
                pause_s = _PAUSE_AFTER_FAULT_S
            else:
                self._outage.report_reachable("drain wake-ups")
            if self._task is None:
                return
            await asyncio.sleep(pause_s)


async def enqueue_drain_wakeup(queue: ArqRedis, partition: int) -> None:
    """Queue a wake-up for a partition, unless one is queued already.

    Uses three round trips, or two if a wake-up is queued. A worker calls `drain_partition` for the wake-up and first
    deletes the key that marks it as queued. A wake-up that is sent during a drain is therefore queued. It is needed for
    entries that arrive after the last read of that drain.

    Raises: RedisError or OSError if the queue's Redis does not answer.
    """
    key = drain_wakeup_key(queue, partition)
    if await queue.set(key, b"1", nx=True, px=int(_SUPPRESS_S * 1000)):
        await queue.enqueue_job(DRAIN_JOB, partition, _expires=WAKEUP_EXPIRES_S)
    elif await queue.pttl(key) == _NO_TTL:
        report_invalid_data(key, "a key without a life, which would suppress all wake-ups, was dropped")
        await queue.delete(key)
