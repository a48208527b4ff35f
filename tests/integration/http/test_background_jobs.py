"""REST routes of background jobs and of set-aside audit entries: pages, progress, retries, and their refusals."""

from collections.abc import AsyncIterator

import httpx
import pytest

from synckairos.config import Settings
from synckairos.jobs.table import JobTable
from synckairos.store.failed_entries import FailedEntries
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, open_rest_server

JOBS = "/v1/jobs"
ENTRIES = "/v1/failed-entries"
ERROR = "value too long for type character varying(64)"


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings) as opened:
        yield opened


@pytest.fixture
def client(server: RestServer) -> httpx.AsyncClient:
    return server.client


async def add_job(job_table: JobTable, type_: str = "export", tenant: str = "default") -> int:
    due = await job_table.add_unless_queued(type_, {"after_s": 60}, tenant=tenant)
    assert due is not None
    return due.job_id


async def set_aside(server: RestServer, count: int) -> list[str]:
    """Create sessions, set their outbox entries aside, and return the ids of the entries, the oldest first."""
    entries = FailedEntries(server.parts.pipe, server.parts.store.keys)
    found = []
    for _ in range(count):
        await server.create()
    for partition in range(server.settings.partitions):
        for entry_id, _fields in await server.parts.pipe.call(
            "XRANGE", server.parts.store.keys.outbox(partition), "-", "+"
        ):
            found.append(entry_id.decode())
            await entries.record_failure(partition, entry_id.decode(), retries=5, error=ERROR, next_attempt_in_ms=None)
    return sorted(found, key=lambda each: tuple(map(int, each.split("-"))))


async def test_jobs_of_all_tenants_are_listed_newest_first_page_by_page(
    client: httpx.AsyncClient, job_table: JobTable
) -> None:
    ids = [await add_job(job_table), await add_job(job_table, "archive", "acme"), await add_job(job_table)]
    listed = await list_jobs(client, limit=2)
    assert [each["job_id"] for each in listed] == ids[::-1]
    assert [each["tenant"] for each in listed] == ["default", "acme", "default"]
    assert [each["job_id"] for each in await list_jobs(client, type="archive")] == [ids[1]]
    assert await list_jobs(client, status="failed") == []
    assert problem_of(await client.get(JOBS, params={"status": "lost"})) == (400, "VALIDATION_ERROR")
    assert problem_of(await client.get(JOBS, params={"cursor": "x"})) == (400, "VALIDATION_ERROR")


async def list_jobs(client: httpx.AsyncClient, **params: str | int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (
            (await client.get(JOBS, params=params | ({"cursor": cursor} if cursor else {}))).raise_for_status().json()
        )
        found += page["data"]
        cursor = page["next_cursor"]
    return found


async def test_running_job_shows_its_progress_and_a_failed_job_is_retried(
    client: httpx.AsyncClient, job_table: JobTable
) -> None:
    job_id = await add_job(job_table)
    assert problem_of(await client.post(f"{JOBS}/{job_id}/retry")) == (409, "JOB_NOT_FAILED")
    claim = await job_table.claim_if_due(job_id, "worker-1", 30)
    assert claim is not None
    await job_table.save_progress(claim, {"deleted_rows": 7})
    running = (await client.get(f"{JOBS}/{job_id}")).json()["data"]
    assert (running["status"], running["result"], running["attempts"]) == ("running", {"deleted_rows": 7}, 1)
    await job_table.save_failed_attempt(claim, "OperationalError: server at 10.0.0.7", 0, for_good=True)
    (failed,) = await list_jobs(client, status="failed")
    assert failed["error"] == "OperationalError; the log of the worker has the details"
    retried = (await client.post(f"{JOBS}/{job_id}/retry")).json()["data"]
    assert (retried["status"], retried["attempts"], "error" in retried) == ("queued", 0, False)


async def test_job_that_does_not_exist_is_not_found(client: httpx.AsyncClient) -> None:
    assert problem_of(await client.get(f"{JOBS}/999")) == (404, "NOT_FOUND")
    assert problem_of(await client.post(f"{JOBS}/999/retry")) == (404, "NOT_FOUND")
    assert problem_of(await client.get(f"{JOBS}/x")) == (400, "VALIDATION_ERROR")


async def test_set_aside_entries_are_listed_oldest_first_with_their_number(server: RestServer) -> None:
    ids = await set_aside(server, 3)
    page = (await server.client.get(ENTRIES, params={"limit": 2})).json()
    assert ([each["entry_id"] for each in page["data"]], page["total"]) == (ids[:2], 3)
    first = page["data"][0]
    assert (first["tenant"], first["version"], first["attempts"], first["error"]) == ("default", 1, 6, ERROR)
    assert (await server.client.get(f"/v1/sessions/{first['session_id']}")).status_code == 200


async def test_one_entry_or_all_are_retried_and_then_written(server: RestServer) -> None:
    ids = await set_aside(server, 3)
    path = f"{ENTRIES}/retry"
    assert (await server.client.post(path, json={"entry_id": ids[1]})).json() == {"data": {"retried": 1}}
    assert problem_of(await server.client.post(path, json={"entry_id": ids[1]})) == (404, "NOT_FOUND")
    listed = (await server.client.get(ENTRIES)).json()
    assert ([each["entry_id"] for each in listed["data"]], listed["total"]) == ([ids[0], ids[2]], 2)
    assert problem_of(await server.client.post(path, json={"entry_id": "x"})) == (400, "VALIDATION_ERROR")
    assert (await server.client.post(path)).json() == {"data": {"retried": 2}}
    await server.drain()
    assert (await server.client.get(ENTRIES)).json() == {"data": [], "total": 0}
    entries = FailedEntries(server.parts.pipe, server.parts.store.keys)
    left = [each for at in range(server.settings.partitions) for each in await entries.load_all(at)]
    assert left == []
