"""The cache of members on real stores: changes, lost announcements, races, bounds, and stores that do not answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator
from contextlib import contextmanager, nullcontext

import orjson
import psycopg
import pytest

from synckairos.config import Settings
from synckairos.members import member_cache
from synckairos.members.table import Member, MemberSets, MemberTable
from synckairos.store.member_copies import COPY_TTL_MS, MAX_COPY_BYTES
from synckairos.wire.control_entry import EffectiveEntry, MembersChange
from tests.integration.members.member_nodes import LABEL, SESSION_ID, UNKNOWN, MemberNode, open_member_node
from tests.integration.realtime.store_proxy import StoreProxy, store_proxy
from tests.integration.revocations.nodes import until
from tests.waiting import eventually

NEVER_S = 3_600.0


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[MemberNode]:
    async with open_member_node(settings, refresh_s=NEVER_S) as opened:
        yield opened


class CountedReads:
    """Counts the queries for sets of a table, and can hold them after they have read."""

    def __init__(self, table: MemberTable, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.has_read = asyncio.Event()
        self._read = table.read_sets
        monkeypatch.setattr(table, "read_sets", self._counted)

    async def _counted(self, tenant: str, subjects: Collection[str]) -> MemberSets:
        self.batches.append(sorted(subjects))
        found = await self._read(tenant, subjects)
        self.has_read.set()
        await self.gate.wait()
        return found


@contextmanager
def without_redis(proxy: StoreProxy) -> Iterator[None]:
    """Abort the connections of a proxy to Redis, and refuse new ones inside the block."""
    target_url, proxy.target_url = proxy.target_url, "redis://127.0.0.1:1/0"
    proxy.cut()
    try:
        yield
    finally:
        proxy.target_url = target_url


@contextmanager
def without_postgres(table: MemberTable, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the queries of a table fail inside the block, as those of a database that is not migrated do."""
    with monkeypatch.context() as patch:
        patch.setattr(member_cache, "RETRY_S", 0.0)
        patch.setattr("synckairos.members.table._statement", lambda _: b"SELECT FROM no_such_table")
        yield


async def test_change_reaches_each_instance_and_a_look_up_costs_no_further_query(
    settings: Settings, node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.put("bob", "viewer")
    async with open_member_node(settings, refresh_s=NEVER_S) as other:
        reads = CountedReads(other.table, monkeypatch)
        assert await other.role_of("alice") is None
        await node.put("alice", "viewer", LABEL)

        async def has_role() -> bool:
            return await other.role_of("alice", **{"class": "7b"}) == "viewer"

        await eventually(has_role)
        assert await other.role_of("alice", **{"class": "8a"}) is None
        await node.put("alice", "participant")
        await eventually(lambda: _is(other.role_of("alice"), "participant"))
        reads.batches.clear()
        for _ in range(3):
            assert await other.role_of("alice", **{"class": "7b"}) == "participant"
        assert reads.batches == []
        await node.changes.delete("default", "alice", SESSION_ID)
        await eventually(lambda: _is(other.role_of("alice"), None))


async def _is(found: Awaitable[str | None], expected: str | None) -> bool:
    return await found == expected


async def test_tenant_without_members_costs_one_query(node: MemberNode, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = CountedReads(node.table, monkeypatch)
    for subject in ("alice", "bob", "carol"):
        assert await node.role_of(subject) is None
    assert reads.batches == [["alice"]]
    await node.put("bob", "viewer")
    assert [await node.role_of(each) for each in ("alice", "bob", "dave")] == [None, "viewer", None]


async def test_subjects_that_wait_at_the_same_time_share_a_query(
    node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.put("s0", "viewer")
    reads = CountedReads(node.table, monkeypatch)
    reads.gate.clear()
    subjects = [f"s{number}" for number in range(20)]
    asked = [asyncio.create_task(node.role_of(each)) for each in subjects * 2]
    await reads.has_read.wait()
    reads.gate.set()
    assert await asyncio.gather(*asked) == (["viewer"] + [None] * 19) * 2
    assert [len(each) for each in reads.batches] in ([20], [1, 19])


async def test_rows_that_were_read_before_a_change_are_not_used_after_it(
    node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read returns the old rows after the change was committed and announced."""
    await node.put("alice", "controller")
    reads = CountedReads(node.table, monkeypatch)
    reads.gate.clear()
    asked = asyncio.create_task(node.role_of("alice"))
    await reads.has_read.wait()
    await node.put("alice", "viewer")
    reads.gate.set()
    assert await asked == "viewer"
    assert len(reads.batches) == 2


async def test_late_reader_does_not_store_a_copy_of_the_rows_before_a_change(
    settings: Settings, node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another instance has read the old rows, and stores its copy after the change, before the announcement arrives."""
    await node.put("alice", "controller")
    async with store_proxy(settings.redis_url) as proxy, open_member_node(settings, proxy.url) as other:
        proxy.loses = lambda message: b":added" in message
        reads = CountedReads(other.table, monkeypatch)
        reads.gate.clear()
        asked = asyncio.create_task(other.find("alice").load())
        await reads.has_read.wait()
        await node.put("alice", "viewer")
        reads.gate.set()
        await asked
        copies = await node.copies.read("default", ["alice"])
        assert copies in ({}, {"alice": orjson.dumps({SESSION_ID: "viewer"})})
        with without_postgres(node.table, monkeypatch):
            assert await node.role_of("alice") in (UNKNOWN, "viewer")


async def test_no_copy_is_stored_during_a_change(node: MemberNode) -> None:
    """A reader that begins during the transaction of a change sees the old rows."""
    await node.put("alice", "controller")
    assert await node.role_of("alice") == "controller"
    copy = {"alice": orjson.dumps({SESSION_ID: "controller"})}

    async def has_copy() -> bool:
        return await node.copies.read("default", ["alice"]) == copy

    await eventually(has_copy)
    await node.copies.block("default", ["alice"])
    assert await node.copies.read("default", ["alice"]) == {}
    leases = await node.copies.lease("default", ["alice", "bob"])
    assert leases.keys() == {"bob"}
    await node.copies.block("default", ["bob"])
    await node.copies.put("default", {"bob": b"{}"}, leases)
    assert await node.copies.read("default", ["bob"]) == {}
    await node.copies.unblock("default", ["alice", "bob"])
    leases = await node.copies.lease("default", ["bob"])
    assert await node.copies.lease("default", ["bob"]) == {}
    await node.copies.put("default", {"bob": b"{}"}, leases)
    assert await node.copies.read("default", ["alice", "bob"]) == {"bob": b"{}"}


async def test_announcement_that_was_never_made_is_found_by_the_revision(
    node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of the change died after its commit."""
    await node.put("alice", "controller")
    assert await node.role_of("alice") == "controller"
    await node.table.put("default", [Member("alice", SESSION_ID, "viewer")])
    assert await node.role_of("alice") == "controller"
    node.expired.clear()
    assert await node.cache.compare_revisions()
    assert node.expired == [], "the announcement can still arrive"
    assert await node.cache.compare_revisions()
    assert node.expired == [{"alice"}]
    assert await node.role_of("alice") == "viewer"
    for _ in range(3):
        assert await node.cache.compare_revisions()
    assert node.expired == [{"alice"}]


async def test_rows_are_read_again_after_the_channel_was_not_current(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(member_cache, "CHECK_S", 0.05)
    async with (
        store_proxy(settings.redis_url) as proxy,
        open_member_node(settings, proxy.url, stale_after_s=0.5) as node,
    ):
        await node.put("alice", "controller")
        assert await node.role_of("alice") == "controller"
        node.expired.clear()
        with without_redis(proxy):
            await until(lambda: not node.find("alice").is_current)
            await node.table.put("default", [Member("alice", SESSION_ID, "viewer")])
        await until(lambda: {"alice"} in node.expired)
        await eventually(lambda: _is(node.role_of("alice"), "viewer"))


@pytest.mark.parametrize("is_cached", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("has_copy", [True, False], ids=["copy", "no-copy"])
@pytest.mark.parametrize("has_redis", [True, False], ids=["redis", "no-redis"])
@pytest.mark.parametrize("has_postgres", [True, False], ids=["postgres", "no-postgres"])
async def test_stores_that_do_not_answer_give_no_role_and_hide_no_session(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    is_cached: bool,
    has_copy: bool,
    has_redis: bool,
    has_postgres: bool,
) -> None:
    async with (
        store_proxy(settings.redis_url) as proxy,
        open_member_node(settings, proxy.url, refresh_s=NEVER_S) as node,
    ):
        await node.put("alice", "viewer")
        if is_cached:
            await node.find("alice").load()
            if not has_copy:
                await node.copies.unblock("default", ["alice"])
        elif has_copy:
            leases = await node.copies.lease("default", ["alice"])
            await node.copies.put("default", {"alice": orjson.dumps({SESSION_ID: "viewer"})}, leases)
        expected = "viewer" if is_cached or has_postgres or (has_copy and has_redis) else UNKNOWN
        with (
            nullcontext() if has_redis else without_redis(proxy),
            nullcontext() if has_postgres else without_postgres(node.table, monkeypatch),
        ):
            assert await node.role_of("alice") == expected


async def test_rows_of_a_copy_are_replaced_when_postgres_answers_again(
    node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.put("alice", "viewer")
    leases = await node.copies.lease("default", ["alice"])
    await node.copies.put("default", {"alice": orjson.dumps({SESSION_ID: "controller"})}, leases)
    with without_postgres(node.table, monkeypatch):
        assert await node.role_of("alice") == "controller"
        assert not await node.cache.compare_revisions()
    monkeypatch.setattr(member_cache, "RETRY_S", 0.0)
    assert await node.cache.compare_revisions()
    assert await node.role_of("alice") == "viewer"


@pytest.mark.parametrize("copy", [b"[]", b"{", b'{"x":"admin"}', b'{"x":1}'], ids=["list", "cut", "admin", "number"])
async def test_invalid_copy_is_reported_and_gives_no_role(
    node: MemberNode, monkeypatch: pytest.MonkeyPatch, copy: bytes
) -> None:
    leases = await node.copies.lease("default", ["alice"])
    await node.copies.put("default", {"alice": copy}, leases)
    with without_postgres(node.table, monkeypatch):
        assert await node.role_of("alice") == UNKNOWN


async def test_memory_is_bounded_by_subjects_and_by_rows(settings: Settings) -> None:
    async with open_member_node(settings, max_subjects=3, max_rows=4) as node:
        await node.changes.put(
            "default", [Member(f"s{n}", f"label:k={k}", "viewer") for n in range(4) for k in range(2)]
        )
        held = [node.find(f"s{number}") for number in range(4)]
        for each in held:
            await each.load()
        assert [each.rows is None for each in held] == [True, True, False, False]
        assert node.cache.row_count == 4
        await held[0].load()
        assert [each.rows is None for each in held] == [False, True, True, False]


async def test_copy_expires_and_large_rows_have_no_copy(node: MemberNode, monkeypatch: pytest.MonkeyPatch) -> None:
    leases = await node.copies.lease("default", ["alice", "bob"])
    await node.copies.put("default", {"alice": b"{}", "bob": b"x" * (MAX_COPY_BYTES + 1)}, leases)
    assert await node.copies.read("default", ["alice", "bob"]) == {"alice": b"{}"}
    left_ms = await node.node.pipe.call("PTTL", node.node.keys.member_copy("default", "alice"))
    assert COPY_TTL_MS - 60_000 < left_ms <= COPY_TTL_MS


async def test_members_of_another_tenant_are_not_read(node: MemberNode) -> None:
    await node.put("alice", "controller", tenant="acme")
    assert await node.role_of("alice") is None
    assert await node.role_of("alice", tenant="acme") == "controller"
    node.expired.clear()
    await node.put("alice", "viewer", tenant="acme")
    assert await node.role_of("alice", tenant="acme") == "viewer"
    assert await node.role_of("alice") is None
    assert await node.copies.read("default", ["alice"]) != await node.copies.read("acme", ["alice"])


async def test_change_of_many_subjects_is_one_announcement(node: MemberNode) -> None:
    await node.put("s0", "viewer")
    assert [await node.role_of(each) for each in ("s0", "outside")] == ["viewer", None]
    node.expired.clear()
    entries = list[EffectiveEntry]()
    node.node.channel.add_listener(entries.append)
    await node.changes.put("default", [Member(f"s{number}", SESSION_ID, "viewer") for number in range(1_000)])
    assert node.expired == [{"s0", "outside"}]
    (entry,) = entries
    assert isinstance(entry, MembersChange)
    assert (entry.revision, entry.subjects) == (2, None)


async def test_change_without_an_announcement_is_completed_by_a_repeated_call(
    settings: Settings, node: MemberNode
) -> None:
    assert await node.role_of("alice") is None
    await node.table.put("default", [Member("alice", SESSION_ID, "viewer")])
    again = await node.put("alice", "viewer")
    assert (again.revision, again.subjects) == (1, ())
    assert await node.role_of("alice") == "viewer"
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        rows = await (await database.execute("SELECT tenant, revision FROM sync_member_revisions")).fetchall()
    assert rows == [("default", 1)]
