"""The part of the outbox that one tenant may fill: other tenants can commit when a tenant has reached its part."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from prometheus_client import REGISTRY

from synckairos.config import Settings
from synckairos.limits.tenant_budgets import TenantBudgets
from synckairos.limits.tenant_limits import NO_LIMITS, TenantLimits
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from tests.fixtures.previous_release_scripts import previous_release_scripts
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import RestServer, chess_body, open_rest_server

MAX_ENTRIES = 10
SHARE = 50


def limits_of(tenant: str) -> TenantLimits:
    return NO_LIMITS if tenant == "default" else TenantLimits(outbox_share=SHARE)


@asynccontextmanager
async def open_server(settings: Settings, *, max_entries: int = MAX_ENTRIES) -> AsyncIterator[RestServer]:
    """Open a server whose outbox has a limit of entries, and tenants with a part of it."""
    limited = settings.model_copy(update={"outbox_max_entries": max_entries})
    async with open_rest_server(limited, caller_identity=NamedCallers()) as server:
        server.parts.store.use_tenants(TenantBudgets(limits_of))
        yield server


async def create(server: RestServer, tenant: str, **fields: Any) -> httpx.Response:
    caller = as_caller("admin", tenant=tenant)
    return await server.client.post("/v1/sessions", json=chess_body(**fields), headers=caller)


async def counted(server: RestServer) -> dict[bytes, bytes]:
    """Return the bytes of each tenant in the outbox, as Redis has them."""
    flat = await server.parts.pipe.call("HGETALL", server.parts.store.keys.outbox_tenants(0))
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def expected(server: RestServer) -> dict[bytes, bytes]:
    """Return the bytes of each tenant in the outbox, from its entries."""
    entries = await server.outbox.read(0, 10_000, 1 << 30)
    found = server.outbox.count_tenant_bytes(entries)
    return {tenant.encode(): str(count).encode() for tenant, count in found.items()}


async def test_tenant_that_has_reached_its_part_is_refused_and_others_are_not(settings: Settings) -> None:
    async with open_server(settings) as server:
        made = [await create(server, "acme") for _ in range(MAX_ENTRIES * SHARE // 100)]
        assert {each.status_code for each in made} == {201}
        refused = await create(server, "acme")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["error"]["code"] == "STORE_UNAVAILABLE"
        assert "reached the limit outbox_share of the tenant" in refused.json()["error"]["message"]
        for tenant in ("other", "default"):
            assert (await create(server, tenant)).status_code == 201
        caller = as_caller("admin", tenant="acme")
        path = made[0].headers["location"]
        assert (await server.client.post(f"{path}/start", headers=caller)).status_code == 503
        assert (await server.client.get(path, headers=caller)).json()["data"]["version"] == 1
        labels = {"tenant": "acme", "limit": "outbox_share"}
        assert (REGISTRY.get_sample_value("synckairos_tenant_refusals_total", labels) or 0) >= 2
        assert await counted(server) == await expected(server)
        await server.drain()
        assert await counted(server) == {}
        assert (await server.client.post(f"{path}/start", headers=caller)).status_code == 200


async def test_overdue_transitions_of_the_tenant_are_committed_and_counted(settings: Settings) -> None:
    async with open_server(settings) as server:
        caller = as_caller("admin", tenant="acme")
        path = (await create(server, "acme")).headers["location"]
        assert (await server.client.post(f"{path}/start", headers=caller)).status_code == 200
        while (await create(server, "acme")).status_code == 201:
            pass
        name = f"acme/{path.rpartition('/')[2]}"
        await server.parts.rewind(name, 3_600_000)
        await server.parts.sessions.commit_overdue(name)
        assert (await server.client.get(path, headers=caller)).json()["data"]["status"] == "expired"
        assert await counted(server) == await expected(server)


async def test_bytes_of_tenants_are_counted_exactly(settings: Settings) -> None:
    async with open_server(settings, max_entries=100_000) as server:
        for tenant in ("acme", "default", "other", "acme"):
            await create(server, tenant, metadata={"much": "x" * 30_000})
            await create(server, tenant)
        everything = await counted(server)
        assert everything == await expected(server)
        assert set(everything) == {b"acme", b"other"}
        failed, *batch = await server.outbox.read(0, 4, 1 << 30)
        failed_entries = FailedEntries(server.parts.pipe, server.parts.store.keys)
        await failed_entries.record_failure(
            0,
            failed.entry_id,
            retries=0,
            error="none",
            next_attempt_in_ms=None,
            min_entry_bytes=server.outbox.limits.min_entry_bytes,
        )
        assert await counted(server) == await expected(server)
        for _ in range(2):  # the second call is a retry after a lost reply, and subtracts nothing
            await server.outbox.remove_written(
                0,
                [each.entry_id for each in batch],
                [],
                1000,
                size_bytes=sum(each.size_bytes for each in batch),
                tenant_bytes=server.outbox.count_tenant_bytes(batch),
            )
            assert await counted(server) == await expected(server) != {}


async def test_commits_of_the_default_tenant_count_nothing(settings: Settings) -> None:
    async with open_server(settings) as server:
        await create(server, "default")
        assert await counted(server) == {}


async def test_entries_of_the_previous_release_do_not_count_and_no_count_falls_below_zero(settings: Settings) -> None:
    with previous_release_scripts():
        async with open_server(settings) as previous:
            for _ in range(3):
                assert (await create(previous, "acme")).status_code == 201
    async with open_server(settings) as server:
        assert await counted(server) == {}
        await create(server, "acme")
        await create(server, "default")
        old = await server.outbox.read(0, 3, 1 << 30)
        await server.outbox.remove_written(
            0,
            [each.entry_id for each in old],
            [],
            1000,
            size_bytes=sum(each.size_bytes for each in old),
            tenant_bytes=server.outbox.count_tenant_bytes(old),
        )
        assert await counted(server) == {}
        await create(server, "acme")
        assert int((await counted(server))[b"acme"]) > 0
        await server.drain()
        assert await counted(server) == {}


async def test_count_that_a_worker_of_the_previous_release_left_too_high_is_corrected(settings: Settings) -> None:
    async with open_server(settings) as server:
        with previous_release_scripts():
            previous = Outbox(server.parts.pipe, server.parts.store.keys, OutboxLimits.from_settings(server.settings))
        for _ in range(2 * MAX_ENTRIES):
            assert (await create(server, "acme")).status_code == 201
            await create(server, "default")  # so that the outbox is never empty
            entries = await server.outbox.read(0, 10, 1 << 30)
            removed = [each for each in entries if (each.session_name or "").startswith("acme/")] + entries[:-1]
            removed = [*{each.entry_id: each for each in removed}.values()]
            await previous.remove_written(
                0, [each.entry_id for each in removed], [], 1000, size_bytes=sum(each.size_bytes for each in removed)
            )
