"""The reconciliation of members on a real Postgres: its difference, its refusals, and the separation of tenants."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from synckairos.config import Settings
from synckairos.members.reconciliation import MemberReconciler, Reconciliation
from synckairos.members.source_rows import SourceRefused, SourceRows
from synckairos.members.table import Member, MemberTable
from synckairos.postgres.access import tenant_access
from synckairos.postgres.pool import PostgresPool
from tests.integration.members.member_source import Row, render_rows

CLASS, OTHER = "label:class=7b", "label:class=8a"


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(settings.database_url, "test", max_connections=2, requires_roles=True) as opened:
        yield opened


async def reconcile(
    pool: PostgresPool, rows: Iterable[Row], percent: int = 20, tenant: str = "acme", **options: Any
) -> Reconciliation:
    is_dry_run = options.pop("is_dry_run", False)
    with SourceRows(tenant, 1 << 30) as source:
        source.add(render_rows(rows))
        source.finish(has_sure_end=True)
        return await MemberReconciler(pool, **options).reconcile(tenant, source, percent, is_dry_run=is_dry_run)


async def refusal(pool: PostgresPool, rows: Iterable[Row], **options: Any) -> dict[str, Any]:
    with pytest.raises(SourceRefused) as caught:
        await reconcile(pool, rows, **options)
    return caught.value.report


async def members_of(pool: PostgresPool, tenant: str = "acme") -> set[Row]:
    page = await MemberTable(pool).read_page(tenant, subject=None, resource=None, cursor=None, limit=1000)
    return {(each.subject, each.resource, each.role) for each in page.items}


@pytest.mark.pooler
async def test_difference_is_applied_and_a_second_run_changes_nothing(pool: PostgresPool) -> None:
    table = MemberTable(pool)
    kept = [Member(f"kept-{number}", CLASS, "viewer") for number in range(8)]
    await table.put("acme", [*kept, Member("gone", CLASS, "viewer"), Member("raised", CLASS, "viewer")])
    await table.put("other", [Member("gone", CLASS, "viewer")])
    wanted = [
        *((each.subject, CLASS, "viewer") for each in kept),
        ("raised", CLASS, "controller"),
        ("new\\", f"{OTHER}é", "participant"),
    ]
    first = await reconcile(pool, [*wanted, wanted[0]], percent=10)
    numbers = {"added": 1, "changed": 1, "removed": 1, "unchanged": 8}
    assert first.report() == {"rows": 11, "repeated": 1, **numbers}
    assert (first.change.revision, sorted(first.change.subjects)) == (2, ["gone", "new\\", "raised"])
    assert await members_of(pool) == set(wanted)
    again = await reconcile(pool, wanted, percent=0)
    assert again.report() == {"rows": 10, "repeated": 0, "added": 0, "changed": 0, "removed": 0, "unchanged": 10}
    assert (again.change.revision, again.change.subjects) == (2, ())
    # The rows of another tenant with the same subject stay.
    assert await members_of(pool, "other") == {("gone", CLASS, "viewer")}


@pytest.mark.pooler
async def test_share_of_removed_members_is_limited_and_a_larger_share_can_be_confirmed(pool: PostgresPool) -> None:
    before = [(f"subject-{number}", CLASS, "viewer") for number in range(10)]
    await reconcile(pool, before)
    after = [*before[3:], ("new", CLASS, "viewer")]
    numbers = {"rows": 8, "repeated": 0, "added": 1, "changed": 0, "removed": 3, "unchanged": 7}
    assert await refusal(pool, after, percent=29) == {"refused": "share_exceeded", **numbers}
    assert await members_of(pool) == set(before)
    assert (await reconcile(pool, after, percent=30)).report() == numbers
    assert await members_of(pool) == set(after)


async def test_dry_run_changes_nothing(pool: PostgresPool) -> None:
    result = await reconcile(pool, [("ada", CLASS, "viewer")], is_dry_run=True)
    assert (result.added, result.change.revision, result.change.subjects) == (1, 0, ())
    assert await members_of(pool) == set()


async def test_rows_that_contradict_each_other_are_named_by_line(pool: PostgresPool) -> None:
    rows = [("ada", CLASS, "viewer"), ("bob", CLASS, "viewer"), ("ada", CLASS, "controller"), ("bob", OTHER, "viewer")]
    report = await refusal(pool, rows)
    assert (report["refused"], report["invalid_rows"]) == ("invalid_rows", 1)
    fault = "has another role than an earlier line with its subject and resource"
    assert report["faults"] == [{"line": 3, "fault": fault}]
    assert await members_of(pool) == set()


async def test_subject_with_too_many_rows_is_named_by_its_first_line(pool: PostgresPool) -> None:
    rows = [("bob", CLASS, "viewer"), *(("ada", f"{CLASS}{number}", "viewer") for number in range(4))]
    report = await refusal(pool, rows, max_rows_of_subject=3)
    assert report["faults"] == [{"line": 2, "fault": "its subject has more than 3 rows"}]
    assert (await reconcile(pool, rows, max_rows_of_subject=4)).added == 5


async def test_rows_that_do_not_change_are_not_written(pool: PostgresPool) -> None:
    rows = [(f"subject-{number}", CLASS, "viewer") for number in range(10)]
    await reconcile(pool, rows)
    before = await _row_versions(pool)
    await reconcile(pool, [*rows[1:], ("subject-0", CLASS, "participant")])
    after = await _row_versions(pool)
    assert [subject for subject in before if before[subject] != after[subject]] == ["subject-0"]


async def _row_versions(pool: PostgresPool) -> dict[str, tuple[str, str]]:
    """Return the transactions that last wrote or locked the rows of the tenant `acme`, by subject."""
    statement = b"SELECT subject, xmin::text, xmax::text FROM sync_members ORDER BY subject"
    rows = await pool.fetch(statement, access=tenant_access("acme"))
    return {subject: (xmin, xmax) for subject, xmin, xmax in rows}
