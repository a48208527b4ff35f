"""Server, worker and commands with a DATABASE_URL that leads to PgBouncer in transaction mode."""

import asyncio
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from synckairos.admin.jobs import enqueue_job, wait_for_job_end
from synckairos.config import Settings
from tests.e2e.load import Load, audited_documents, has_all_acknowledged
from tests.integration.admin.test_audit import run_command
from tests.pgbouncer import PgBouncer
from tests.processes import Process, spawn_server
from tests.waiting import eventually

SESSIONS = 30
SWITCHES = 40
DEADLINE_S = 60.0


@pytest.fixture
def pooled(settings: Settings, pgbouncer: PgBouncer, direct_database_url: str) -> Settings:
    """Return settings whose only URL of Postgres leads to the pooler."""
    return settings.model_copy(update={"database_url": pgbouncer.url(direct_database_url), "retention_s": 3600})


@pytest.fixture
def processes(pooled: Settings) -> Iterator[tuple[Process, Process]]:
    """Run a server and a worker."""
    worker = Process("worker", env=pooled.to_environment_variables())
    server = spawn_server(pooled)
    yield server, worker
    server.stop()
    worker.stop()


async def test_every_version_is_audited_and_every_list_is_served_through_the_pooler(
    processes: tuple[Process, Process], pooled: Settings, direct_database_url: str
) -> None:
    server, _ = processes
    async with httpx.AsyncClient(base_url=server.base_url, timeout=30, trust_env=False) as client:
        load = Load(client)

        async def play(session_id: str) -> None:
            await load.start_session(session_id)
            for _ in range(SWITCHES):
                await load.switch(session_id)
            await load.complete(session_id)

        ids, versions = [str(uuid4()) for _ in range(SESSIONS)], SESSIONS * (SWITCHES + 3)
        await asyncio.gather(*map(play, ids))
        assert load.failures == []

        async def is_audited() -> bool:
            return sum(map(len, (await audited_documents(direct_database_url)).values())) == versions

        await eventually(is_audited, DEADLINE_S)
        audit = await audited_documents(direct_database_url)
        assert has_all_acknowledged(audit, load.acknowledged)
        participant = audit[ids[0]][1]["participants"][0]["participant_id"]
        for path in (
            "/ready",
            "/metrics",
            "/v1/sessions",
            f"/v1/sessions/{ids[0]}/events",
            f"/v1/sessions/{ids[0]}?at={time.time_ns() // 1_000_000}",
            f"/v1/participants/{participant}/sessions",
            f"/v1/participants/{participant}/time",
            "/v1/webhooks",
        ):
            response = await client.get(path)
            assert response.status_code == 200, (path, response.text)
    for type_, params in (
        ("archive", {"session_id": ids[0]}),
        ("export", {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}),
    ):
        job_id = await enqueue_job(pooled, type_, params)
        async with asyncio.timeout(DEADLINE_S):
            job = await wait_for_job_end(pooled, job_id)
        assert job.status == "done", job.error
    code, lines = await run_command(pooled, "verify-audit", "--all")
    assert (code, lines[-1]) == (0, f"{SESSIONS} sessions, {versions:,} versions, 0 faults"), lines
    assert await run_command(pooled, "migrate") == (0, ["no migrations to apply"])
    for process in processes:
        assert "Traceback" not in process.output
        assert '"level":"warning"' not in process.output.replace(" ", ""), process.output


def test_dev_works_on_a_database_behind_a_pooler(pgbouncer: PgBouncer, bare_database_url: str) -> None:
    dev = Process("dev", "--port", "0", env={"DATABASE_URL": pgbouncer.url(bare_database_url)})
    try:
        dev.wait_ready()
        assert httpx.get(f"{dev.base_url}/v1/sessions", trust_env=False).json()["data"] == []
    finally:
        assert dev.stop() == 0
