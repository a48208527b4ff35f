"""Two tenants in one store with equal ids: nothing of one tenant is visible or has an effect in the other tenant."""

import re
from collections.abc import Sequence
from uuid import uuid4

import pytest

from synckairos.background.timekeeper import Timekeeper
from synckairos.clock.commands import Command, Create, Delete, NewParticipant, Start, Switch, UpdateSession
from synckairos.clock.model import Status, SyncMode
from synckairos.config import Settings
from synckairos.errors import RateLimitExceeded, SessionExists, SessionNotFound
from synckairos.principal import DEFAULT_TENANT, Principal
from synckairos.service.requests import CommandRequest, CreateRequest, SessionResult
from synckairos.session_names import participant_name, session_name
from synckairos.store.connect import make_redis_client
from synckairos.store.deadlines import Deadlines
from synckairos.store.outbox import Outbox
from synckairos.store.participant_sessions import ParticipantSessionStore, SessionSummary
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import Quota, general_rate, switch_rate
from synckairos.store.read_cache import ReadCache
from synckairos.store.session_index_rebuild import SessionIndexRebuilder
from tests.background_task import running
from tests.integration.parts import Parts
from tests.principals import make_principal
from tests.waiting import eventually

pytestmark = pytest.mark.serving_login

TENANTS = (DEFAULT_TENANT, "acme")
PEOPLE = (str(uuid4()), str(uuid4()))


def caller_of(tenant: str) -> Principal:
    return make_principal("admin", tenant=tenant)


def spec(total_time_ms: int = 600_000) -> Create:
    return Create(SyncMode.PER_PARTICIPANT, tuple(NewParticipant(each, total_time_ms=total_time_ms) for each in PEOPLE))


async def create(parts: Parts, tenant: str, session_id: str, total_time_ms: int = 600_000) -> SessionResult:
    return await parts.sessions.create(CreateRequest(caller_of(tenant), spec(total_time_ms), session_id))


async def execute(
    parts: Parts, tenant: str, session_id: str, command: Command, verb: str, command_id: str | None = None
) -> SessionResult:
    return await parts.sessions.execute(
        CommandRequest(caller_of(tenant), session_id, command, verb, command_id=command_id, fingerprint=verb)
    )


async def create_in_both(parts: Parts) -> str:
    """Create a session with the same id and the same participants in both tenants, and start it."""
    session_id = str(uuid4())
    for tenant in TENANTS:
        await create(parts, tenant, session_id)
        await execute(parts, tenant, session_id, Start(), "start")
    return session_id


async def version_in(parts: Parts, tenant: str, session_id: str) -> int:
    return (await parts.sessions.read(caller_of(tenant), session_id)).session.version


async def keys_of_store(parts: Parts) -> list[str]:
    keys: Sequence[bytes] = await parts.pipe.call("KEYS", f"{parts.store.keys.prefix}:*")
    return sorted(key.decode() for key in keys)


@pytest.mark.parametrize("changed", TENANTS)
async def test_command_changes_only_the_session_of_the_callers_tenant(parts: Parts, changed: str) -> None:
    session_id = await create_in_both(parts)
    await execute(parts, changed, session_id, Switch(), "switch")
    versions = {tenant: await version_in(parts, tenant, session_id) for tenant in TENANTS}
    assert versions == {tenant: 3 if tenant == changed else 2 for tenant in TENANTS}


async def test_existing_session_is_one_of_the_own_tenant(parts: Parts) -> None:
    session_id = await create_in_both(parts)
    for tenant in TENANTS:
        with pytest.raises(SessionExists):
            await create(parts, tenant, session_id)


@pytest.mark.parametrize("owner", TENANTS)
async def test_session_of_another_tenant_does_not_exist(parts: Parts, owner: str) -> None:
    (other,) = {*TENANTS} - {owner}
    session_id = str(uuid4())
    await create(parts, owner, session_id)
    with pytest.raises(SessionNotFound):
        await parts.sessions.read(caller_of(other), session_id)
    for command, verb in ((Start(), "start"), (Delete(), "delete"), (UpdateSession(metadata={}), "update_session")):
        with pytest.raises(SessionNotFound):
            await execute(parts, other, session_id, command, verb)
    assert await version_in(parts, owner, session_id) == 1


async def test_command_id_is_executed_once_in_each_tenant(parts: Parts) -> None:
    session_id = await create_in_both(parts)
    for _ in range(2):
        for tenant in TENANTS:
            await execute(parts, tenant, session_id, Switch(), "switch", "press-1")
    assert {await version_in(parts, tenant, session_id) for tenant in TENANTS} == {3}


async def test_idempotency_key_of_a_creation_belongs_to_one_tenant(parts: Parts) -> None:
    ids = {
        tenant: {
            (
                await parts.sessions.create(
                    CreateRequest(caller_of(tenant), spec(), command_id="create-1", fingerprint="f")
                )
            ).session.session_id
            for _ in range(2)
        }
        for tenant in TENANTS
    }
    assert [len(found) for found in ids.values()] == [1, 1]
    assert ids[DEFAULT_TENANT].isdisjoint(ids["acme"])


async def test_live_sessions_are_listed_and_counted_for_one_tenant(parts: Parts) -> None:
    session_id = await create_in_both(parts)
    of_acme = str(uuid4())
    await create(parts, "acme", of_acme)
    listed = {
        tenant: {each for _, each, _ in await parts.store.live.list_live(10, max_bytes=1 << 20, tenant=tenant)}
        for tenant in TENANTS
    }
    assert listed == {DEFAULT_TENANT: {session_id}, "acme": {session_id, of_acme}}
    assert [await parts.store.live.count_unfinished(tenant) for tenant in TENANTS] == [1, 2]
    assert await parts.store.live.count_unfinished_of_all_tenants() == 3
    await execute(parts, "acme", session_id, Delete(), "delete")
    assert [await parts.store.live.count_unfinished(tenant) for tenant in TENANTS] == [1, 1]


async def test_keys_of_the_default_tenant_do_not_depend_on_other_tenants(parts: Parts) -> None:
    session_id = str(uuid4())
    await create(parts, DEFAULT_TENANT, session_id)
    before = await keys_of_store(parts)
    members = {key: await parts.pipe.call("ZRANGE", key, 0, -1) for key in before if key.endswith(":live")}
    await create(parts, "acme", session_id)
    added = {*await keys_of_store(parts)} - {*before}
    assert {re.sub(r"\{\d+\}", "{p}", key).removeprefix(f"{parts.store.keys.prefix}:") for key in added} == {
        f"{{p}}:session:acme/{session_id}", f"{{p}}:history:acme/{session_id}", "{p}:live:acme",
        "{p}:outbox:tenants", "tenants",
    }  # fmt: skip
    assert {key: await parts.pipe.call("ZRANGE", key, 0, -1) for key in members} == members


async def test_deadlines_of_all_tenants_are_kept(parts: Parts, settings: Settings) -> None:
    session_id = str(uuid4())
    async with make_redis_client(settings.redis_url, settings.redis_timeout_s) as redis:
        deadlines = Deadlines(parts.pipe, redis, parts.store.keys)
        async with running(Timekeeper(parts.sessions, deadlines, settings.partitions).run()):
            for tenant in TENANTS:
                await create(parts, tenant, session_id, total_time_ms=50)
                await execute(parts, tenant, session_id, Start(), "start")

            async def have_expired() -> bool:
                keys = [parts.store.keys.session(session_name(each, session_id)) for each in TENANTS]
                return [await parts.pipe.call("HGET", key, "status") for key in keys] == [b"expired"] * 2

            await eventually(have_expired)
    for tenant in TENANTS:
        assert (await parts.sessions.read(caller_of(tenant), session_id)).session.status is Status.EXPIRED


async def test_outbox_finds_entries_and_participants_of_one_tenant(parts: Parts) -> None:
    session_id = await create_in_both(parts)
    await execute(parts, "acme", session_id, Switch(), "switch")
    outbox = Outbox(parts.pipe, parts.store.keys)
    for tenant, versions in ((DEFAULT_TENANT, [1, 2]), ("acme", [1, 2, 3])):
        name = session_name(tenant, session_id)
        entries = await outbox.read_session_entries(name)
        assert [(each.tenant, each.session_id, each.version) for each in entries] == [
            (tenant, session_id, version) for version in versions
        ]
        assert await outbox.participant_session_names(participant_name(tenant, PEOPLE[0])) == [name]


async def test_scan_of_entries_of_an_earlier_release_finds_sessions_of_one_tenant(parts: Parts) -> None:
    session_id, keys = await create_in_both(parts), parts.store.keys
    for partition in range(keys.partitions):
        await parts.pipe.call("DEL", keys.outbox_participants(partition), keys.indexed_outbox_entries(partition))
    outbox = Outbox(parts.pipe, keys)
    for tenant in TENANTS:
        found = await outbox.participant_session_names(participant_name(tenant, PEOPLE[0]))
        assert found == [session_name(tenant, session_id)]


async def test_rebuilt_index_has_the_live_sets_of_all_tenants(parts: Parts) -> None:
    await create_in_both(parts)
    keys = parts.store.keys
    names = [keys.deadlines(0), *(keys.live_sessions(0, tenant) for tenant in TENANTS)]
    before = [await parts.pipe.call("ZRANGE", name, 0, -1, "WITHSCORES") for name in names]
    assert [len(members) for members in before] == [4, 2, 2]
    await parts.pipe.call("DEL", *names)
    assert await SessionIndexRebuilder(parts.pipe, keys).rebuild(0) == 2
    assert [await parts.pipe.call("ZRANGE", name, 0, -1, "WITHSCORES") for name in names] == before


async def test_member_of_another_tenant_in_a_live_set_is_not_listed(parts: Parts) -> None:
    session_id = await create_in_both(parts)
    live = parts.store.keys.live_sessions(0, "acme")
    await parts.pipe.call("ZADD", live, 1, session_id, 2, f"other/{session_id}")
    assert len(await parts.store.live.list_live(10, max_bytes=1 << 20, tenant="acme")) == 1
    assert await parts.pipe.call("ZRANGE", live, 0, -1) == [f"acme/{session_id}".encode()]


async def test_lists_of_participants_are_those_of_one_tenant(parts: Parts) -> None:
    session_id = await create_in_both(parts)
    lists = ParticipantSessionStore(parts.pipe, parts.store.keys)
    names = {tenant: participant_name(tenant, PEOPLE[0]) for tenant in TENANTS}
    for tenant, name in names.items():
        assert await lists.acquire_list_lease(name, 7)
        assert await lists.fill_list(name, 7, 1, [(1_000, session_id)])
        await lists.acquire_summary_leases(name, [session_id], 7)
        summary = SessionSummary(b"e 1", b'["%b"]' % tenant.encode(), b"{}")
        await lists.fill_summaries(7, name, {session_id: (summary, b"1 1")})
    for tenant, name in names.items():
        page = await lists.load_cached_page(name, None, 10)
        assert page is not None
        assert page.keys == ((1_000, session_id),)
        (row,) = (await lists.load_list_rows(name, [session_id])).values()
        assert not isinstance(row, bytes)
        assert row.summary is not None
        assert row.summary.facts == b'["%b"]' % tenant.encode()
        assert row.live is not None
    await lists.set_list_position(names["acme"], session_name("acme", session_id), None)
    await lists.drop_summary(session_name("acme", session_id))
    found, with_set = await lists.find_existing_caches(
        [session_name(tenant, session_id) for tenant in TENANTS], [*names.values()]
    )
    assert ({*found}, with_set) == ({session_id}, {*names.values()})
    left = await lists.load_cached_page(names["acme"], None, 10)
    assert left is not None
    assert left.keys == ()


async def test_read_cache_answers_for_one_tenant(parts: Parts) -> None:
    cache = ReadCache(parts.pipe, parts.store.keys)

    async def read(tenant: str, answer: bytes) -> bytes:
        async def run_query() -> bytes:
            return answer

        return await cache.read_through("lists", participant_name(tenant, PEOPLE[0]), "q", run_query, bytes)

    for tenant in TENANTS:
        assert await read(tenant, tenant.encode()) == tenant.encode()
    for tenant in TENANTS:
        assert await read(tenant, b"another answer") == tenant.encode()
    await cache.drop([], [participant_name("acme", PEOPLE[0])])
    assert [await read(tenant, b"new") for tenant in TENANTS] == [DEFAULT_TENANT.encode(), b"new"]


async def test_presses_and_requests_of_one_tenant_do_not_use_up_the_limits_of_the_other(parts: Parts) -> None:
    session_id = await create_in_both(parts)

    async def press(tenant: str) -> SessionResult:
        caller = caller_of(tenant)
        meter = RateMeter(Quota(general_rate(2), caller.limited_client_id))
        meter.count_as_press(Quota(switch_rate(2), session_name(tenant, session_id)))
        return await parts.sessions.execute(CommandRequest(caller, session_id, Switch(), "switch", meter=meter))

    for _ in range(2):
        await press("acme")
    with pytest.raises(RateLimitExceeded):
        await press("acme")
    await press(DEFAULT_TENANT)
