"""The control channel on real stores: instances that learn each revocation, also after lost messages and data loss."""

from contextlib import nullcontext

import psycopg
import pytest

from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.errors import StoreUnavailable, TooManyRevocations
from synckairos.principal import Principal
from synckairos.revocations import channel as channel_module
from synckairos.revocations.channel import ControlChannel
from synckairos.store import control_store
from synckairos.store.control_store import ControlStore
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.control_entry import Disconnection, TenantChange
from tests.integration.realtime.store_proxy import store_proxy
from tests.integration.revocations.nodes import ADMIN, FOREVER_MS, Node, holder, open_node, until
from tests.principals import make_principal
from tests.waiting import eventually


async def test_revocation_reaches_each_running_instance_and_each_later_one(settings: Settings) -> None:
    async with open_node(settings) as here, open_node(settings) as there:
        made = await here.channel.revoke(ADMIN, token_id="t1")
        assert here.knows("t1")
        assert here.channel.is_revoked(holder("t1"))
        await until(lambda: there.knows("t1"))
        assert there.channel.list_revocations("default") == [made]
        assert there.channel.list_revocations("other") == []
        async with open_node(settings) as later:
            assert later.knows("t1")
            assert not later.knows("t2")


async def test_lost_message_heals_by_the_next_check(settings: Settings) -> None:
    async with (
        store_proxy(settings.redis_url) as proxy,
        open_node(settings) as here,
        open_node(settings, proxy.url) as there,
    ):
        proxy.loses = lambda message: b":added" in message
        await here.channel.revoke(ADMIN, token_id="t1")
        await until(lambda: there.knows("t1"))
        assert proxy.lost == 1


async def test_subscriber_without_a_connection_learns_a_revocation_by_the_next_check(settings: Settings) -> None:
    async with open_node(settings) as here, open_node(settings) as there:
        there.subscriber.unsubscribe(there.keys.control_channel)
        await here.channel.revoke(ADMIN, token_id="t1")
        await until(lambda: there.knows("t1"))


async def test_flush_of_redis_loses_no_revocation_that_an_instance_knows(
    own_settings: Settings, own_valkey: Valkey
) -> None:
    async with open_node(own_settings) as here:
        await here.channel.revoke(ADMIN, token_id="t1")
        await here.pipe.call("FLUSHALL")
        await until_stored(here, b"t1")
        async with open_node(own_settings) as later:
            assert later.knows("t1")


async def test_flush_of_redis_without_a_running_instance_restores_the_copies_of_postgres(
    own_settings: Settings, own_valkey: Valkey
) -> None:
    async with open_node(own_settings) as here:
        await here.channel.revoke(ADMIN, token_id="t1")
        await here.copy()
        await here.channel.revoke(ADMIN, token_id="t2")
        await here.copy()
    async with RedisPipe(own_settings.redis_url, 2.0) as pipe:
        await pipe.call("FLUSHALL")
    async with open_node(own_settings) as later:
        assert (later.knows("t1"), later.knows("t2")) == (True, True)
        assert len((await later.store.read_all()).entries) == 2


async def test_revocation_during_data_loss_hides_no_copy(own_settings: Settings, own_valkey: Valkey) -> None:
    """The first entry after data loss begins a new generation, before an instance added the copies of Postgres."""
    async with open_node(own_settings) as here:
        await here.channel.revoke(ADMIN, token_id="t1")
        await here.copy()
    async with RedisPipe(own_settings.redis_url, 2.0) as pipe:
        await pipe.call("FLUSHALL")
        store = ControlStore(pipe, Keys(own_settings.key_prefix))
        assert await store.append([b'{"kind": "member", "until": 4000000000000}'])
        assert await store.read_position() is None
    async with open_node(own_settings) as later:
        assert later.knows("t1")


async def test_data_loss_without_postgres_is_not_decided(own_settings: Settings, own_valkey: Valkey) -> None:
    async with open_node(own_settings, stale_after_s=0.5) as here:
        async with await psycopg.AsyncConnection.connect(own_settings.database_url, autocommit=True) as database:
            await database.execute("ALTER TABLE sync_revocations RENAME TO away")
            await here.pipe.call("FLUSHALL")
            await until(lambda: not is_current(here.channel))
            with pytest.raises(StoreUnavailable):
                here.channel.is_revoked(holder("t1"))
            assert not here.channel.is_revoked(Principal.anonymous_admin())
            await database.execute("ALTER TABLE away RENAME TO sync_revocations")
        await until(lambda: is_current(here.channel))


async def test_failover_that_lost_the_last_revocation_gets_it_back_from_an_instance(settings: Settings) -> None:
    async with open_node(settings) as here:
        await here.channel.revoke(ADMIN, token_id="t1")
        (entry,) = (await here.store.read_all()).entries
        await here.pipe.call("ZREM", here.keys.control_entries, entry)
        await here.pipe.call("HINCRBY", here.keys.control_position, "number", -1)
        await until_stored(here, b"t1")
        async with open_node(settings) as later:
            assert later.knows("t1")


async def test_keys_of_a_wrong_type_are_replaced(settings: Settings) -> None:
    async with open_node(settings) as here:
        await here.channel.revoke(ADMIN, token_id="t1")
        await here.pipe.call("SET", here.keys.control_entries, "x")
        await until_stored(here, b"t1")
        await here.pipe.call("SET", here.keys.control_position, "x")
        await until_stored(here, b"t1")


async def test_garbage_on_the_channel_and_in_the_set_changes_nothing(settings: Settings) -> None:
    async with open_node(settings) as here:
        await here.pipe.call("PUBLISH", here.keys.control_channel, b"\xff\x00")
        await here.store.append([b"garbage"])
        await here.channel.revoke(ADMIN, token_id="t1")
        await until(lambda: here.knows("t1"))
        await here.copy()
        (left,) = (await here.store.read_all()).entries
        assert b"t1" in left


async def test_revocation_is_forgotten_when_no_token_can_be_valid(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "LEEWAY_MS", 300)
    async with open_node(settings) as here:
        here.channel._max_life_ms = 0
        await here.channel.revoke(ADMIN, token_id="t1")
        assert here.knows("t1")
        await here.copy()
        await until(lambda: not here.knows("t1"))
        await here.copy()
        assert list((await here.store.read_all()).entries) == []
        assert list(await here.table.read(0)) == []


async def test_full_channel_refuses_a_revocation(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_store, "MAX_ENTRIES", 1)
    async with open_node(settings) as here:
        await here.channel.revoke(ADMIN, token_id="t1")
        with pytest.raises(TooManyRevocations):
            await here.channel.revoke(ADMIN, token_id="t2")
        assert not here.knows("t2")


async def test_tenant_gets_half_of_the_channel_and_leaves_places_to_others_and_to_operators(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 16 places, sign-outs of a tenant get 2, its controllers 4, its admins 8. Others get half of the rest."""
    monkeypatch.setattr(control_store, "MAX_ENTRIES", 16)
    other = make_principal("admin", "root", tenant="other")
    async with open_node(settings) as here:
        for principal, is_sign_out, places in (
            (holder("t0"), True, 2),
            (holder("t0"), False, 2),
            (ADMIN, True, 4),
            (other, True, 4),
        ):
            for at in range(places + 1):
                name = f"{principal.tenant}-{places}-{at}"
                token_id, credential = (name, None) if is_sign_out else (None, name)
                with pytest.raises(TooManyRevocations) if at == places else nullcontext():
                    await here.channel.revoke(principal, token_id=token_id, credential=credential)
        change = TenantChange(tenant="default", revision=1, is_open=False, at_ms=0, until_ms=FOREVER_MS)
        await here.channel.append(change)
        await here.channel.append(change)  # the same entry again
        three = [
            Disconnection(entry_id=each, tenant="new", at_ms=0, until_ms=FOREVER_MS, subject="x") for each in "abc"
        ]
        with pytest.raises(TooManyRevocations):
            await here.channel.append(*three)
        assert [here.knows(f"other-4-{at}") for at in (3, 4)] == [False, False]  # of another tenant
        assert [here.knows(f"default-4-{at}") for at in (3, 4)] == [True, False]


async def until_stored(node: Node, part: bytes) -> None:
    """Wait until Redis has an entry with `part`, and the set is complete."""

    async def is_there() -> bool:
        stored = await node.store.read_all()
        return stored.is_complete and any(part in each for each in stored.entries)

    await eventually(is_there)


def is_current(channel: ControlChannel) -> bool:
    try:
        channel.require_current()
    except StoreUnavailable:
        return False
    return True
