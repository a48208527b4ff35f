"""Worker processes that are killed or lose a store: each acknowledged version is written one time."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from synckairos.audit.drain_wakeups import DrainWakeupSender
from synckairos.audit.entry_rows import build_batch_rows, parse_entry
from synckairos.clock.commands import Start, Switch
from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from synckairos.postgres.migrate import migrate
from synckairos.process import drain_and_job_loops
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import SessionLife, chess
from tests.processes import Process
from tests.waiting import eventually

T0 = 1_700_000_000_000


@pytest.fixture
def process(settings: Settings) -> Iterator[Process]:
    started = Process("worker", env=settings.to_environment_variables())
    yield started
    started.stop()


async def play(audit: AuditParts, moves: int) -> SessionLife:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0)
    for move in range(moves):
        await audit.committer.apply(life, Switch(), T0 + 1 + move)
    return life


async def assert_exactly_once(audit: AuditParts, lives: list[SessionLife]) -> None:
    rows = await audit.rows("SELECT session_id::text, epoch, version, snapshot FROM sync_events")
    found = {(session_id, epoch, version): snapshot for session_id, epoch, version, snapshot in rows}
    assert found == {
        (life.session_id, life.state.epoch, version): document
        for life in lives
        for version, document in life.documents.items()
    }


async def test_a_worker_drains_at_its_start_and_after_wake_ups(audit: AuditParts, process: Process) -> None:
    lives = [await play(audit, 3)]
    await eventually(lambda: audit.outbox.is_empty(0))
    wakeups = DrainWakeupSender(audit.settings.queue_redis_url, audit.settings.key_prefix)
    wakeups.start_sending()
    for _ in range(3):
        lives.append(await play(audit, 3))
        wakeups.request_drain(0)
        await eventually(lambda: audit.outbox.is_empty(0))
    await wakeups.close()
    await assert_exactly_once(audit, lives)
    assert process.stop() == 0


@pytest.mark.slow
async def test_workers_killed_repeatedly_write_every_version_once(audit: AuditParts) -> None:
    lives: list[SessionLife] = []
    for _ in range(5):
        process = Process("worker", env=audit.settings.to_environment_variables())
        try:
            process.wait_for_line(lambda line: "worker started" in line)
            had = len(await audit.rows("SELECT 1 FROM sync_events"))

            async def moved(had: int = had) -> bool:
                return len(await audit.rows("SELECT 1 FROM sync_events")) > had

            lives += [await play(audit, 200) for _ in range(3)]
            await eventually(moved)
        finally:
            process.kill()
    process = Process("worker", env=audit.settings.to_environment_variables())
    try:
        await eventually(lambda: audit.outbox.is_empty(0))
    finally:
        assert process.stop() == 0
    await assert_exactly_once(audit, lives)
    assert await audit.rows("SELECT 1 FROM sync_conflicts") == []


async def test_a_worker_settles_a_batch_that_was_committed_before(audit: AuditParts) -> None:
    life = await play(audit, 5)
    batch = await audit.outbox.read(0, 100, 1 << 20)
    async with audit.writer.acquire_partition_writer(0) as writer:
        assert writer is not None
        await writer.write(build_batch_rows([parse_entry(delivery.parse()) for delivery in batch]))
    assert not await audit.outbox.is_empty(0)
    process = Process("worker", env=audit.settings.to_environment_variables())
    try:
        await eventually(lambda: audit.outbox.is_empty(0))
    finally:
        process.stop()
    await assert_exactly_once(audit, [life])
    assert await audit.pipe.call("PTTL", audit.keys.session(life.session_id)) > 0


async def test_a_worker_without_its_queue_drains_by_sweeps(audit: AuditParts) -> None:
    settings = audit.settings.model_copy(update={"queue_redis_url": "redis://127.0.0.1:1/0"})
    task = asyncio.create_task(drain_and_job_loops.run_arq_worker(settings, sweep_s=0.02))
    lives = []
    for _ in range(3):
        lives.append(await play(audit, 3))
        await eventually(lambda: audit.outbox.is_empty(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_exactly_once(audit, lives)


@pytest.mark.slow
async def test_a_worker_waits_for_postgres_and_then_drains(audit: AuditParts, data_dir: Path) -> None:
    with Postgres(data_dir / "own-postgres") as own:
        await migrate(own.url)
        own.kill()
        settings = audit.settings.model_copy(update={"database_url": own.url})
        task = asyncio.create_task(drain_and_job_loops.run_arq_worker(settings, sweep_s=0.02))
        life = await play(audit, 3)
        assert (await audit.outbox.measure_backlog()).entries == 5
        own.start()
        await eventually(lambda: audit.outbox.is_empty(0), 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with await psycopg.AsyncConnection.connect(own.url) as database:
            await assert_exactly_once(replace(audit, database=database), [life])
    assert (await audit.outbox.measure_backlog()).tally.isolated == 0


@pytest.mark.slow
async def test_a_worker_takes_wake_ups_again_after_its_queue_restarted(audit: AuditParts, data_dir: Path) -> None:
    with Valkey(data_dir / "own-queue") as own:
        settings = audit.settings.model_copy(update={"queue_redis_url": own.url})
        # The interval of sweeps is so long that only wake-ups can start a drain.
        task = asyncio.create_task(drain_and_job_loops.run_arq_worker(settings, sweep_s=1000))
        wakeups = DrainWakeupSender(own.url, settings.key_prefix, 1.0)
        wakeups.start_sending()

        async def drained() -> bool:
            wakeups.request_drain(0)
            return await audit.outbox.is_empty(0)

        lives = [await play(audit, 3)]
        await eventually(drained)
        own.kill()
        lives.append(await play(audit, 3))
        wakeups.request_drain(0)
        own.start()
        await eventually(drained, 30)
        await wakeups.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await assert_exactly_once(audit, lives)
