"""REST routes of reconciliations of members: a request on demand, its report, and the separation of tenants."""

from collections.abc import AsyncIterator

import httpx
import pytest

from synckairos.config import Settings
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.kinds import RECONCILE_MEMBERS
from synckairos.jobs.table import JobTable
from synckairos.jobs.wakeups import JobWakeups
from synckairos.members.requested_reconciliations import RequestedReconciliations
from synckairos.postgres.pool import PostgresPool
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import open_rest_server
from tests.ports import free_port

PATH = "/v1/members/reconciliations"
REPORT = {"rows": 10, "repeated": 0, "added": 10, "changed": 0, "removed": 0, "unchanged": 0}


@pytest.fixture
async def client(settings: Settings, job_table: JobTable, job_queue: JobQueue) -> AsyncIterator[httpx.AsyncClient]:
    reconciliations = RequestedReconciliations(job_table, job_queue)
    async with open_rest_server(settings, caller_identity=NamedCallers(), reconciliations=reconciliations) as server:
        server.client.headers.update(as_caller("root", tenant="acme"))
        yield server.client


async def test_request_enqueues_one_job_of_the_tenant_and_its_report_is_read(
    client: httpx.AsyncClient, job_table: JobTable
) -> None:
    answer = await client.post(PATH, json={"max_removed_percent": 60})
    assert answer.status_code == 202
    queued = answer.json()["data"]
    assert answer.headers["location"] == f"{PATH}/{queued['job_id']}"
    expected = {"job_id": queued["job_id"], "status": "queued", "attempts": 0, "max_removed_percent": 60}
    assert queued == {**expected, "created_at": queued["created_at"]}
    refused = await client.post(PATH)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "RECONCILIATION_RUNNING")

    claim = await job_table.claim_if_due(queued["job_id"], "worker-1", 30)
    assert claim is not None
    assert (claim.type, claim.tenant, claim.params) == (RECONCILE_MEMBERS, "acme", {"max_removed_percent": 60})
    await job_table.complete(claim, REPORT)
    done = (await client.get(f"{PATH}/{queued['job_id']}")).json()["data"]
    assert (done["status"], done["attempts"], done["report"], "finished_at" in done) == ("done", 1, REPORT, True)


async def test_refused_source_is_reported_with_its_faults(client: httpx.AsyncClient, job_table: JobTable) -> None:
    job_id = (await client.post(PATH)).json()["data"]["job_id"]
    claim = await job_table.claim_if_due(job_id, "worker-1", 30)
    assert claim is not None
    report = {
        "refused": "invalid_rows",
        "invalid_rows": 1,
        "faults": [{"line": 2, "fault": "belongs to another tenant"}],
    }
    await job_table.save_failed_attempt(claim, "A row is invalid", 0, for_good=True, result=report)
    failed = (await client.get(f"{PATH}/{job_id}")).json()["data"]
    assert (failed["status"], failed["error"], failed["report"]) == ("failed", "A row is invalid", report)


async def test_list_has_the_reconciliations_of_the_tenant_newest_first(
    client: httpx.AsyncClient, job_table: JobTable
) -> None:
    scheduled_for = "2026-12-01T03:00:00+00:00"
    for params in ({}, {"scheduled_for": scheduled_for}, {}):
        await job_table.add_unless_queued(RECONCILE_MEMBERS, params, tenant="acme")
    await job_table.add_unless_queued("archive", {}, tenant="acme")
    await job_table.add_unless_queued(RECONCILE_MEMBERS, {}, tenant="other")
    first = (await client.get(PATH, params={"limit": 2})).json()
    second = (await client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert second["next_cursor"] is None
    found = [*first["data"], *second["data"]]
    assert [each["job_id"] for each in found] == [3, 2, 1]
    assert [each.get("scheduled_for") for each in found] == [None, scheduled_for, None]
    for job_id in (4, 5, 6):  # a job of another type, a job of another tenant, and no job
        answer = await client.get(f"{PATH}/{job_id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("job_id", ["0", "x", "9" * 19])
async def test_id_that_is_no_number_of_a_job_is_refused(client: httpx.AsyncClient, job_id: str) -> None:
    assert (await client.get(f"{PATH}/{job_id}")).status_code == 400


@pytest.mark.parametrize("percent", [-1, 101, 1.5, "60"])
async def test_share_of_another_form_is_refused(client: httpx.AsyncClient, percent: object) -> None:
    assert (await client.post(PATH, json={"max_removed_percent": percent})).status_code == 400


async def test_operations_are_refused_while_authentication_is_off(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        for answer in (
            await server.client.post(PATH),
            await server.client.get(PATH),
            await server.client.get(f"{PATH}/1"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
            assert "SYNCKAIROS_AUTH" in answer.json()["error"]["message"]


async def test_outage_of_postgres_is_503_without_the_name_of_its_host(settings: Settings) -> None:
    wakeups = JobWakeups(settings.queue_redis_url, settings.key_prefix)
    url = f"postgresql://127.0.0.1:{free_port()}/synckairos"
    async with PostgresPool(url, "test", max_connections=1, timeout_s=0.1) as unreachable:
        jobs = JobTable(unreachable)
        reconciliations = RequestedReconciliations(jobs, JobQueue(jobs, wakeups))
        async with open_rest_server(
            settings, caller_identity=NamedCallers(), reconciliations=reconciliations
        ) as server:
            server.client.headers.update(as_caller("root"))
            for method in ("POST", "GET"):
                answer = await server.client.request(method, PATH)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
                assert answer.json()["error"]["message"] == "Postgres is not reachable; try again shortly"
    await wakeups.close()
