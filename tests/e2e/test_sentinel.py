"""A store behind Redis Sentinel: sessions, watchers, deadlines and audit go on after each kind of failover."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from synckairos.admin import doctor
from synckairos.config import Settings
from synckairos.embedded import Postgres
from tests.conftest import copied_database
from tests.e2e.conversation import DEADLINE_S, conversation
from tests.processes import Process
from tests.sentinels import SERVICE, SentinelSetup, running_sentinels
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Fleet:
    """A server and a worker on a store behind sentinels."""

    store: SentinelSetup
    settings: Settings
    server: Process
    worker: Process


@pytest.fixture(scope="module")
def fleet(postgres: Postgres, template_database: str, data_dir: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        folder = data_dir / f"sentinel-{uuid4().hex[:8]}"
        store = stack.enter_context(running_sentinels(folder))
        settings = Settings(
            redis_url=store.url,
            database_url=stack.enter_context(copied_database(postgres, template_database)),
            archive_url=str(folder / "archive"),
            drain_timeout_s=0,
            redis_timeout_s=1,
        )
        server, worker = (
            Process(*command, env=settings.to_environment_variables())
            for command in (("serve", "--port", "0"), ("worker",))
        )
        stack.callback(worker.stop)
        stack.callback(server.stop)
        server.wait_ready()
        yield Fleet(store, settings, server, worker)


async def becomes_ready(server: Process) -> None:
    """Wait until the server says that it is ready."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as rest:

        async def is_ready() -> bool:
            return (await rest.get("/ready")).status_code == 200

        await eventually(is_ready, DEADLINE_S)


async def test_doctor_describes_the_sentinels(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in fleet.settings.to_environment_variables().items():
        monkeypatch.setenv(name, value)
    checks = {check.name: check for check in await doctor.run_checks()}
    found = checks["redis sentinels"]
    assert found.passed
    assert found.result == f"3 of 3 answer; primary 127.0.0.1:{fleet.store.primary().port}, 2 replicas, quorum 2"
    assert "+role" in checks["redis permissions"].result
    fleet.store.sentinels[2].suspend()
    try:
        checks = {check.name: check for check in await doctor.run_checks()}
    finally:
        fleet.store.sentinels[2].resume()
    assert not checks["redis sentinels"].passed
    assert checks["redis sentinels"].result.startswith("2 of 3 answer")
    assert checks["redis maxmemory-policy"].passed


@pytest.mark.parametrize("fault", ["planned failover", "killed primary and sentinels", "suspended primary"])
async def test_sessions_watchers_deadlines_and_audit_go_on_after_a_failover(fleet: Fleet, fault: str) -> None:
    store, former = fleet.store, fleet.store.primary()
    async with conversation(fleet.server, fleet.settings) as talk:
        await talk.command("switch")
        countdown_id = await talk.start_countdown(1_500)
        match fault:
            case "planned failover":
                store.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
            case "suspended primary":
                former.suspend()
            case _:
                former.kill()
        await asyncio.to_thread(store.wait_for_other_primary, former)
        match fault:
            case "planned failover":
                await asyncio.to_thread(store.wait_until_replica, former)
            case "suspended primary":
                former.resume()  # it acts as the primary until a sentinel tells it the new one
            case "killed primary and sentinels":
                for sentinel in store.sentinels[1:]:
                    sentinel.kill()
        await becomes_ready(fleet.server)
        await talk.command("switch")
        await talk.wait_for_expiry(countdown_id)
        await talk.wait_for_audit()
        if fault == "killed primary and sentinels":
            for node in (former, *store.sentinels[1:]):
                node.start()
        await asyncio.to_thread(store.wait_for_replicas)
        await talk.command("complete")
        await talk.use_everything()
        await talk.wait_for_audit()
    # A task of arq can end with an error that arq does not read, so only the server is checked.
    assert "Traceback" not in fleet.server.output


async def test_running_processes_go_on_and_new_ones_end_while_no_sentinel_answers(fleet: Fleet) -> None:
    for sentinel in fleet.store.sentinels:
        sentinel.suspend()
    try:
        server = Process("serve", "--port", "0", env=fleet.settings.to_environment_variables())
        try:
            assert await asyncio.to_thread(server.child.process.wait, 30) != 0
        finally:
            server.stop()
        assert "REDIS_URL: not connected to Redis" in server.output
        async with conversation(fleet.server, fleet.settings) as talk:
            await talk.command("switch")
    finally:
        for sentinel in fleet.store.sentinels:
            sentinel.resume()
