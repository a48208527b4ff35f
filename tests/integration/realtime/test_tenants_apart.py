"""Sockets of two tenants on one hub that watch the same session id: states, events and presence do not cross."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from synckairos.clock.commands import Create, Delete, NewParticipant, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import DEFAULT_TENANT
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.authentication import authentication_settings, bearer, make_authenticator, make_token
from tests.integration.realtime.instances import Instance, receive_presence, serving
from tests.integration.realtime.v3_client import V3, V3Client
from tests.principals import make_principal

pytestmark = pytest.mark.serving_login

OTHER = "acme"
TENANTS = (DEFAULT_TENANT, OTHER)


@pytest.fixture
async def instance(settings: Settings) -> AsyncIterator[Instance]:
    required = authentication_settings(settings)
    async with serving(required, authenticator=make_authenticator(required)) as running:
        yield running


async def create_in_both(instance: Instance) -> str:
    session_id = str(uuid4())
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=300_000) for _ in range(2))
    for tenant in TENANTS:
        caller = make_principal("admin", tenant=tenant)
        await instance.sessions.create(CreateRequest(caller, Create(SyncMode.PER_PARTICIPANT, people), session_id))
    return session_id


@asynccontextmanager
async def client_of(instance: Instance, tenant: str) -> AsyncIterator[V3Client]:
    """Connect as the admin of a tenant. All admins have the same subject."""
    headers = bearer(make_token(role="admin", tenant=tenant))
    async with connect(instance.ws_url, subprotocols=[V3], additional_headers=headers, proxy=None) as socket:
        client = V3Client(socket)
        assert (await client.receive())["type"] == "AUTHENTICATED"
        yield client


async def test_updates_reach_only_watchers_of_the_tenant(instance: Instance) -> None:
    session_id = await create_in_both(instance)
    async with AsyncExitStack() as stack:
        clients = {tenant: await stack.enter_async_context(client_of(instance, tenant)) for tenant in TENANTS}
        for client in clients.values():
            await client.send("SUBSCRIBE", session_id=session_id, id="s")
            await client.receive_until(session_id, 1)
        for tenant, commands in ((OTHER, ((Start(), "start"), (Switch(), "switch"))), (DEFAULT_TENANT, ())):
            caller = make_principal("admin", tenant=tenant)
            for command, verb in commands:
                await instance.sessions.execute(CommandRequest(caller, session_id, command, verb))
        await clients[OTHER].receive_until(session_id, 3)
        # The next state of the default tenant is its own second version, which comes after all versions of the other.
        caller = make_principal("admin")
        await instance.sessions.execute(CommandRequest(caller, session_id, Start(), "start"))
        received = await clients[DEFAULT_TENANT].receive_until(session_id, 2)
        assert [message["type"] for message in received] == ["STATE_DELTA"]
        await instance.sessions.execute(CommandRequest(caller, session_id, Delete(), "delete"))
        event = await clients[DEFAULT_TENANT].receive()
        assert (event["type"], event["event_type"]) == ("EVENT", "session_deleted")
        other = make_principal("admin", tenant=OTHER)
        await instance.sessions.execute(CommandRequest(other, session_id, Switch(), "switch"))
        received = await clients[OTHER].receive_until(session_id, 4)
        assert [message["type"] for message in received] == ["STATE_DELTA"]


async def test_presence_counts_watchers_of_the_tenant(instance: Instance) -> None:
    session_id = await create_in_both(instance)
    async with AsyncExitStack() as stack:
        clients = {
            (tenant, number): await stack.enter_async_context(client_of(instance, tenant))
            for tenant, count in ((DEFAULT_TENANT, 1), (OTHER, 2))
            for number in range(count)
        }
        for client in clients.values():
            await client.send("SUBSCRIBE", session_id=session_id, id="s")
        for (tenant, _), client in clients.items():
            message = await receive_presence(client.socket, 1 if tenant == DEFAULT_TENANT else 2)
            assert message["session_id"] == session_id


async def test_session_of_another_tenant_cannot_be_watched(instance: Instance) -> None:
    session_id = str(uuid4())
    people = (NewParticipant(str(uuid4()), total_time_ms=300_000),)
    spec = Create(SyncMode.PER_PARTICIPANT, people)
    await instance.sessions.create(CreateRequest(make_principal("admin", tenant=OTHER), spec, session_id))
    async with client_of(instance, DEFAULT_TENANT) as client:
        await client.send("SUBSCRIBE", session_id=session_id, id="s")
        refusal = await client.receive()
        assert (refusal["type"], refusal["code"]) == ("ERROR", "SESSION_NOT_FOUND")
    async with client_of(instance, DEFAULT_TENANT) as client:
        await client.send("COMMAND", session_id=session_id, id="c", command="start", args={})
        refusal = await client.receive()
        assert (refusal["type"], refusal["code"]) == ("ERROR", "SESSION_NOT_FOUND")
