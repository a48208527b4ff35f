"""The reconciliation of members on real stores: its difference, its refusals, its announcement, and outages."""

from collections.abc import AsyncIterator, Iterable
from contextlib import nullcontext
from typing import Any

import pytest

from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.members import reconciliation
from synckairos.members.reconciliation import MemberReconciler, Reconciliation
from synckairos.members.source_rows import SourceRefused, SourceRows
from synckairos.members.table import Member, MemberTable
from synckairos.postgres.access import tenant_access
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from tests.integration.members.member_nodes import MemberNode, open_member_node
from tests.integration.members.member_source import Row, render_rows
from tests.integration.members.test_member_cache import without_redis
from tests.integration.realtime.store_proxy import store_proxy
from tests.ports import free_port
from tests.waiting import eventually

CLASS, OTHER = "label:class=7b", "label:class=8a"


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[MemberNode]:
    async with open_member_node(settings) as opened:
        yield opened


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(settings.database_url, "test", max_connections=2, requires_roles=True) as opened:
        yield opened


async def reconcile(
    pool: PostgresPool, node: MemberNode, rows: Iterable[Row], percent: int = 20, tenant: str = "acme", **options: Any
) -> Reconciliation:
    is_dry_run = options.pop("is_dry_run", False)
    with SourceRows(tenant, 1 << 30) as source:
        source.add(render_rows(rows))
        source.finish(has_marked_end=True)
        reconciler = MemberReconciler(pool, node.changes, **options)
        return await reconciler.reconcile(tenant, source, percent, is_dry_run=is_dry_run)


async def refusal(pool: PostgresPool, node: MemberNode, rows: Iterable[Row], **options: Any) -> dict[str, Any]:
    with pytest.raises(SourceRefused) as caught:
        await reconcile(pool, node, rows, **options)
    return caught.value.report


async def members_of(pool: PostgresPool, tenant: str = "acme") -> set[Row]:
    page = await MemberTable(pool).read_page(tenant, subject=None, resource=None, cursor=None, limit=1000)
    return {(each.subject, each.resource, each.role) for each in page.items}


@pytest.mark.pooler
async def test_difference_is_applied_and_a_second_run_changes_nothing(pool: PostgresPool, node: MemberNode) -> None:
    table = MemberTable(pool)
    kept = [Member(f"kept-{number}", CLASS, "viewer") for number in range(8)]
    await table.put("acme", [*kept, Member("gone", CLASS, "viewer"), Member("raised", CLASS, "viewer")])
    await table.put("other", [Member("gone", CLASS, "viewer")])
    wanted = [
        *((each.subject, CLASS, "viewer") for each in kept),
        ("raised", CLASS, "controller"),
        ("new\\", f"{OTHER}é", "participant"),
    ]
    first = await reconcile(pool, node, [*wanted, wanted[0]], percent=10)
    numbers = {"added": 1, "changed": 1, "removed": 1, "unchanged": 8}
    assert first.report() == {"rows": 11, "repeated": 1, **numbers}
    assert (first.change.revision, sorted(first.change.subjects)) == (2, ["gone", "new\\", "raised"])
    assert await members_of(pool) == set(wanted)
    again = await reconcile(pool, node, wanted, percent=0)
    assert again.report() == {"rows": 10, "repeated": 0, "added": 0, "changed": 0, "removed": 0, "unchanged": 10}
    assert (again.change.revision, again.change.subjects) == (2, ())
    # The rows of another tenant with the same subject stay.
    assert await members_of(pool, "other") == {("gone", CLASS, "viewer")}


@pytest.mark.pooler
async def test_share_of_removed_members_is_limited_and_a_larger_share_can_be_confirmed(
    pool: PostgresPool, node: MemberNode
) -> None:
    before = [(f"subject-{number}", CLASS, "viewer") for number in range(10)]
    await reconcile(pool, node, before)
    after = [*before[3:], ("new", CLASS, "viewer")]
    numbers = {"rows": 8, "repeated": 0, "added": 1, "changed": 0, "removed": 3, "unchanged": 7}
    assert await refusal(pool, node, after, percent=29) == {"refused": "share_exceeded", **numbers}
    assert await members_of(pool) == set(before)
    assert (await reconcile(pool, node, after, percent=30)).report() == numbers
    assert await members_of(pool) == set(after)


async def test_dry_run_changes_nothing(pool: PostgresPool, node: MemberNode) -> None:
    result = await reconcile(pool, node, [("ada", CLASS, "viewer")], is_dry_run=True)
    assert (result.added, result.change.revision, result.change.subjects) == (1, 0, ())
    assert await members_of(pool) == set()


async def test_rows_that_contradict_each_other_are_named_by_line(pool: PostgresPool, node: MemberNode) -> None:
    rows = [("ada", CLASS, "viewer"), ("bob", CLASS, "viewer"), ("ada", CLASS, "controller"), ("bob", OTHER, "viewer")]
    report = await refusal(pool, node, rows)
    assert (report["refused"], report["invalid_rows"]) == ("invalid_rows", 1)
    fault = "has another role than an earlier line with its subject and resource"
    assert report["faults"] == [{"line": 3, "fault": fault}]
    assert await members_of(pool) == set()


async def test_subject_with_too_many_rows_is_named_by_its_first_line(pool: PostgresPool, node: MemberNode) -> None:
    rows = [("bob", CLASS, "viewer"), *(("ada", f"{CLASS}{number}", "viewer") for number in range(4))]
    report = await refusal(pool, node, rows, max_rows_of_subject=3)
    assert report["faults"] == [{"line": 2, "fault": "its subject has more than 3 rows"}]
    assert (await reconcile(pool, node, rows, max_rows_of_subject=4)).added == 5


async def test_rows_that_do_not_change_are_not_written(pool: PostgresPool, node: MemberNode) -> None:
    rows = [(f"subject-{number}", CLASS, "viewer") for number in range(10)]
    await reconcile(pool, node, rows)
    before = await _row_versions(pool)
    await reconcile(pool, node, [*rows[1:], ("subject-0", CLASS, "participant")])
    after = await _row_versions(pool)
    assert [subject for subject in before if before[subject] != after[subject]] == ["subject-0"]


@pytest.mark.parametrize("number", [1, 30], ids=["announced by name", "announced for all subjects"])
async def test_change_reaches_an_instance_that_has_the_members_in_memory(
    pool: PostgresPool, node: MemberNode, settings: Settings, number: int
) -> None:
    await reconcile(pool, node, [(f"subject-{each}", CLASS, "viewer") for each in range(number)])
    async with open_member_node(settings) as other:
        assert await _roles(other, number) == {"viewer"}
        await reconcile(pool, node, [(f"subject-{each}", CLASS, "participant") for each in range(number)])

        async def are_changed() -> bool:
            return await _roles(other, number) == {"participant"}

        await eventually(are_changed)


async def _roles(node: MemberNode, number: int) -> set[str | None]:
    return {await node.role_of(f"subject-{each}", tenant="acme", **{"class": "7b"}) for each in range(number)}


async def test_copies_of_changed_subjects_are_removed_before_the_commit(
    pool: PostgresPool, node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = [f"subject-{number}" for number in range(5)]
    await reconcile(pool, node, [(each, CLASS, "viewer") for each in subjects])
    leases = await node.copies.lease("acme", subjects)
    await node.copies.put("acme", dict.fromkeys(subjects, b"copy"), leases)
    monkeypatch.setattr(reconciliation, "_SUBJECTS_PER_PAGE", 2)
    monkeypatch.setattr(reconciliation, "_KEPT_SUBJECTS", 3)
    changed = await reconcile(pool, node, [(each, CLASS, "participant") for each in subjects[1:]])
    assert (changed.changed, changed.removed, len(changed.change.subjects)) == (4, 1, 3)
    assert await node.copies.read("acme", subjects) == {}
    # A subject that is not kept in memory stays blocked for a while, so that no older copy is stored for it.
    kept = {*changed.change.subjects}
    assert {*await node.copies.lease("acme", subjects)} == kept


@pytest.mark.parametrize(
    ("has_redis", "has_postgres"),
    [(False, True), (True, False), (False, False)],
    ids=["without redis", "without postgres", "without both"],
)
async def test_nothing_changes_without_a_store(
    pool: PostgresPool, settings: Settings, has_redis: bool, has_postgres: bool
) -> None:
    before = {("ada", CLASS, "viewer")}
    away = f"postgresql://127.0.0.1:{free_port()}/synckairos"
    async with (
        store_proxy(settings.redis_url) as proxy,
        open_member_node(settings, proxy.url) as node,
        PostgresPool(settings.database_url if has_postgres else away, "test", max_connections=1, timeout_s=1) as used,
    ):
        await reconcile(pool, node, before)
        with (
            nullcontext() if has_redis else without_redis(proxy),
            pytest.raises(StoreUnavailable),
            translate_postgres_errors(),
        ):
            await reconcile(used, node, [*before, ("bob", CLASS, "viewer")])
        assert await members_of(pool) == before
        # The same source is applied as soon as the stores are back.
        await reconcile(pool, node, [*before, ("bob", CLASS, "viewer")])
        assert len(await members_of(pool)) == 2


async def _row_versions(pool: PostgresPool) -> dict[str, tuple[str, str]]:
    """Return the transactions that last wrote or locked the rows of the tenant `acme`, by subject."""
    statement = b"SELECT subject, xmin::text, xmax::text FROM sync_members ORDER BY subject"
    rows = await pool.fetch(statement, access=tenant_access("acme"))
    return {subject: (xmin, xmax) for subject, xmin, xmax in rows}
