"""The worker as a process: it sends what was committed, also after it was killed in the middle of it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from synckairos.config import Settings
from synckairos.process import worker
from synckairos.webhooks import dispatcher
from tests.integration.audit.author import chess
from tests.integration.audit.conftest import Audit
from tests.integration.webhooks.conftest import T0, Webhooks, came
from tests.integration.webhooks.receiver import Received, Receiver, accept
from tests.processes import Process
from tests.waiting import eventually


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Let webhooks go to this machine."""
    return settings.model_copy(update={"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True})


@pytest.fixture
async def start_worker(settings: Settings) -> AsyncIterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process("worker", env=settings.environ()))
        return started[-1]

    yield start
    for process in started:
        await asyncio.to_thread(process.stop)


async def test_killed_amid_a_delivery_it_is_delivered_again(
    webhooks: Webhooks, receiver: Receiver, start_worker: Callable[[], Process]
) -> None:
    async def hang(received: Received) -> bytes:
        await asyncio.Event().wait()
        return b""

    receiver.answer_with = hang
    endpoint, secret = await webhooks.register(receiver.url)
    first = start_worker()
    life = await webhooks.play()
    await came(receiver, 1)
    first.kill()
    receiver.answer_with = accept
    # The lease ends by itself after a minute; here it is as if that had passed.
    rows = "UPDATE webhook_deliveries SET leased_until = now() WHERE leased_until IS NOT NULL RETURNING 1"
    assert len(await webhooks.audit.rows(rows)) == 1
    second = start_worker()
    await came(receiver, 3)
    await eventually(lambda: webhooks.all_delivered(endpoint))
    assert await asyncio.to_thread(second.stop) == 0
    assert receiver.types == ["session_created", "session_created", "session_started"]
    assert receiver.ids[0] == receiver.ids[1]
    assert {each.verify(secret)["data"]["session_id"] for each in receiver.received[1:]} == {life.session_id}


async def test_whatever_becomes_of_webhooks_the_drain_goes_on(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0

    async def broken(settings: Settings) -> None:
        nonlocal begun
        begun += 1
        raise RuntimeError("a fault nobody foresaw")

    monkeypatch.setattr(dispatcher, "run_dispatcher", broken)
    monkeypatch.setattr(worker, "_AGAIN_S", 0.01)
    task = asyncio.create_task(worker.run_worker(audit.settings))
    try:

        async def begun_again() -> bool:
            return begun > 2

        await eventually(begun_again)
        await audit.author.create(chess(), T0)
        await eventually(lambda: audit.outbox.is_empty(0))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(await audit.rows("SELECT 1 FROM sync_events")) == 1
