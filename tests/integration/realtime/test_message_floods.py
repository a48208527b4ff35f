"""Hostile clients: limits for floods of frames, for malformed messages, and for endless subscriptions."""

import asyncio
from typing import Any

import orjson
import pytest

from synckairos.limits.work_limits import FREE_BYTES
from synckairos.principal import TIMEKEEPER
from synckairos.realtime.connection import MESSAGES_AT_ONCE
from synckairos.server.direct_write_websocket import MAX_FRAGMENTS, BoundedWebSocketProtocol
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.raw_client import RawClient, raw_client
from tests.integration.realtime.v3_client import v3_client
from tests.waiting import eventually

TOO_MANY = 1008
V3 = "Sec-WebSocket-Protocol: synckairos.v3"


def frame(first: int, payload: bytes = b"") -> bytes:
    """Return a frame of a client. Its mask is zero."""
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes((first,)) + size + b"\0\0\0\0" + payload


async def read_close_code(client: RawClient, instance: Instance) -> int | None:
    """Wait until the hub has removed the connection. Return the close code."""
    code = await client.close_code()
    await instance.wait_until_unused()
    return code


PING, PONG, FRAGMENT, EMPTY_FRAGMENT = frame(0x89), frame(0x8A), frame(0x00, b"x"), frame(0x00)


@pytest.mark.parametrize(
    "sent", [PING, PONG, FRAGMENT, EMPTY_FRAGMENT], ids=["pings", "pongs", "fragments", "empty fragments"]
)
async def test_flood_of_control_frames_or_fragments_is_closed_with_1008(instance: Instance, sent: bytes) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        begun = frame(0x01, b"{") if sent in (FRAGMENT, EMPTY_FRAGMENT) else b""
        await client.send(begun + sent * (3 * MESSAGES_AT_ONCE))
        assert await read_close_code(client, instance) == TOO_MANY


async def test_flood_that_ends_with_a_close_frame_raises_nothing_in_the_server(instance: Instance) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        message = orjson.dumps({"type": "PING", "t0": 1})
        await client.send(frame(0x81, message) * (3 * MESSAGES_AT_ONCE) + frame(0x88, b"\x03\xe8"))
        await instance.wait_until_unused()
    assert faults == []


async def test_flood_of_commands_is_closed_with_1008(instance: Instance) -> None:
    session_id = await instance.create()
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        message = {"type": "COMMAND", "session_id": session_id, "command": "start"}
        commands = (orjson.dumps({**message, "id": f"c{number}"}) for number in range(3 * MESSAGES_AT_ONCE))
        await client.send(b"".join(frame(0x81, each) for each in commands))
        assert await read_close_code(client, instance) == TOO_MANY
    assert (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.version <= 2


async def test_message_in_many_fragments_is_joined_and_keeps_few_fragments(instance: Instance) -> None:
    message = orjson.dumps({"type": "PING", "id": "p" * 200, "t0": 1})
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        fragments = [bytes((each,)) for each in message]
        await client.send(b"".join([frame(0x01, fragments[0]), *(frame(0x00, each) for each in fragments[1:-1])]))
        (connection,) = instance.connections
        assert isinstance(connection.socket, BoundedWebSocketProtocol)
        socket = connection.socket

        async def has_arrived() -> bool:
            return len(b"".join(socket.frames)) == len(message) - 1

        await eventually(has_arrived)
        assert len(socket.frames) <= MAX_FRAGMENTS
        await client.send(frame(0x80, fragments[-1]))
        answer = await client.frame()
        assert answer is not None
        assert orjson.loads(answer[1])["reply_to"] == "p" * 200


async def test_many_subscribes_and_unsubscribes_leave_no_watched_session(instance: Instance) -> None:
    sessions = [await instance.create() for _ in range(5)]
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        for number in range(MESSAGES_AT_ONCE - 10):
            kind = ("SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE")[number % 3]
            message = {"type": kind, "session_id": sessions[number % 5]}
            await client.send(frame(0x81, orjson.dumps(message)))
    await instance.wait_until_unused()


INVALID_POSITIONS: list[dict[str, Any]] = [
    {"epoch": "e", "version": -1},
    {"epoch": "e", "version": 2**63},
    {"epoch": "e", "version": "1"},
    {"epoch": "e", "version": 1.5},
    {"epoch": "e", "version": True},
    {"epoch": 7, "version": 1},
    {"epoch": "e" * 65, "version": 1},
    {"epoch": ["e"], "version": {"n": 1}},
]


@pytest.mark.parametrize("position", INVALID_POSITIONS, ids=str)
async def test_invalid_position_gets_an_error_and_the_connection_stays(
    instance: Instance, position: dict[str, Any]
) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        answer = await client.request("SUBSCRIBE", session_id=session_id, **position)
        assert (answer["type"], answer["code"]) == ("ERROR", "VALIDATION_ERROR")
        assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"


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
async def test_malformed_message_gets_an_error_and_the_connection_stays(instance: Instance, text: bytes) -> None:
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


async def read_message(client: RawClient) -> dict[str, Any]:
    """Return the next message of the server."""
    received = await client.frame()
    assert received is not None, "the connection was closed"
    message: dict[str, Any] = orjson.loads(received[1])
    return message


async def test_connection_with_a_refused_large_message_is_not_read_for_a_while(instance: Instance) -> None:
    processor_time = instance.hub.work.processor_time
    large = orjson.dumps({"type": "PING", "t0": 1, "id": "large", "x": "x" * FREE_BYTES})
    ping = orjson.dumps({"type": "PING", "t0": 1, "id": "after"})
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        (connection,) = instance.connections
        assert isinstance(connection.socket, BoundedWebSocketProtocol)
        await client.send(frame(0x81, large))
        assert (await read_message(client))["type"] == "ERROR"
        assert connection.socket.transport.is_reading(), "no other client is active"
        processor_time.note_activity("another client")
        await client.send(frame(0x81, large))
        assert (await read_message(client))["type"] == "ERROR"
        assert not connection.socket.transport.is_reading()
        await client.send(frame(0x81, ping))
        assert (await read_message(client))["reply_to"] == "after"
        assert connection.socket.transport.is_reading()


async def test_paused_connection_can_be_lost(instance: Instance) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade("/ws", V3)
        (connection,) = instance.connections
        connection.socket.pause_reading(60)
        connection.socket.pause_reading(60)
        connection.socket.abort()
        await instance.wait_until_unused()
