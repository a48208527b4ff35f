"""Sockets of clients whose rights come from members: subscriptions, commands, tickets, and changes while they watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from synckairos.clock.commands import Start, UpdateSession
from synckairos.config import Settings
from synckairos.members.reconciliation import MemberReconciler
from synckairos.members.source_rows import SourceRows
from synckairos.members.table import Member, MemberTable
from synckairos.principal import CredentialLife, Role
from synckairos.service.requests import CommandRequest
from synckairos.store.tickets import Ticket, TicketStore
from tests.integration.authentication import bearer, make_token
from tests.integration.members.member_source import render_rows
from tests.integration.realtime.event_stream_client import v3_stream
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client
from tests.principals import make_principal
from tests.waiting import eventually

ADMIN = make_principal("admin", "root")
LABEL = "label:class=7b"


@asynccontextmanager
async def two_instances(settings: Settings) -> AsyncIterator[tuple[Instance, Instance]]:
    life = CredentialLifeOptions()
    async with serving(settings, credential_life=life) as first, serving(settings, credential_life=life) as second:
        yield first, second


@asynccontextmanager
async def member_client(instance: Instance, **claims: Any) -> AsyncIterator[V3Client]:
    """Connect a v3 client with a token of alice without grants."""
    headers = bearer(make_token(**{"role": "controller", "grants": [], **claims}))
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as socket:
        client = V3Client(socket)
        await client.receive()
        yield client


async def put(instance: Instance, resource: str, role: Role, subject: str = "alice") -> None:
    await instance.members.put("default", [Member(subject, resource, role)])


async def set_label(instance: Instance, session_id: str, value: str | None) -> None:
    command = UpdateSession({"class": value})
    await instance.parts.sessions.execute(CommandRequest(ADMIN, session_id, command, "update_session"))


async def subscribe(client: V3Client, session_id: str) -> str:
    """Subscribe to a session. Return the type of the answer, or the code of the refusal."""
    answer = await client.request("SUBSCRIBE", session_id=session_id)
    return str(answer.get("code", answer["type"]))


async def command(client: V3Client, session_id: str, verb: str) -> dict[str, Any]:
    answer: dict[str, Any] = await client.request("COMMAND", session_id=session_id, command=verb, args={})
    return answer


async def receive_end_of_subscription(client: V3Client) -> tuple[str, str, str]:
    """Receive messages until the end of a subscription. Return type, session id and code of the message."""
    while True:
        message = await client.receive()
        if message["type"] in ("UNSUBSCRIBED", "ERROR"):
            return message["type"], message["session_id"], message["code"]


@pytest.mark.parametrize("resource", ["session", LABEL], ids=["session", "label"])
async def test_member_removed_while_watching_is_notified_on_each_instance(settings: Settings, resource: str) -> None:
    async with two_instances(settings) as (first, second):
        session_id = await first.create()
        await set_label(first, session_id, "7b")
        resource = session_id if resource == "session" else resource
        kept_id = await first.create()  # a client that watches no session is closed after a refusal
        grants = [{"sessions": [kept_id]}]
        async with member_client(first, grants=grants) as here, member_client(second, grants=grants) as there:
            assert [await subscribe(each, kept_id) for each in (here, there)] == ["STATE_SYNC"] * 2
            assert [await subscribe(each, session_id) for each in (here, there)] == ["SESSION_NOT_FOUND"] * 2
            await put(first, resource, "viewer")
            assert await subscribe(here, session_id) == "STATE_SYNC"

            async def is_watched_there() -> bool:
                return await subscribe(there, session_id) == "STATE_SYNC"

            await eventually(is_watched_there)
            await first.members.delete("default", "bob", resource)
            await first.members.delete("default", "alice", resource)
            for client in (here, there):
                async with asyncio.timeout(5):
                    found = await receive_end_of_subscription(client)
                assert found == ("UNSUBSCRIBED", session_id, "FORBIDDEN")
                assert await subscribe(client, session_id) == "SESSION_NOT_FOUND"


async def test_member_removed_by_a_reconciliation_while_watching_is_notified(
    settings: Settings,
) -> None:
    async with two_instances(settings) as (first, second):
        session_id, kept_id = await first.create(), await first.create()
        await put(first, session_id, "viewer")
        await put(first, kept_id, "viewer")
        async with member_client(second) as client:
            assert [await subscribe(client, each) for each in (session_id, kept_id)] == ["STATE_SYNC"] * 2
            with SourceRows("default", 1 << 20) as rows:
                rows.add(render_rows([("alice", kept_id, "viewer")]))
                rows.finish(has_marked_end=True)
                await MemberReconciler(first.parts.pool, first.members).reconcile("default", rows, 50)
            assert await receive_end_of_subscription(client) == ("UNSUBSCRIBED", session_id, "FORBIDDEN")
            assert await subscribe(client, session_id) == "SESSION_NOT_FOUND"
            assert await subscribe(client, kept_id) == "STATE_SYNC"


async def test_label_removed_while_watching_ends_the_subscription_of_its_members(settings: Settings) -> None:
    async with two_instances(settings) as (first, second):
        session_id = await first.create()
        await set_label(first, session_id, "7b")
        await put(first, LABEL, "viewer")
        async with member_client(second) as client:
            assert await subscribe(client, session_id) == "STATE_SYNC"
            await set_label(first, session_id, "8a")
            assert await receive_end_of_subscription(client) == ("UNSUBSCRIBED", session_id, "FORBIDDEN")
            assert await subscribe(client, session_id) == "SESSION_NOT_FOUND"


async def test_lowered_role_acts_at_the_next_command(settings: Settings) -> None:
    async with two_instances(settings) as (first, _):
        session_id = await first.create()
        await put(first, session_id, "controller")
        async with member_client(first) as client:
            assert await subscribe(client, session_id) == "STATE_SYNC"
            assert (await command(client, session_id, "start"))["type"] == "ACK"
            await put(first, session_id, "viewer")
            assert (await command(client, session_id, "pause"))["code"] == "FORBIDDEN"
            (connection,) = first.connections
            assert list(connection.subscriptions) == [session_id]


async def test_role_of_a_member_is_limited_by_the_token(settings: Settings) -> None:
    async with serving(settings, credential_life=CredentialLifeOptions()) as instance:
        session_id = await instance.create()
        await put(instance, session_id, "controller")
        async with member_client(instance, role="viewer") as client:
            assert await subscribe(client, session_id) == "STATE_SYNC"
            assert (await command(client, session_id, "start"))["code"] == "FORBIDDEN"


async def test_v2_connection_of_a_member_gets_the_state_and_is_closed_at_the_removal(settings: Settings) -> None:
    async with two_instances(settings) as (first, second):
        session_id = await first.create()
        await put(second, session_id, "viewer")
        headers = bearer(make_token(role="viewer", grants=[]))
        async with watching(second, session_id, additional_headers=headers) as socket:
            assert [(await receive(socket))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
            await first.command(session_id, Start())
            assert (await receive(socket))["type"] == "STATE_UPDATE"
            await first.members.delete("default", "alice", session_id)
            async with asyncio.timeout(5):
                await socket.wait_closed()
            assert socket.close_code == 1008


async def test_event_stream_of_a_member_ends_the_subscription_at_the_removal(settings: Settings) -> None:
    async with serving(settings, credential_life=CredentialLifeOptions()) as instance:
        session_id = await instance.create()
        await put(instance, session_id, "viewer")
        async with v3_stream(instance.base_url, headers=bearer(make_token(role="viewer", grants=[]))) as client:
            await client.receive()
            assert await subscribe(client, session_id) == "STATE_SYNC"
            await instance.members.delete("default", "alice", session_id)
            assert await receive_end_of_subscription(client) == ("UNSUBSCRIBED", session_id, "FORBIDDEN")


async def test_rights_that_cannot_be_decided_end_the_subscription_with_a_temporary_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings, credential_life=CredentialLifeOptions()) as instance:
        session_id = await instance.create()
        await put(instance, session_id, "viewer")
        headers = bearer(make_token(role="viewer", grants=[]))
        async with (
            member_client(instance) as client,
            watching(instance, session_id, additional_headers=headers) as socket,
        ):
            assert await subscribe(client, session_id) == "STATE_SYNC"
            assert [(await receive(socket))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
            await instance.members.block_copies("default", ["alice"])
            table = MemberTable(instance.parts.pool)
            changed = await table.put("default", [Member("alice", session_id, "participant")])
            monkeypatch.setattr("synckairos.members.table._statement", lambda _: b"SELECT FROM no_such_table")
            await instance.members.announce(changed, ["alice"])
            assert await receive_end_of_subscription(client) == ("ERROR", session_id, "STORE_UNAVAILABLE")
            await socket.wait_closed()
            assert socket.close_code == 1013
            assert await subscribe(client, session_id) == "STORE_UNAVAILABLE"
            assert (await command(client, session_id, "start"))["code"] == "STORE_UNAVAILABLE"
            async with watching(instance, session_id, additional_headers=headers) as again:
                await again.wait_closed()
                assert again.close_code == 1013


async def test_ticket_of_a_member_reaches_its_sessions_and_loses_them_with_its_row(settings: Settings) -> None:
    async with serving(settings, credential_life=CredentialLifeOptions()) as instance:
        session_id = await instance.create()
        await put(instance, session_id, "viewer")
        store = TicketStore(instance.parts.pipe, instance.parts.store.keys)
        life = CredentialLife(
            expires_at_ms=4_000_000_000_000, issued_at_ms=None, token_id=None, group=None, verified_by=None
        )
        principal = make_principal("viewer", "alice", grants=(), life=life)
        ticket = await store.make(Ticket(principal=principal, origin=None), 30, for_earlier_release=principal)
        async with connect(f"{instance.ws_url}?ticket={ticket}", subprotocols=[V3], proxy=None) as socket:
            client = V3Client(socket)
            assert (await client.receive())["type"] == "AUTHENTICATED"
            assert await subscribe(client, session_id) == "STATE_SYNC"
            await instance.members.delete("default", "alice", session_id)
            assert await receive_end_of_subscription(client) == ("UNSUBSCRIBED", session_id, "FORBIDDEN")


async def test_member_of_another_tenant_reaches_nothing(settings: Settings) -> None:
    async with serving(settings, credential_life=CredentialLifeOptions()) as instance:
        session_id = await instance.create()
        await set_label(instance, session_id, "7b")
        for resource in (session_id, LABEL):
            await instance.members.put("acme", [Member("alice", resource, "controller")])
        for tenant in ("default", "acme"):
            async with member_client(instance, tenant=tenant) as client:
                assert await subscribe(client, session_id) == "SESSION_NOT_FOUND"
