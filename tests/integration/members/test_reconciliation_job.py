"""The job `reconcile-members`: its report, its refusals, and its nightly schedule through arq."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from synckairos.admin.members import open_member_changes
from synckairos.config import Settings
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.kinds import RECONCILE_MEMBERS, ReconcileMembersParams, parse_job_params
from synckairos.jobs.runner import JobRunner
from synckairos.jobs.table import ClaimedJob, Job, JobTable
from synckairos.members.nightly_schedule import CATCH_UP, NightlyMemberSchedule
from synckairos.members.reconciliation_job import MemberReconciliationJob
from synckairos.members.table import MemberTable
from synckairos.postgres.pool import PostgresPool
from synckairos.process.arq_loop import daily_function, job_function, run_arq_loop
from synckairos.telemetry.outages import SilentOutage
from synckairos.tenants.table import TenantTable
from tests.background_task import running
from tests.faketime import wrong_clock
from tests.integration.authentication import now_ms
from tests.integration.members.member_source import MemberSource, Row
from tests.integration.tenants.tenant_nodes import new_tenant
from tests.processes import Process
from tests.tokens import SECRET
from tests.waiting import eventually

CLASS = "label:class=7b"
TEN: list[Row] = [(f"subject-{number}", CLASS, "viewer") for number in range(10)]
NIGHT = datetime(2026, 12, 1, 3, tzinfo=UTC)


@pytest.fixture
def guarded(settings: Settings, source: MemberSource) -> Settings:
    """Return settings with authentication and the URL of the source."""
    changes = {"members_url": source.url, "members_allowed_networks": ["127.0.0.0/8"], "members_timeout_s": 20.0}
    return Settings(**settings.model_dump(exclude_none=True) | changes | {"auth": "required", "jwt_secret": SECRET})


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(settings.database_url, "test", max_connections=2, requires_roles=True) as opened:
        yield opened


class MemberJobs:
    """The jobs of one test: enqueues jobs and runs one attempt at each of them."""

    def __init__(self, table: JobTable, queue: JobQueue, pool: PostgresPool) -> None:
        self._table = table
        self._queue = queue
        self._pool = pool

    async def enqueue(self, tenant: str = "acme", **params: Any) -> int:
        job_id = await self._queue.enqueue(RECONCILE_MEMBERS, params, tenant=tenant)
        assert job_id is not None
        return job_id

    async def run(self, settings: Settings, tenant: str = "acme", **params: Any) -> Job:
        return await self.run_enqueued(settings, await self.enqueue(tenant, **params))

    async def run_enqueued(self, settings: Settings, job_id: int) -> Job:
        handler = MemberReconciliationJob.from_settings(
            settings, self._pool, partial(open_member_changes, settings), TenantTable(self._pool).is_deleted
        )

        async def handle(claim: ClaimedJob) -> Mapping[str, Any]:
            found = parse_job_params(claim.type, claim.params)
            assert isinstance(found, ReconcileMembersParams)
            return await handler.run(claim.tenant, found)

        await JobRunner(self._table, handle, "worker-1").run_job(job_id)
        job = await self._table.get(job_id)
        assert job is not None
        return job

    async def count_members(self, tenant: str = "acme") -> int:
        page = await MemberTable(self._pool).read_page(tenant, subject=None, resource=None, cursor=None, limit=1000)
        return len(page.items)


@pytest.fixture
def member_jobs(job_table: JobTable, job_queue: JobQueue, pool: PostgresPool) -> MemberJobs:
    return MemberJobs(job_table, job_queue, pool)


async def test_report_is_the_result_of_the_job_and_a_rerun_changes_nothing(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs
) -> None:
    source.publish(TEN)
    numbers = {"rows": 10, "repeated": 0, "changed": 0, "removed": 0}
    first = await member_jobs.run(guarded)
    assert (first.status, first.result) == ("done", {**numbers, "added": 10, "unchanged": 0})
    again = await member_jobs.run(guarded)
    assert (again.status, again.result) == ("done", {**numbers, "added": 0, "unchanged": 10})
    assert (await member_jobs.count_members(), await member_jobs.count_members("default")) == (10, 0)


async def test_list_of_100_000_rows_is_applied_by_its_difference(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs
) -> None:
    numbers_of_rows = range(100_000)
    many: list[Row] = [(f"subject-{row % 10_000}", f"label:class={row // 10_000}", "viewer") for row in numbers_of_rows]
    source.publish(many)
    await member_jobs.run(guarded)
    source.publish(
        [
            *((each, CLASS, "controller") for each in ("new-1", "new-2")),
            ("subject-3", "label:class=0", "controller"),
            *many[4:],
        ]
    )
    job = await member_jobs.run(guarded)
    numbers = {"rows": 99_999, "repeated": 0, "added": 2, "changed": 1, "removed": 3, "unchanged": 99_996}
    assert (job.status, job.result) == ("done", numbers)


async def test_larger_share_of_removals_is_refused_until_an_administrator_confirms_it(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs
) -> None:
    source.publish(TEN)
    await member_jobs.run(guarded)
    source.publish(TEN[5:])
    job = await member_jobs.run(guarded)
    assert (job.status, job.attempts) == ("failed", 1)
    assert job.error is not None
    assert job.error.startswith("5 of 10 members would be removed, which is more than 20 %")
    assert job.result is not None
    assert (job.result["refused"], job.result["removed"]) == ("share_exceeded", 5)
    assert await member_jobs.count_members() == 10
    job = await member_jobs.run(guarded, max_removed_percent=50)
    assert job.result is not None
    assert (job.status, job.result["removed"], await member_jobs.count_members()) == ("done", 5, 5)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"body": b""}, "empty"),
        ({"body": b'{"subject":"ada","resource":"label:class=7b","role":"viewer","tenant":"other"}'}, "invalid_rows"),
        ({"status": "301 Moved"}, "redirect"),
        ({"status": "403 Forbidden"}, "status"),
    ],
    ids=["empty", "another tenant", "redirect", "status"],
)
async def test_refused_source_fails_the_job_at_once_and_changes_nothing(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs, fault: dict[str, Any], reason: str
) -> None:
    source.publish(TEN)
    await member_jobs.run(guarded)
    for name, value in fault.items():
        setattr(source, name, value)
    job = await member_jobs.run(guarded)
    assert (job.status, job.attempts, job.result and job.result["refused"]) == ("failed", 1, reason)
    assert await member_jobs.count_members() == 10


async def test_source_that_is_cut_short_is_read_again_later(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs
) -> None:
    source.publish(TEN)
    source.sent_bytes = len(source.body) // 2
    job = await member_jobs.run(guarded)
    assert (job.status, job.attempts, job.result) == ("queued", 1, None)
    assert await member_jobs.count_members() == 0


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        ({"auth": "none"}, "Authentication is off"),
        ({"members_url": None}, "SYNCKAIROS_MEMBERS_URL is not set for the worker"),
    ],
    ids=["authentication", "url"],
)
async def test_job_fails_without_the_settings_that_it_needs(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs, missing: dict[str, Any], error: str
) -> None:
    job = await member_jobs.run(guarded.model_copy(update=missing))
    assert job.status == "failed"
    assert error in (job.error or "")
    assert source.requests == []


async def test_url_without_a_tenant_gives_its_members_to_no_other_tenant(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs
) -> None:
    source.publish(TEN)
    of_default = guarded.model_copy(update={"members_url": source.url.partition("?")[0]})
    refused = await member_jobs.run(of_default, "acme")
    assert refused.status == "failed"
    assert "the members of another tenant" in (refused.error or "")
    assert source.requests == []
    assert (await member_jobs.run(of_default, "default")).status == "done"
    assert (await member_jobs.count_members("acme"), await member_jobs.count_members("default")) == (0, 10)


async def test_members_of_a_deleted_tenant_are_not_reconciled(
    guarded: Settings, source: MemberSource, member_jobs: MemberJobs, pool: PostgresPool
) -> None:
    source.publish(TEN)
    tenants = TenantTable(pool)
    await tenants.add(new_tenant("acme"), now_ms())
    job_id = await member_jobs.enqueue()
    await tenants.begin_deletion("acme", now_ms())
    job = await member_jobs.run_enqueued(guarded, job_id)
    assert (job.status, job.error, source.requests) == ("failed", "The tenant acme is deleted", [])


async def test_night_has_one_job_for_each_tenant(job_table: JobTable, job_queue: JobQueue) -> None:
    now = NIGHT - timedelta(seconds=1)
    schedules = [NightlyMemberSchedule(job_table, job_queue, ["a", "b"], 3, lambda: now) for _ in range(2)]

    async def enqueue() -> list[tuple[str, Any]]:
        for each in schedules:
            await each.enqueue_due()
        return [(job.tenant, job.params["scheduled_for"]) for job in reversed(await job_table.list_jobs())]

    assert await enqueue() == []
    now = NIGHT
    first = [("a", NIGHT.isoformat()), ("b", NIGHT.isoformat())]
    assert await enqueue() == first
    for job in await job_table.list_jobs():
        claim = await job_table.claim_if_due(job.job_id, "worker-1", 30)
        assert claim is not None
        await job_table.complete(claim, {})
    now = NIGHT + CATCH_UP
    assert await enqueue() == first
    # A night that no worker has enqueued is made up for within six hours.
    now = NIGHT + timedelta(days=1) + CATCH_UP + timedelta(seconds=1)
    assert await enqueue() == first
    now -= timedelta(seconds=1)
    assert len(await enqueue()) == 4


def test_schedule_has_no_tenants_without_authentication_or_url(
    guarded: Settings, job_table: JobTable, job_queue: JobQueue
) -> None:
    for changes, tenants in (({}, ["default"]), ({"auth": "none"}, []), ({"members_url": None}, [])):
        settings = guarded.model_copy(update=changes)
        assert list(NightlyMemberSchedule.from_settings(settings, job_table, job_queue).tenants) == tenants


async def test_daily_function_of_arq_runs_at_its_hour_in_one_of_two_workers(settings: Settings) -> None:
    calls: asyncio.Queue[None] = asyncio.Queue()

    async def run() -> None:
        calls.put_nowait(None)

    async def never(job_id: int) -> None:
        raise AssertionError

    daily = [daily_function(run, "test", 3) for _ in range(2)]
    daily[0].calculate_next(NIGHT - timedelta(hours=1))
    assert daily[0].next_run == NIGHT
    daily[0].calculate_next(NIGHT)
    assert daily[0].next_run == NIGHT + timedelta(days=1)
    # Both workers get the same instant, so that one of them runs the function.
    soon = datetime.now(UTC)
    for each in daily:
        each.next_run = soon
    loops = [run_arq_loop(job_function(never), settings, SilentOutage(), "job", 2, 0.01, [each]) for each in daily]
    async with running(loops[0]), running(loops[1]):
        async with asyncio.timeout(20):
            await calls.get()

        async def have_both_seen_the_instant() -> bool:
            return all(each.next_run is not None and each.next_run > soon for each in daily)

        await eventually(have_both_seen_the_instant)
    assert calls.empty()


async def test_worker_reconciles_at_the_hour_of_the_settings(
    guarded: Settings, source: MemberSource, job_table: JobTable, member_jobs: MemberJobs
) -> None:
    source.publish(TEN)
    now = datetime.now(UTC)
    hour = (now.hour + 12) % 24
    just_before = now.replace(hour=hour, minute=0, second=0, microsecond=0) - timedelta(seconds=3)
    offset_s = round((just_before - now).total_seconds())
    settings = guarded.model_copy(update={"members_hour": hour})
    worker = Process("worker", env=settings.to_environment_variables() | wrong_clock(f"{offset_s:+d}s"))
    try:

        async def find_done() -> Job | None:
            return next((job for job in await job_table.list_jobs() if job.status == "done"), None)

        job = await eventually(find_done)
    finally:
        await asyncio.to_thread(worker.stop)
    assert job is not None
    assert (job.type, job.tenant, job.attempts) == (RECONCILE_MEMBERS, "default", 1)
    assert job.params == {"scheduled_for": (just_before + timedelta(seconds=3)).isoformat()}
    assert (len(await job_table.list_jobs()), await member_jobs.count_members("default")) == (1, 10)
