"""The tenants in the memory of an instance: announcements, reads from Postgres, and which credentials are accepted."""

from collections.abc import AsyncIterator

import pytest

from synckairos.config import Settings
from synckairos.errors import Forbidden, IdempotencyKeyReused, NotFound, TenantDeleted, TenantExists, TooManyTenants
from synckairos.frozen_replace import replace
from synckairos.limits.tenant_limits import DEFAULT_LIMITS, NO_LIMITS
from synckairos.tenants.active_tenants import tenant_change
from synckairos.tenants.table import TenantChanges, TenantStatus
from tests.integration.revocations.nodes import until
from tests.integration.tenants.fence import lower_fence, raise_fence
from tests.integration.tenants.tenant_nodes import TenantNode, new_tenant, open_tenant_node

pytestmark = pytest.mark.serving_login


@pytest.fixture
async def here(settings: Settings) -> AsyncIterator[TenantNode]:
    async with open_tenant_node(settings, max_tenants=3) as node:
        yield node


async def test_only_the_default_tenant_is_accepted_before_the_tenants_are_read(settings: Settings) -> None:
    async with open_tenant_node(settings, reads=False) as node:
        assert (node.refusal_of("default"), node.refusal_of("acme")) == ("", "STORE_UNAVAILABLE")
        assert await node.tenants.refresh()
        assert (node.refusal_of("default"), node.refusal_of("acme")) == ("", "")


async def test_other_tenants_are_refused_while_the_database_does_not_separate_them(settings: Settings) -> None:
    await lower_fence(settings)
    async with open_tenant_node(settings) as node:
        await node.add("acme")
        assert (node.refusal_of("default"), node.refusal_of("acme")) == ("", "TENANT_UNKNOWN")
        assert not node.tenants.has_other_tenants
        await raise_fence(settings)
        assert await node.tenants.refresh()
        assert node.refusal_of("acme") == ""
        assert node.tenants.has_other_tenants


async def test_suspension_reaches_another_instance_also_without_postgres(settings: Settings, here: TenantNode) -> None:
    async with open_tenant_node(settings) as there:
        await here.add("acme")
        suspended = await here.set_status("acme", "suspended")
        await there.until_refusal_is("acme", "TENANT_SUSPENDED")
        assert (here.closed, there.closed) == (["acme"], ["acme"])
        assert await here.set_status("acme", "suspended") == suspended
        await here.set_status("acme", "active")
        await there.until_refusal_is("acme", "")
        assert there.closed == ["acme"]
    async with open_tenant_node(settings, reads=False) as blind:
        await here.set_status("acme", "suspended")
        await blind.until_refusal_is("acme", "TENANT_SUSPENDED")


async def test_older_announcement_does_not_undo_a_later_change(settings: Settings, here: TenantNode) -> None:
    async with open_tenant_node(settings, reads=False) as there:
        created = await here.table.add(new_tenant("acme"), 1_900_000_000_000)
        await here.set_status("acme", "suspended")
        await there.until_refusal_is("acme", "TENANT_SUSPENDED")
        await here.node.channel.append(tenant_change(created[0]))
        await here.node.channel.append(tenant_change(replace(created[0], name="last", status="suspended")))
        await there.until_refusal_is("last", "TENANT_SUSPENDED")
        assert there.refusal_of("acme") == here.refusal_of("acme") == "TENANT_SUSPENDED"


async def test_change_that_was_not_announced_is_found_by_the_next_read(settings: Settings, here: TenantNode) -> None:
    await here.add("acme")
    await here.table.change("acme", TenantChanges(status="suspended"), 1_900_000_000_000)
    assert here.refusal_of("acme") == ""
    assert await here.tenants.refresh()
    assert (here.refusal_of("acme"), here.closed) == ("TENANT_SUSPENDED", ["acme"])


async def test_only_registered_tenants_are_accepted_if_this_is_required(settings: Settings, here: TenantNode) -> None:
    async with open_tenant_node(settings, requires_registration=True) as strict:
        assert (strict.refusal_of("default"), strict.refusal_of("acme")) == ("", "TENANT_UNKNOWN")
        await here.add("acme")
        await strict.until_refusal_is("acme", "")
    assert here.refusal_of("never-registered") == ""


async def test_limits_and_origins_of_a_tenant_are_those_that_an_operator_set(here: TenantNode) -> None:
    assert here.tenants.limits_of("acme") == DEFAULT_LIMITS
    assert here.tenants.limits_of("default") == NO_LIMITS
    await here.add("acme", limit_values={"sockets": 7, "later_release": 1}, origins=("https://a.example",))
    limits = here.tenants.limits_of("acme")
    assert (limits.sockets, limits.requests_per_min) == (7, DEFAULT_LIMITS.requests_per_min)
    assert here.tenants.tenants_with_origins == {"acme": ("https://a.example",)}
    assert here.tenants.all_origins == frozenset({"https://a.example"})
    await here.tenants.change("acme", TenantChanges(limit_values={"sockets": None}, has_origins=True))
    assert (here.tenants.limits_of("acme"), here.tenants.tenants_with_origins) == (DEFAULT_LIMITS, {})
    await here.tenants.change("acme", TenantChanges(origins=("https://b.example",), has_origins=True))
    await here.set_status("acme", "suspended")
    assert here.tenants.all_origins == frozenset()


async def test_deleted_tenant_stays_refused_and_cannot_be_changed_or_created_again(here: TenantNode) -> None:
    await here.add("acme")
    await here.set_status("acme", "deleting")
    with pytest.raises(TenantDeleted):
        await here.set_status("acme", "active")
    await here.set_status("acme", "deleted")
    assert here.refusal_of("acme") == "TENANT_UNKNOWN"
    with pytest.raises(TenantDeleted):
        await here.tenants.change("acme", TenantChanges(description="again"))
    with pytest.raises(TenantExists):
        await here.add("acme")


async def test_default_tenant_cannot_be_closed(here: TenantNode) -> None:
    await here.add("default", limit_values={"sockets": 3})
    closing: tuple[TenantStatus, ...] = ("suspended", "deleting")
    for status in closing:
        with pytest.raises(Forbidden, match="The default tenant cannot be suspended or deleted"):
            await here.set_status("default", status)
    assert (here.refusal_of("default"), here.tenants.limits_of("default").sockets) == ("", 3)


async def test_number_of_tenants_is_limited_and_deleted_tenants_do_not_count(here: TenantNode) -> None:
    for name in ("a", "b", "c"):
        await here.add(name)
    with pytest.raises(TooManyTenants, match="At most 3 tenants"):
        await here.add("d")
    await here.set_status("a", "deleting")
    await here.set_status("a", "deleted")
    await here.add("d")
    with pytest.raises(NotFound, match="There is no tenant e"):
        await here.set_status("e", "suspended")


async def test_repeated_request_returns_the_tenant_and_another_request_is_refused(here: TenantNode) -> None:
    first, is_replay = await here.tenants.add(new_tenant("a", request_id="r", request_fingerprint="f"))
    assert not is_replay
    assert await here.tenants.add(new_tenant("a", request_id="r", request_fingerprint="f")) == (first, True)
    with pytest.raises(IdempotencyKeyReused):
        await here.tenants.add(new_tenant("b", request_id="r", request_fingerprint="g"))


async def test_tenants_are_read_again_after_an_announcement(settings: Settings, here: TenantNode) -> None:
    async with open_tenant_node(settings) as there:
        await here.add("acme", limit_values={"sockets": 9})
        await until(lambda: there.tenants.limits_of("acme").sockets == 9)
