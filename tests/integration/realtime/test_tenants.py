"""Suspended tenants on open sockets and streams: each one ends, in both dialects and on each instance."""

from contextlib import suppress

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from synckairos.config import Settings
from synckairos.tenants.table import TenantChanges
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, receive, serving
from tests.integration.realtime.v3_client import V3
from tests.integration.tenants.fence import raise_fence
from tests.integration.tenants.tenant_nodes import new_tenant

LIFE = CredentialLifeOptions()
SUSPENDED = TenantChanges(status="suspended")


def token_of(tenant: str) -> str:
    return make_token(role="admin", tenant=tenant)


async def end_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Wait for the end of a connection. Return its close code and its reason."""
    with suppress(ConnectionClosed):
        while True:
            await receive(socket)
    return socket.close_code, socket.close_reason


async def test_sockets_of_a_suspended_tenant_end_on_each_instance_and_those_of_others_stay(settings: Settings) -> None:
    await raise_fence(settings)
    async with serving(settings, credential_life=LIFE) as here, serving(settings, credential_life=LIFE) as there:
        await here.tenants.add(new_tenant("acme"))

        async def open_v3(instance: Instance, tenant: str) -> ClientConnection:
            socket = await connect(
                instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=bearer(token_of(tenant))
            )
            assert (await receive(socket))["type"] == "AUTHENTICATED"
            return socket

        v3 = [await open_v3(instance, "acme") for instance in (here, there)]
        v2 = await connect(
            f"{there.ws_url}?sessionId=5f0c954b-8d0a-4f4e-b1a5-7f7d3a0f0d11",
            proxy=None,
            additional_headers=bearer(token_of("acme")),
        )
        others = [await open_v3(instance, "default") for instance in (here, there)]
        await here.tenants.change("acme", SUSPENDED)
        assert [await end_of(each) for each in v3] == [(4503, "tenant suspended")] * 2
        assert await end_of(v2) == (1008, "tenant suspended")
        for other in others:
            assert await (await other.ping()) >= 0
            await other.close()


async def test_credential_of_a_suspended_tenant_opens_no_socket_and_no_stream(settings: Settings) -> None:
    await raise_fence(settings)
    async with serving(settings, credential_life=LIFE) as instance:
        await instance.tenants.add(new_tenant("acme"))
        await instance.tenants.change("acme", SUSPENDED)
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
            await socket.send(orjson.dumps({"type": "AUTH", "token": token_of("acme")}).decode())
            assert (await receive(socket))["code"] == "TENANT_SUSPENDED"
            assert await end_of(socket) == (4501, "unauthorized")
        async with httpx.AsyncClient(base_url=instance.base_url, headers=bearer(token_of("acme"))) as client:
            assert (await client.get("/v3/stream")).status_code == 403
