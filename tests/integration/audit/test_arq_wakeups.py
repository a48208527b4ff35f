"""Kicks: coalesced, off the way, and nothing lost when the queue is."""

import asyncio

import orjson

from synckairos.audit.arq_wakeups import DRAIN_JOB, DrainWakeups, open_arq_queue, send_drain_wakeup
from synckairos.config import Settings
from tests.waiting import eventually


async def test_a_kick_becomes_one_job_of_json(settings: Settings) -> None:
    wakeups = DrainWakeups(settings.queue_redis_url, settings.key_prefix)
    wakeups.start()
    for _ in range(100):
        wakeups.wake_up(3)
    async with open_arq_queue(settings.queue_redis_url, settings.key_prefix, 2.0) as queue:
        jobs = await eventually(queue.queued_jobs)
        assert [(job.function, tuple(job.args)) for job in jobs] == [(DRAIN_JOB, (3,))]
        wakeups.wake_up(3)
        wakeups.wake_up(4)
        await wakeups.close()
        jobs = await queue.queued_jobs()
        assert sorted(tuple(job.args) for job in jobs) == [(3,), (4,)]
        raw = await queue.get(f"arq:job:{jobs[0].job_id}")
        assert orjson.loads(raw)["f"] == DRAIN_JOB
        assert await queue.ttl(f"arq:job:{jobs[0].job_id}") <= 60
        await queue.connection_pool.disconnect()


async def test_a_kick_after_the_job_began_is_a_job_of_its_own(settings: Settings) -> None:
    queue = open_arq_queue(settings.queue_redis_url, settings.key_prefix, 2.0)
    await send_drain_wakeup(queue, 0)
    await send_drain_wakeup(queue, 0)
    assert len(await queue.queued_jobs()) == 1
    await queue.delete(f"{queue.default_queue_name}:kicked:0")  # what the worker does first
    await send_drain_wakeup(queue, 0)
    assert len(await queue.queued_jobs()) == 2
    await queue.aclose(close_connection_pool=True)


async def test_without_a_queue_kicks_are_dropped_at_once() -> None:
    wakeups = DrainWakeups("redis://127.0.0.1:1/0", "nobody")
    wakeups.wake_up(0)
    wakeups.start()
    for partition in range(1000):
        wakeups.wake_up(partition)
    await asyncio.wait_for(wakeups.close(), 3)
    wakeups.wake_up(1)
