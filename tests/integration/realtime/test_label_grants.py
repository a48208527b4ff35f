"""Sockets of clients whose grant names sessions by a label."""

from typing import Any

from websockets.asyncio.client import connect

from synckairos.clock.commands import UpdateSession
from synckairos.config import Settings
from synckairos.service.requests import CommandRequest
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.instances import CredentialLifeOptions, Instance, receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client
from tests.principals import make_principal

ADMIN = make_principal("admin", "root")
MISSING = "00000000-0000-4000-8000-000000000000"
GRANTS = [{"sessions": ["label:cup=spring"]}]


async def set_labels(instance: Instance, session_id: str, **labels: str | None) -> None:
    command = UpdateSession(labels)
    await instance.parts.sessions.execute(CommandRequest(ADMIN, session_id, command, "update_session"))


async def subscribe(client: V3Client, session_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = await client.request("SUBSCRIBE", session_id=session_id)
    return answer


async def receive_end_of_subscription(client: V3Client) -> tuple[str, str]:
    """Receive messages until UNSUBSCRIBED. Return its session id and its code."""
    while True:
        message = await client.receive()
        if message["type"] == "UNSUBSCRIBED":
            return message["session_id"], message["code"]


async def test_subscription_follows_the_label_on_another_instance(settings: Settings) -> None:
    life = CredentialLifeOptions()
    async with serving(settings, credential_life=life) as instance, serving(settings, credential_life=life) as other:
        session_id, kept_id = await instance.create(), await instance.create()
        await set_labels(instance, kept_id, cup="spring")
        headers = bearer(make_token(role="viewer", grants=GRANTS))
        async with connect(other.ws_url, subprotocols=[V3], proxy=None, additional_headers=headers) as socket:
            client = V3Client(socket)
            await client.receive()
            assert (await subscribe(client, kept_id))["type"] == "STATE_SYNC"
            refusals = [await subscribe(client, each) for each in (session_id, MISSING)]
            assert [each["code"] for each in refusals] == ["SESSION_NOT_FOUND"] * 2
            await set_labels(instance, session_id, cup="spring")
            answer = await subscribe(client, session_id)
            assert (answer["type"], answer["state"]["labels"]) == ("STATE_SYNC", {"cup": "spring"})
            await set_labels(instance, session_id, hall="b")
            await set_labels(instance, session_id, cup=None)
            assert await receive_end_of_subscription(client) == (session_id, "FORBIDDEN")
            (connection,) = other.connections
            assert list(connection.subscriptions) == [kept_id]
            assert (await subscribe(client, session_id))["code"] == "SESSION_NOT_FOUND"


async def test_v2_connection_without_the_right_waits_and_is_closed_when_it_loses_the_right(settings: Settings) -> None:
    async with serving(settings, credential_life=CredentialLifeOptions()) as instance:
        session_id = await instance.create()
        headers = bearer(make_token(role="viewer", grants=GRANTS))
        async with watching(instance, session_id, additional_headers=headers) as socket:
            assert (await receive(socket))["type"] == "CONNECTED"
            await socket.send('{"type":"RECONNECT"}')
            assert (await receive(socket))["code"] == "SESSION_NOT_FOUND"
        await set_labels(instance, session_id, cup="spring")
        async with watching(instance, session_id, additional_headers=headers) as socket:
            assert [(await receive(socket))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
            await set_labels(instance, session_id, cup=None)
            await socket.wait_closed()
            assert socket.close_code == 1008


async def test_refresh_keeps_or_ends_the_subscription_by_the_label(settings: Settings) -> None:
    async with serving(settings, credential_life=CredentialLifeOptions()) as instance:
        session_id = await instance.create()
        await set_labels(instance, session_id, cup="spring")
        token = make_token(role="viewer", grants=GRANTS)
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None, additional_headers=bearer(token)) as socket:
            client = V3Client(socket)
            await client.receive()
            assert (await subscribe(client, session_id))["type"] == "STATE_SYNC"
            (connection,) = instance.connections
            renewed = make_token(role="controller", grants=GRANTS, jti="renewed")
            assert (await client.request("REFRESH", token=renewed))["type"] == "AUTHENTICATED"
            assert list(connection.subscriptions) == [session_id]
            other = make_token(role="viewer", grants=[{"sessions": ["label:cup=autumn"]}])
            assert (await client.request("REFRESH", token=other))["type"] == "AUTHENTICATED"
            assert await receive_end_of_subscription(client) == (session_id, "FORBIDDEN")
            assert not connection.subscriptions
