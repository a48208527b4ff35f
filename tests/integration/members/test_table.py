"""The table of members on a real Postgres: changes, revisions, pages, limits and the fence between tenants."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.errors import TooManyMembers, ValidationFailed
from synckairos.members import table as members_table
from synckairos.members.table import Member, MemberTable
from synckairos.postgres.migrate import read_migrations
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.postgres.pool import PostgresPool

SESSION_ID = "0197f0c4-0000-7000-8000-000000000001"
LABEL = "label:class=7b"


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(settings.database_url, "test", max_connections=4, requires_roles=True) as opened:
        yield opened


async def list_all(table: MemberTable, tenant: str, *, limit: int = 2, **filters: str | None) -> list[Member]:
    """Return all rows of a list, read by pages of `limit` rows."""
    found: list[Member] = []
    cursor = None
    while True:
        wanted = {"subject": None, "resource": None} | filters
        page = await table.read_page(tenant, cursor=cursor, limit=limit, **wanted)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_each_change_raises_the_revision_and_names_the_changed_subjects(pool: PostgresPool) -> None:
    table = MemberTable(pool)
    rows = [Member("alice", SESSION_ID, "viewer"), Member("bob", LABEL, "controller")]
    first = await table.put("acme", rows)
    assert (first.revision, sorted(first.subjects)) == (1, ["alice", "bob"])
    assert await table.put("acme", rows) == members_table.MembersChanged(tenant="acme", revision=1, subjects=())
    second = await table.put("acme", [Member("alice", SESSION_ID, "participant"), rows[1]])
    assert (second.revision, second.subjects) == (2, ("alice",))
    third = await table.delete("acme", "bob", LABEL)
    assert (third.revision, third.subjects) == (3, ("bob",))
    again = await table.delete("acme", "bob", LABEL)
    assert (again.revision, again.subjects) == (3, ())
    sets = await table.read_sets("acme", ["alice", "bob"])
    assert (sets.revision, sets.by_subject) == (3, {"alice": {SESSION_ID: "participant"}, "bob": {}})
    assert await table.read_revisions(["acme", "other"]) == {"acme": 3, "other": 0}
    never = await table.read_sets("other", ["alice"])
    assert (never.revision, never.by_subject) == (0, {"alice": {}})


async def test_pages_have_each_row_once_by_subject_by_resource_and_in_all(pool: PostgresPool) -> None:
    table = MemberTable(pool)
    rows = [Member(f"s{number}", resource, "viewer") for number in range(3) for resource in (SESSION_ID, LABEL, "x")]
    await table.put("acme", rows)
    await table.put("other", [Member("s1", LABEL, "controller")])
    in_order = sorted(rows, key=lambda each: (each.subject, each.resource))
    assert await list_all(table, "acme") == in_order
    assert await list_all(table, "acme", subject="s1") == [each for each in in_order if each.subject == "s1"]
    assert await list_all(table, "acme", resource=LABEL) == [each for each in in_order if each.resource == LABEL]
    both = await list_all(table, "acme", subject="s1", resource=LABEL)
    assert both == [Member("s1", LABEL, "viewer")]
    assert await table.names_label("other", [("class", "7b"), ("class", "8a")])
    assert not await table.names_label("other", [("class", "8a")])
    with pytest.raises(ValidationFailed):
        await table.read_page("acme", subject=None, resource=None, cursor="x", limit=2)


async def test_no_row_is_put_if_a_subject_would_have_too_many(pool: PostgresPool) -> None:
    table = MemberTable(pool, max_rows_of_subject=3)
    await table.put("acme", [Member("alice", f"label:k={number}", "viewer") for number in range(2)])
    rows = [Member("bob", LABEL, "viewer"), *(Member("alice", f"label:n={number}", "viewer") for number in range(2))]
    with pytest.raises(TooManyMembers) as refused:
        await table.put("acme", rows)
    assert refused.value.subject == "alice"
    assert len(await list_all(table, "acme")) == 2
    results = await asyncio.gather(
        *(table.put("acme", [Member("alice", f"label:r={number}", "viewer")]) for number in range(4)),
        return_exceptions=True,
    )
    assert [type(each) for each in results if isinstance(each, BaseException)] == [TooManyMembers] * 3


async def test_a_read_of_many_sets_leaves_out_the_subjects_that_do_not_fit(
    pool: PostgresPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_table, "MAX_ROWS_OF_READ", 4)
    table = MemberTable(pool)
    await table.put("acme", [Member(who, f"label:k={n}", "viewer") for who in ("a", "b", "c") for n in range(2)])
    sets = await table.read_sets("acme", ["a", "b", "c", "none"])
    assert {each: len(rows) for each, rows in sets.by_subject.items()} == {"a": 2, "b": 2}
    sets = await table.read_sets("acme", ["c", "none"])
    assert {each: len(rows) for each, rows in sets.by_subject.items()} == {"c": 2, "none": 0}


async def test_a_database_with_separated_tenants_stays_separated_during_the_migration(settings: Settings) -> None:
    """The fence must not open: instances refuse all tenants but the default tenant as long as it is open."""
    (migration,) = [each for each in read_migrations(migrations_dir()) if each.name.startswith("0021_")]
    is_fenced = (
        "SELECT bool_and(relrowsecurity AND relforcerowsecurity) FROM pg_class"
        " WHERE relname IN ('sync_members', 'sync_member_revisions')"
    )
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        for fence, expected in (("FORCE", True), ("NO FORCE", False)):
            await database.execute("DROP TABLE sync_members, sync_member_revisions")
            await database.execute(f"ALTER TABLE sync_events {fence} ROW LEVEL SECURITY".encode())
            await database.execute(migration.text.encode())
            assert await (await database.execute(is_fenced.encode())).fetchone() == (expected,)
        await database.rollback()
