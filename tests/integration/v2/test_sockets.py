"""The sockets of v2: messages, updates of all instances, frames of both kinds and subprotocols."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from synckairos.clock.commands import Command, Complete, Delete, Expire, Pause, Resume, Start, Switch
from synckairos.service.requests import CommandRequest
from tests.integration.realtime.instances import CALLER, Instance
from tests.integration.v2.v2_schemas import Json, check_message


@asynccontextmanager
async def opened(instance: Instance, session_id: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """Connect as v2 clients do, and receive CONNECTED."""
    async with connect(f"{instance.ws_url}?sessionId={session_id}", proxy=None, **options) as client:
        connected = await take(client)
        assert (connected["type"], connected["sessionId"]) == ("CONNECTED", session_id)
        assert connected["timestamp"] > 0
        yield client


async def take(client: ClientConnection) -> Json:
    """Receive the next message, and check it by v2's schemas."""
    async with asyncio.timeout(10):
        return check_message(orjson.loads(await client.recv()))


async def execute(instance: Instance, session_id: str, *commands: Command) -> None:
    for command in commands:
        request = CommandRequest(CALLER, session_id, command, type(command).__name__.lower())
        await instance.sessions.execute(request)


async def test_client_that_waits_for_a_session_gets_each_change(instance: Instance, other_instance: Instance) -> None:
    session_id = str(uuid4())
    async with opened(instance, session_id) as here, opened(other_instance, session_id) as there:
        await instance.create(session_id)
        await execute(instance, session_id, Start(), Switch(), Pause())
        await execute(other_instance, session_id, Resume(), Complete())
        seen = []
        for client in (here, there):
            updates = [await take(client) for _ in range(6)]
            assert {update["type"] for update in updates} == {"STATE_UPDATE"}
            assert {update["state"]["session_id"] for update in updates} == {session_id}
            assert [update["state"]["status"] for update in updates] == [
                "pending", "running", "running", "paused", "running", "completed",
            ]  # fmt: skip
            first, second = (each["participant_id"] for each in updates[0]["state"]["participants"])
            assert [update["state"]["active_participant_id"] for update in updates] == [
                None, first, second, second, second, None,
            ]  # fmt: skip
            assert [update["state"]["participants"][0]["cycle_count"] for update in updates] == [0, 0, 1, 1, 1, 1]
            seen.append([update["state"] for update in updates])
        assert seen[0] == seen[1]


async def test_client_gets_the_state_after_it_connects_and_after_reconnect(instance: Instance) -> None:
    session_id = await instance.create()
    async with opened(instance, session_id) as client:
        assert (await take(client))["state"]["status"] == "pending"
        await execute(instance, session_id, Start())
        assert (await take(client))["type"] == "STATE_UPDATE"
    await execute(instance, session_id, Switch())
    async with opened(instance, session_id) as client:
        await client.send('{"type":"RECONNECT"}')
        for _ in range(2):
            sync = await take(client)
            assert (sync["type"], sync["sessionId"], sync["state"]["version"]) == ("STATE_SYNC", session_id, 3)


async def test_clients_are_closed_with_1000_after_the_deletion(instance: Instance, other_instance: Instance) -> None:
    session_id = await instance.create()
    async with opened(instance, session_id) as here, opened(other_instance, session_id) as there:
        for client in (here, there):
            assert (await take(client))["type"] == "STATE_SYNC"
        await execute(instance, session_id, Delete())
        for client in (here, there):
            deleted = await take(client)
            assert (deleted["type"], deleted["sessionId"]) == ("SESSION_DELETED", session_id)
            with pytest.raises(ConnectionClosed):
                await take(client)
            assert (client.close_code, client.close_reason) == (1000, "Session deleted")


async def test_expiry_is_an_update_without_a_client_of_rest(instance: Instance) -> None:
    session_id = await instance.create()
    async with opened(instance, session_id) as client:
        assert (await take(client))["type"] == "STATE_SYNC"
        await execute(instance, session_id, Start())
        assert (await take(client))["state"]["status"] == "running"
        await instance.parts.rewind(session_id, 300_000)
        await execute(instance, session_id, Expire())
        expired = await take(client)
        assert (expired["type"], expired["state"]["status"]) == ("STATE_UPDATE", "expired")


@pytest.mark.parametrize("is_binary", [False, True])
async def test_messages_are_answered_in_both_kinds_of_frames(instance: Instance, is_binary: bool) -> None:
    session_id = str(uuid4())

    async def send(client: ClientConnection, text: str) -> None:
        await client.send(text.encode() if is_binary else text)

    async with opened(instance, session_id) as client:
        await send(client, '{"type":"PING"}')
        assert (await take(client))["type"] == "PONG"
        await send(client, '{"type":"RECONNECT"}')
        missing = await take(client)
        assert (missing["type"], missing["code"]) == ("ERROR", "SESSION_NOT_FOUND")
        assert session_id in missing["message"]
        for wrong in ("{ invalid json", '{"type":"UNKNOWN_TYPE"}', "null", ""):
            await send(client, wrong)
            assert (await take(client))["type"] == "ERROR"
        await send(client, '{"type":"PING","extra":1}')
        assert (await take(client))["type"] == "PONG"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "Missing sessionId parameter"),
        ("?sessionId=", "Missing sessionId parameter"),
        ("?sessionId=invalid-id", "Invalid sessionId format"),
    ],
)
async def test_missing_or_wrong_id_is_closed_with_the_reason_of_v2(instance: Instance, query: str, reason: str) -> None:
    async with connect(instance.ws_url + query, proxy=None) as client:
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1008, reason)


@pytest.mark.parametrize("offered", [["json"], ["chat", "json"], ["v1.example"]])
async def test_first_offered_subprotocol_is_named(instance: Instance, offered: list[str]) -> None:
    subprotocols = [Subprotocol(each) for each in offered]
    async with opened(instance, str(uuid4()), subprotocols=subprotocols) as client:
        assert client.subprotocol == offered[0]
        assert client.response is not None
        assert client.response.headers.get_all("Sec-WebSocket-Protocol") == offered[:1]
        await client.send(b'{"type":"PING"}')
        assert (await take(client))["type"] == "PONG"


async def test_handshake_without_subprotocols_names_none(instance: Instance) -> None:
    async with opened(instance, str(uuid4())) as client:
        assert client.response is not None
        assert "Sec-WebSocket-Protocol" not in client.response.headers
