"""Deletion of a tenant: its data go from all stores, and those of other tenants with the same ids stay as they are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.errors import Forbidden, NotFound, TenantDeleted, TenantExists
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.runner import JobRunner, PermanentJobFailure
from synckairos.jobs.table import Job
from synckairos.revocations.copier import RevocationCopier
from synckairos.revocations.table import RevocationTable
from synckairos.session_names import session_name
from synckairos.store.control_store import ControlStore
from synckairos.store.member_copies import MemberCopies
from synckairos.store.tenant_data import TenantData
from synckairos.tenants.deletion import enqueue_due_deletions
from synckairos.tenants.stored_rows import TenantRows
from synckairos.tenants.table import TenantTable
from tests.background_task import start
from tests.integration.audit_parts import AuditParts
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.jobs.job_components import JobComponents, make_tenant_deletion
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.integration.tenants.any_row import find_tables_with_tenant, insert_row
from tests.integration.tenants.stored_data import StoredData, read_stored_data
from tests.integration.tenants.tenant_nodes import TenantNode, open_tenant_node
from tests.principals import make_principal
from tests.waiting import eventually

pytestmark = pytest.mark.serving_login

TENANTS = ("default", "acme", "other")


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[TenantNode]:
    async with open_tenant_node(settings) as opened:
        await opened.add("acme")
        yield opened


async def fill(server: RestServer, body: dict[str, Any]) -> None:
    """Create a running and an ended session in each tenant, with the same ids, and a list of a participant."""
    participant_id = body["participants"][0]["participant_id"]
    for tenant in TENANTS:
        caller = as_caller("admin", tenant=tenant)
        for session_id, ends in ((body["session_id"], False), (body["session_id"][:-4] + "ffff", True)):
            made = {**body, "session_id": session_id, "labels": {"team": "red"}}
            path = f"/v1/sessions/{session_id}"
            await call(server, "/v1/sessions", made, caller | {"idempotency-key": f"key {session_id}"[4:]})
            await call(server, f"{path}/start", None, caller)
            await call(server, f"{path}/{'complete' if ends else 'switch'}", None, caller)
        answer = await server.client.get(f"/v1/participants/{participant_id}/sessions", headers=caller)
        assert answer.status_code == 200, answer.text


async def call(server: RestServer, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> None:
    answer = await server.client.post(path, json=body, headers=headers)
    assert answer.status_code in (200, 201), answer.text


def insert_rows(settings: Settings) -> None:
    """Insert a row of each tenant into each table of tenants."""
    with psycopg.connect(settings.schema_url) as connection:
        for table in find_tables_with_tenant(connection):
            for tenant in TENANTS:
                insert_row(connection, table, tenant)


async def run_job(jobs: JobComponents) -> Job:
    """Run the newest job, and return it."""
    job_id = (await jobs.job_table.list_jobs(limit=1))[0].job_id
    await JobRunner(jobs.job_table, jobs.handlers.run, "worker", retry_delays_s=(0, 0)).run_job(job_id)
    job = await jobs.job_table.get(job_id)
    assert job is not None
    return job


async def test_deletion_leaves_no_data_of_the_tenant_and_all_data_of_others(
    settings: Settings, server: RestServer, audit: AuditParts, jobs: JobComponents, node: TenantNode
) -> None:
    body = chess_body()
    await fill(server, body)
    await audit.drain()
    for tenant in TENANTS:
        ended = body["session_id"][:-4] + "ffff"
        await jobs.archiver.archive(session_name(tenant, ended))
    insert_rows(settings)
    copies = MemberCopies(audit.pipe, audit.keys)
    for tenant in TENANTS:
        await copies.put(tenant, {"alice": b"{}"}, await copies.lease(tenant, ["alice"]))
    await server.client.post(
        f"/v1/sessions/{body['session_id']}/switch", headers=as_caller("admin", tenant="acme")
    )  # a version in the outbox
    before = {tenant: await read_stored_data(settings, audit.pipe, tenant) for tenant in TENANTS}
    with psycopg.connect(settings.schema_url) as connection:
        tables = find_tables_with_tenant(connection)
    assert all(sorted(each.rows) == tables and each.objects and each.keys for each in before.values())
    assert len(before["acme"].members) == 3

    assert (await node.tenants.delete("acme")).status == "deleting"
    assert node.refusal_of("acme") == "TENANT_SUSPENDED"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_job(jobs))
        await eventually(lambda: drained(audit))
        job = await running
    assert (job.status, job.attempts, job.error) == ("done", 1, None)
    assert job.result is not None
    assert set(job.result) == {*tables, "keys", "objects"}
    after = {tenant: await read_stored_data(settings, audit.pipe, tenant) for tenant in TENANTS}
    assert after["acme"] == StoredData({}, {}, {}, {})
    assert after["other"] == before["other"]
    assert without_jobs(after["default"]) == without_jobs(before["default"])
    await node.until_refusal_is("acme", "TENANT_UNKNOWN")
    assert await audit.pipe.call("ZSCORE", audit.keys.tenants_with_sessions, "acme") is None
    assert await audit.pipe.call("ZSCORE", audit.keys.tenants_with_sessions, "other") is not None


async def drained(audit: AuditParts) -> bool:
    await audit.drain()
    return bool(await audit.outbox.is_empty(0))


def without_jobs(data: StoredData) -> StoredData:
    """Return data without jobs. The job that deletes the tenant belongs to the default tenant."""
    rows = {table: rows for table, rows in data.rows.items() if table != "background_jobs"}
    return StoredData(data.keys, data.members, rows, data.objects)


async def test_the_drain_writes_the_versions_in_the_outbox_before_rows_are_deleted(
    server: RestServer, audit: AuditParts, jobs: JobComponents, node: TenantNode, settings: Settings
) -> None:
    await fill(server, chess_body())
    await node.tenants.delete("acme")
    job = await start(run_job(jobs))

    async def has_session_keys() -> bool:
        return bool(await audit.pipe.call("KEYS", f"{audit.keys.prefix}:*:session:acme/*"))

    await eventually(lambda: negate(has_session_keys()))
    assert not job.done()
    assert await audit.rows("SELECT count(*) FROM sync_events") == [(0,)]
    await eventually(lambda: drained(audit))
    assert (await job).status == "done"
    assert (await read_stored_data(settings, audit.pipe, "acme")).is_empty
    assert not (await read_stored_data(settings, audit.pipe, "other")).is_empty


async def negate(check: Awaitable[bool]) -> bool:
    return not await check


async def test_deletion_waits_for_a_running_job_of_the_tenant(
    audit: AuditParts, jobs: JobComponents, node: TenantNode
) -> None:
    await jobs.job_table.add_unless_queued("archive", {}, tenant="acme")
    (running,) = await jobs.job_table.due_jobs(1)
    claim = await jobs.job_table.claim_if_due(running.job_id, "another worker", 30)
    assert claim is not None
    queued = await jobs.job_table.add_unless_queued("export", {}, tenant="acme")
    assert queued is not None
    await node.tenants.delete("acme")
    deletion = await start(run_job(jobs))
    await eventually(lambda: is_gone(jobs, queued.job_id))
    assert not deletion.done()
    assert await jobs.job_table.complete(claim, {})
    assert (await deletion).status == "done"
    assert await jobs.job_table.get(running.job_id) is None


async def is_gone(jobs: JobComponents, job_id: int) -> bool:
    return await jobs.job_table.get(job_id) is None


async def test_failed_entries_of_the_tenant_are_deleted(audit: AuditParts, node: TenantNode) -> None:
    for name in (session_name("acme", str(uuid4())), session_name("other", str(uuid4()))):
        entry = ("session_id", name, "epoch", "e", "version", "1", "event", "{}", "state", "{}")
        entry_id = (await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *entry)).decode()
        await audit.failed_entries.record_failure(0, entry_id, retries=0, error="no", next_attempt_in_ms=None)
    assert len(await audit.failed_entries.load_all(0)) == 2
    assert await TenantData(audit.pipe, audit.keys).delete("acme") == 2  # the entry and its gap
    (left,) = await audit.failed_entries.load_all(0)
    assert (left.entry.session_name or "").startswith("other/")
    gaps = await audit.pipe.call("ZRANGE", audit.keys.failed_entry_versions(0), 0, -1)
    assert [gap.startswith(b"other/") for gap in gaps] == [True]


async def test_every_key_with_a_name_of_the_tenant_is_deleted(audit: AuditParts) -> None:
    keys, name = audit.keys, session_name("acme", str(uuid4()))
    of_names = (
        *(keys.session, keys.history, keys.idempotency_records, keys.presence, keys.participant_sessions),
        *(keys.summary, keys.rendered_rows),
    )
    request_id = make_principal("admin", "ada", tenant="acme").qualify_request_id("key-1")
    names = [
        *(key(name) for key in of_names),
        *(keys.read_cache(kind, name) for kind in ("lists", "events")),
        *(keys.reserved_command_id(f"{verb}:{request_id}") for verb in ("create", "simulate", "bulk", "exclusive")),
        keys.member_copy("acme", "ada"),
        keys.rate_limit_bucket(f"switch:{name}"),
        keys.live_sessions(0, "acme"),
    ]
    for each in names:
        await audit.pipe.call("SET", each, "x")
    assert await TenantData(audit.pipe, keys).delete("acme") == len(set(names)) == 16
    assert await audit.pipe.call("EXISTS", *names) == 0


async def test_names_that_only_contain_the_tenant_stay(audit: AuditParts) -> None:
    prefix, session_id = audit.keys.prefix, str(uuid4())
    names = [
        f"{prefix}:{{0}}:session:acme2/{session_id}",
        f"{prefix}:{{0}}:session:other/acme/{session_id}",
        f"{prefix}:{{0}}:reserved:create:::5:other3:key4:acme acme/{session_id}",
        f"{prefix}:{{0}}:reserved:create:::acme/{session_id}",
        f"{prefix}:{{0}}:live:acme2",
        f"{prefix}:{{0}}:members:acme2/alice",
        f"{prefix}:{{0}}:members:default/acme/alice",
        f"{prefix}:acme/session",
    ]
    for name in names:
        await audit.pipe.call("SET", name, "x")
    assert await TenantData(audit.pipe, audit.keys).delete("acme") == 0
    assert await audit.pipe.call("EXISTS", *names) == len(names)


async def test_stores_refuse_to_delete_the_default_tenant(audit: AuditParts, jobs: JobComponents) -> None:
    with pytest.raises(ValueError, match="default tenant"):
        await TenantData(audit.pipe, audit.keys).delete("default")
    with pytest.raises(ValueError, match="default tenant"):
        await TenantRows(jobs.pool).delete_from("sync_events", "default")


async def test_job_for_a_tenant_that_is_not_closed_deletes_nothing(
    audit: AuditParts, jobs: JobComponents, node: TenantNode
) -> None:
    deletion = make_tenant_deletion(audit, jobs.pool)

    async def ignore(_: object) -> None:
        pass

    with pytest.raises(PermanentJobFailure, match="The deletion of tenant acme was not requested"):
        await deletion.delete("acme", ignore)
    with pytest.raises(PermanentJobFailure, match="There is no tenant unknown"):
        await deletion.delete("unknown", ignore)


async def test_repeated_deletion_is_one_job_and_the_name_stays_refused(jobs: JobComponents, node: TenantNode) -> None:
    await node.set_status("acme", "suspended")
    first = await node.tenants.delete("acme")
    assert await node.tenants.delete("acme") == first
    assert [job.params for job in await jobs.job_table.list_jobs()] == [{"tenant": "acme"}]
    assert (await run_job(jobs)).status == "done"
    deleted = await node.tenants.delete("acme")
    assert (deleted.status, deleted.revision) == ("deleted", first.revision + 1)
    assert len(await jobs.job_table.list_jobs()) == 1
    with pytest.raises(TenantExists):
        await node.add("acme")
    with pytest.raises(TenantDeleted):
        await node.set_status("acme", "active")
    with pytest.raises(NotFound):
        await node.tenants.delete("nobody")
    with pytest.raises(Forbidden, match="The default tenant cannot be suspended or deleted"):
        await node.tenants.delete("default")


async def test_schedule_continues_a_failed_deletion_and_finds_late_data(
    settings: Settings,
    audit: AuditParts,
    jobs: JobComponents,
    job_queue: JobQueue,
    node: TenantNode,
    server: RestServer,
) -> None:
    table, data = TenantTable(jobs.pool), TenantData(audit.pipe, audit.keys)

    async def open_jobs() -> list[dict[str, Any]]:
        await enqueue_due_deletions(table, data, job_queue)
        return [dict(job.params) for job in await jobs.job_table.list_jobs(status="queued")]

    assert await open_jobs() == []
    await node.tenants.delete("acme")
    assert len(await open_jobs()) == 1
    await audit.database.execute("UPDATE background_jobs SET status = 'failed', finished_at = now()")
    assert await open_jobs() == []
    await audit.database.execute("UPDATE background_jobs SET finished_at = now() - interval '11 minutes'")
    assert await open_jobs() == [{"tenant": "acme"}]
    assert (await run_job(jobs)).status == "done"
    assert await open_jobs() == []
    with psycopg.connect(settings.schema_url) as connection:
        insert_row(connection, "sync_access", "acme")
    assert await open_jobs() == [{"tenant": "acme"}]
    assert (await run_job(jobs)).result == {"sync_access": 1}
    caller = as_caller("admin", tenant="acme")
    await call(server, "/v1/sessions", chess_body(), caller)
    assert await open_jobs() == [{"tenant": "acme"}]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_job(jobs))
        await eventually(lambda: drained(audit))
        assert (await running).status == "done"
    assert (await read_stored_data(settings, audit.pipe, "acme")).is_empty
    assert await open_jobs() == []


async def test_copies_of_revocations_do_not_come_back(audit: AuditParts, node: TenantNode) -> None:
    principals = [make_principal("admin", "ada", tenant=tenant) for tenant in ("acme", "other")]
    for principal in principals:
        await node.node.channel.revoke(principal, subject="ada")
    await node.set_status("acme", "deleting")
    await node.set_status("acme", "deleted")
    store = ControlStore(audit.pipe, audit.keys)
    await RevocationCopier(store, RevocationTable(audit.writer.pool)).copy_new()
    assert await audit.rows("SELECT tenant FROM sync_revocations") == [("other",)]
