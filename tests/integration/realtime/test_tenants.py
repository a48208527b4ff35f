"""Suspended tenants on open sockets and streams: each one ends, in both dialects and on each instance."""

from contextlib import suppress

import httpx
import orjson
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.config import Settings
from synckairos.limits import processor_time, used_time
from synckairos.tenants.table import TenantChanges
from tests.background_task import start
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, receive, serving
from tests.integration.realtime.raw_client import raw_client
from tests.integration.realtime.v3_client import V3
from tests.integration.tenants.tenant_nodes import new_tenant
from tests.waiting import eventually

pytestmark = pytest.mark.serving_login

LIFE = CredentialLifeOptions()
SESSION = "5f0c954b-8d0a-4f4e-b1a5-7f7d3a0f0d11"
SUSPENDED = TenantChanges(status="suspended")


def token_of(tenant: str) -> str:
    return make_token(role="admin", tenant=tenant)


def refusal_count() -> float:
    """Return the number of refusals because the tenant has reached its limit of sockets."""
    labels = {"tenant": "acme", "limit": "sockets"}
    return REGISTRY.get_sample_value("synckairos_tenant_refusals_total", labels) or 0


async def end_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Wait for the end of a connection. Return its close code and its reason."""
    with suppress(ConnectionClosed):
        while True:
            await receive(socket)
    return socket.close_code, socket.close_reason


async def test_sockets_of_a_suspended_tenant_end_on_each_instance_and_those_of_others_stay(settings: Settings) -> None:
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
            f"{there.ws_url}?sessionId={SESSION}",
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
    async with serving(settings, credential_life=LIFE) as instance:
        await instance.tenants.add(new_tenant("acme"))
        await instance.tenants.change("acme", SUSPENDED)
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
            await socket.send(orjson.dumps({"type": "AUTH", "token": token_of("acme")}).decode())
            assert (await receive(socket))["code"] == "TENANT_SUSPENDED"
            assert await end_of(socket) == (4501, "unauthorized")
        async with httpx.AsyncClient(base_url=instance.base_url, headers=bearer(token_of("acme"))) as client:
            assert (await client.get("/v3/stream")).status_code == 403


async def test_sockets_over_the_limit_of_their_tenant_are_refused_in_each_transport(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        await instance.tenants.add(new_tenant("acme", limit_values={"sockets": 1}))
        headers = bearer(token_of("acme"))
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as first:
            assert (await receive(first))["type"] == "AUTHENTICATED"
            async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as second:
                assert await end_of(second) == (4520, "too many connections")
            async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as third:
                await third.send(orjson.dumps({"type": "AUTH", "token": token_of("acme")}).decode())
                assert await end_of(third) == (4520, "too many connections")
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"{instance.ws_url}?sessionId={SESSION}", proxy=None, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == 503
            async with httpx.AsyncClient(base_url=instance.base_url, headers=headers) as client:
                assert (await client.get("/v3/stream")).status_code == 503
            other = bearer(token_of("default"))
            async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=other) as fourth:
                assert (await receive(fourth))["type"] == "AUTHENTICATED"
        await instance.wait_until_unused()
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as again:
            assert (await receive(again))["type"] == "AUTHENTICATED"


async def test_refusal_over_the_limit_of_sockets_is_held_back_while_other_clients_are_active(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(used_time, "REFUSAL_DELAY_S", 60)
    monkeypatch.setattr(used_time, "MAX_REFUSAL_DELAY_S", 60)
    monkeypatch.setattr(processor_time, "ACTIVE_S", 60)
    async with serving(settings, credential_life=LIFE) as instance:
        await instance.tenants.add(new_tenant("acme", limit_values={"sockets": 1}))
        instance.hub.work.processor_time.note_activity("another client")
        headers = bearer(token_of("acme"))
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as first:
            assert (await receive(first))["type"] == "AUTHENTICATED"
            refusals = refusal_count()
            async with raw_client(instance.server.port) as client:
                line = f"Authorization: {headers['authorization']}"
                answer = await start(client.upgrade("/ws", f"Sec-WebSocket-Protocol: {V3}", line))

                async def is_refused() -> bool:
                    return refusal_count() > refusals

                await eventually(is_refused)
                assert await (await first.ping()) >= 0
                assert not answer.done()
                answer.cancel()


async def test_socket_commands_over_the_limit_of_their_tenant_are_refused(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        limits = {"requests_per_min": 0, "presses_per_s": 1}
        await instance.tenants.add(new_tenant("default", limit_values=limits))
        session_id = await instance.create()
        headers = bearer(token_of("default"))
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as socket:
            assert (await receive(socket))["type"] == "AUTHENTICATED"
            for number, (command, refused) in enumerate((("start", True), ("pause", False), ("pause", True))):
                sent = {"session_id": session_id, "command": command, "args": {}}
                message = {"type": "COMMAND", "id": f"c{number}", **sent}
                await socket.send(orjson.dumps(message).decode())
                answer = await receive(socket)
                assert (answer.get("code") == "RATE_LIMIT_EXCEEDED") == refused, answer


async def test_page_of_another_tenant_opens_no_socket_of_this_tenant(settings: Settings) -> None:
    async with serving(settings, credential_life=LIFE) as instance:
        await instance.tenants.add(new_tenant("acme", origins=("https://acme.example",)))
        for tenant, status in (("acme", 101), ("default", 403)):
            headers = bearer(token_of(tenant)) | {"origin": "https://acme.example"}
            socket = connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers)
            if status == 101:
                async with socket as opened:
                    assert (await receive(opened))["type"] == "AUTHENTICATED"
                continue
            with pytest.raises(InvalidStatus) as refused:
                await socket
            assert refused.value.response.status_code == status
        for tenant, kind in (("acme", "AUTHENTICATED"), ("default", "ERROR")):
            origin = {"origin": "https://acme.example"}
            async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=origin) as opened:
                await opened.send(orjson.dumps({"type": "AUTH", "token": token_of(tenant)}).decode())
                assert (await receive(opened))["type"] == kind
