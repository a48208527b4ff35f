"""Clients that send what no client of good will sends: bounded in what they cost, and nobody else hears of it."""

import asyncio
from typing import Any

import orjson
import pytest

from synckairos.realtime.connection import MESSAGES_AT_ONCE
from synckairos.server.websocket_protocol import PIECES, BoundedWebSocketProtocol
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.raw import RawClient, raw_client
from tests.integration.realtime.v3_client import v3_client
from tests.waiting import eventually

TOO_MANY = 1008
V3 = "Sec-WebSocket-Protocol: synckairos.v3"


def frame(first: int, payload: bytes = b"") -> bytes:
    """Frame what a client sends; a mask of zeros is as good as any."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((first,)) + size + b"\0\0\0\0" + payload


async def code_of(client: RawClient, instance: Instance) -> int | None:
    """Return the close code, once the server has forgotten the client."""
    code = await client.close_code()

    async def is_forgotten() -> bool:
        return not instance.hub.connections and not instance.hub.watched_sessions

    await eventually(is_forgotten)
    return code


PING, PONG, PIECE, EMPTY_PIECE = frame(0x89), frame(0x8A), frame(0x00, b"x"), frame(0x00)


@pytest.mark.parametrize("sent", [PING, PONG, PIECE, EMPTY_PIECE], ids=["pings", "pongs", "pieces", "empty pieces"])
async def test_frames_that_are_no_messages_count_as_such(instance: Instance, sent: bytes) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        begun = frame(0x01, b"{") if sent in (PIECE, EMPTY_PIECE) else b""
        await client.send(begun + sent * (3 * MESSAGES_AT_ONCE))
        assert await code_of(client, instance) == TOO_MANY


async def test_commands_that_come_faster_than_they_are_done_count(instance: Instance) -> None:
    session_id = await instance.create()
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        asked = {"type": "COMMAND", "session_id": session_id, "command": "start"}
        commands = (orjson.dumps({**asked, "id": f"c{number}"}) for number in range(3 * MESSAGES_AT_ONCE))
        await client.send(b"".join(frame(0x81, each) for each in commands))
        assert await code_of(client, instance) == TOO_MANY
    assert (await instance.sessions.read(session_id)).snapshot.version <= 2


async def test_a_message_in_many_pieces_is_one_and_weighs_little(instance: Instance) -> None:
    message = orjson.dumps({"type": "PING", "id": "p" * 200, "t0": 1})
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        pieces = [bytes((each,)) for each in message]
        await client.send(b"".join([frame(0x01, pieces[0]), *(frame(0x00, each) for each in pieces[1:-1])]))
        (connection,) = instance.connections
        assert isinstance(connection.socket, BoundedWebSocketProtocol)
        held = connection.socket

        async def is_there() -> bool:
            return len(b"".join(held.frames)) == len(message) - 1

        await eventually(is_there)
        assert len(held.frames) <= PIECES
        await client.send(frame(0x80, pieces[-1]))
        answer = await client.frame()
        assert answer is not None
        assert orjson.loads(answer[1])["reply_to"] == "p" * 200


async def test_subscribing_and_leaving_without_an_end_leaves_nothing(instance: Instance) -> None:
    sessions = [await instance.create() for _ in range(5)]
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        for number in range(MESSAGES_AT_ONCE - 10):
            kind = ("SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE")[number % 3]
            asked = {"type": kind, "session_id": sessions[number % 5]}
            await client.send(frame(0x81, orjson.dumps(asked)))

    async def is_forgotten() -> bool:
        channels = await instance.parts.pipe.call("PUBSUB", "CHANNELS", f"{instance.parts.store.keys.prefix}*:feed:*")
        return not instance.hub.connections and not instance.hub.watched_sessions and not channels

    await eventually(is_forgotten)


NO_POSITIONS: list[dict[str, Any]] = [
    {"epoch": "e", "version": -1},
    {"epoch": "e", "version": 2**63},
    {"epoch": "e", "version": "1"},
    {"epoch": "e", "version": 1.5},
    {"epoch": "e", "version": True},
    {"epoch": 7, "version": 1},
    {"epoch": "e" * 65, "version": 1},
    {"epoch": ["e"], "version": {"n": 1}},
]


@pytest.mark.parametrize("position", NO_POSITIONS, ids=str)
async def test_what_is_no_position_is_an_error_and_no_end(instance: Instance, position: dict[str, Any]) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        answer = await client.ask("SUBSCRIBE", session_id=session_id, **position)
        assert (answer["type"], answer["code"]) == ("ERROR", "VALIDATION_ERROR")
        assert (await client.ask("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"


COMMAND = b'{"type":"COMMAND","id":"a","session_id":"0198c0de-0000-7000-8000-00000000000a","command":%b}'


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[" * 5_000,
        b'{"type":"PING","t0":1e999}',
        b'{"type":"PING","t0":"now"}',
        b'{"type":"PING","t0":' + b"9" * 5_000 + b"}",
        b'{"type":"SUBSCRIBE","session_id":"\\ud800"}',
        b'{"type":["PING"],"t0":1}',
        b'{"type":"COMMAND","id":"\\u0000","session_id":"x","command":"start"}',
        COMMAND % b'"__init__","args":{"__class__":1}',
        COMMAND % b'"switch","args":[]',
        COMMAND % b'"start","expected_version":1e400',
    ],
    ids=lambda text: text[:40].decode(),
)
async def test_what_is_no_message_is_an_error_and_no_end(instance: Instance, text: bytes) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        await client.send(frame(0x81, text))
        await client.send(frame(0x81, b'{"type":"PING","id":"after","t0":1}'))
        answers: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while not answers or answers[-1].get("reply_to") != "after":
                got = await client.frame()
                assert got is not None
                answers.append(orjson.loads(got[1]))
        assert [each["type"] for each in answers] == ["ERROR", "PONG"]
