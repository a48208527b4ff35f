"""Wake-ups through arq: combined for each partition, sent in the background, and dropped without the queue's Redis."""

import asyncio

import orjson

from synckairos.audit.drain_wakeups import DRAIN_JOB, DrainWakeupSender, enqueue_drain_wakeup, make_arq_client
from synckairos.config import Settings
from tests.waiting import eventually


async def test_many_wake_ups_for_a_partition_become_one_json_message(settings: Settings) -> None:
    wakeups = DrainWakeupSender(settings.queue_redis_url, settings.key_prefix)
    wakeups.start_sending()
    for _ in range(100):
        wakeups.request_drain(3)
    async with make_arq_client(settings.queue_redis_url, settings.key_prefix, 2.0) as queue:
        jobs = await eventually(queue.queued_jobs)
        assert [(job.function, tuple(job.args)) for job in jobs] == [(DRAIN_JOB, (3,))]
        wakeups.request_drain(3)
        wakeups.request_drain(4)
        await wakeups.close()
        jobs = await queue.queued_jobs()
        assert sorted(tuple(job.args) for job in jobs) == [(3,), (4,)]
        raw = await queue.get(f"arq:job:{jobs[0].job_id}")
        assert orjson.loads(raw)["f"] == DRAIN_JOB
        assert await queue.ttl(f"arq:job:{jobs[0].job_id}") <= 60
        await queue.connection_pool.disconnect()


async def test_a_wake_up_after_the_drain_began_is_queued_again(settings: Settings) -> None:
    queue = make_arq_client(settings.queue_redis_url, settings.key_prefix, 2.0)
    await enqueue_drain_wakeup(queue, 0)
    await enqueue_drain_wakeup(queue, 0)
    assert len(await queue.queued_jobs()) == 1
    await queue.delete(f"{queue.default_queue_name}:kicked:0")  # the worker does this when the drain begins
    await enqueue_drain_wakeup(queue, 0)
    assert len(await queue.queued_jobs()) == 2
    await queue.aclose(close_connection_pool=True)


async def test_wake_ups_without_a_queue_are_dropped_and_close_returns_in_time() -> None:
    wakeups = DrainWakeupSender("redis://127.0.0.1:1/0", "none")
    wakeups.request_drain(0)
    wakeups.start_sending()
    for partition in range(1000):
        wakeups.request_drain(partition)
    await asyncio.wait_for(wakeups.close(), 3)
    wakeups.request_drain(1)
