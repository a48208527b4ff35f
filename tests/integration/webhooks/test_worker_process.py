"""The worker process: it delivers committed events, also after it was killed during a delivery."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from synckairos.config import Settings
from synckairos.process import worker
from synckairos.telemetry.outages import StoreOutage
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import chess
from tests.integration.webhooks.conftest import T0, Webhooks, wait_for_requests
from tests.integration.webhooks.receiver import Received, Receiver, accept
from tests.processes import Process
from tests.waiting import eventually


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Allow webhooks to loopback."""
    return settings.model_copy(update={"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True})


@pytest.fixture
async def start_worker(settings: Settings) -> AsyncIterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process("worker", env=settings.to_environment_variables()))
        return started[-1]

    yield start
    for process in started:
        await asyncio.to_thread(process.stop)


async def test_delivery_of_a_killed_worker_is_sent_by_the_next_worker(
    webhooks: Webhooks, receiver: Receiver, start_worker: Callable[[], Process]
) -> None:
    async def hang(received: Received) -> bytes:
        await asyncio.Event().wait()
        return b""

    receiver.answer_with = hang
    endpoint, secret = await webhooks.create_endpoint(receiver.url)
    first = start_worker()
    life = await webhooks.play()
    await wait_for_requests(receiver, 1)
    first.kill()
    receiver.answer_with = accept
    # End the lease now. It would end after a minute.
    rows = "UPDATE webhook_deliveries SET leased_until = now() WHERE leased_until IS NOT NULL RETURNING 1"
    assert len(await webhooks.audit.rows(rows)) == 1
    second = start_worker()
    await wait_for_requests(receiver, 3)
    await eventually(lambda: webhooks.all_delivered(endpoint))
    assert await asyncio.to_thread(second.stop) == 0
    assert receiver.types == ["session_created", "session_created", "session_started"]
    assert receiver.ids[0] == receiver.ids[1]
    assert {each.verify(secret)["data"]["session_id"] for each in receiver.received[1:]} == {life.session_id}


async def test_drain_continues_when_the_dispatcher_keeps_failing(audit: AuditParts) -> None:
    starts = 0

    async def broken(settings: Settings, postgres_outage: StoreOutage) -> None:
        nonlocal starts
        starts += 1
        raise RuntimeError("an unexpected fault")

    task = asyncio.create_task(worker.run_worker(audit.settings, dispatch=broken, restart_s=0.01))
    try:

        async def has_restarted() -> bool:
            return starts > 2

        await eventually(has_restarted)
        await audit.committer.create(chess(), T0)
        await eventually(lambda: audit.outbox.is_empty(0))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(await audit.rows("SELECT 1 FROM sync_events")) == 1
