"""The Autobahn cases, run by `kosoku` against the server's WebSocket protocol class, with an echo client.

The test runs all families of RFC 6455 (1–7, 9 and 10; family 8 is empty), which are 301 cases. Families 12 and 13 test
compression, which is not supported; one test checks that an offer of compression is ignored. The 40 cases of family 9
with messages over 64 KiB run twice. With the product's limit each case is closed with 1009, and with a higher limit
each case passes. The cases that fail in the parser of `websockets` are listed, and a test shows that they fail there.
"""

from typing import Any

import pytest
from kosoku import FailureError, run_fuzzingclient
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from synckairos.realtime.socket_interface import SOCKET_EXTENSION, Socket
from synckairos.server.uvicorn_server import MAX_FRAME_BYTES
from synckairos.wire.websocket_frames import text_frame
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.raw_client import raw_client

FAMILIES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
LARGE_BYTES = 16 << 20

FAIL_IN_WEBSOCKETS = {
    "7.1.5": "a close between two fragments, and the second fragment after it: closed with 1002, not 1000",
}
TOO_LARGE = {
    *(f"9.{kind}.{case}" for kind in (1, 2) for case in range(2, 7)),
    *(f"9.{kind}.{case}" for kind in (3, 4) for case in range(1, 10)),
    *(f"9.{kind}.{case}" for kind in (5, 6) for case in range(1, 7)),
}
"""Ids of the cases with messages of 256 KiB to 16 MiB, whole or in fragments."""


class Echo:
    """A client that sends each message back."""

    message_too_big_code = 1009

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    def allow_control_frame(self) -> bool:
        return True

    def text_received(self, text: str) -> None:
        self._socket.write(text_frame(text.encode()))

    def bytes_received(self, data: bytes) -> None:
        self._socket.write(Frame(Opcode.BINARY, data).serialize(mask=False))

    def pong_received(self, payload: bytes) -> None: ...
    def write_resumed(self) -> None: ...
    def connection_lost(self) -> None: ...


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Accept a socket and attach an echo client to it, as the endpoint attaches a connection."""
    await receive()
    await send({"type": "websocket.accept"})
    socket = scope["extensions"][SOCKET_EXTENSION]
    socket.attach_receiver(Echo(socket))


async def run(port: int, *cases: str) -> tuple[set[str], dict[str, Any]]:
    """Run cases. Return the ids of the failed cases, and all results by id."""
    failed: set[str] = set()
    try:
        results = await run_fuzzingclient(f"ws://127.0.0.1:{port}/", cases, concurrency=16)
    except FailureError as failure:
        results = failure.results
        failed = {each.case_id for each in results if not each.passed}
    return failed, {each.case_id: each for each in results}


@pytest.fixture
def port(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(instance.server.config, "loaded_app", echo)
    return instance.server.port


async def test_autobahn_cases_pass_except_those_that_fail_in_websockets(
    instance: Instance, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance.server.config, "ws_max_size", LARGE_BYTES)
    failed, results = await run(port, *FAMILIES)
    assert len(results) == 301
    assert failed == set(FAIL_IN_WEBSOCKETS)


async def test_excepted_autobahn_cases_fail_in_websockets() -> None:
    async def talk(socket: ServerConnection) -> None:
        try:
            async for message in socket:
                await socket.send(message)
        except ConnectionClosed:
            pass

    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        failed, _ = await run(next(iter(server.sockets)).getsockname()[1], *FAIL_IN_WEBSOCKETS)
    assert failed == set(FAIL_IN_WEBSOCKETS)


async def test_messages_over_the_limit_are_closed_with_1009(instance: Instance, port: int) -> None:
    assert instance.server.config.ws_max_size == MAX_FRAME_BYTES
    failed, results = await run(port, "9.*")
    assert failed == TOO_LARGE
    assert {results[each].remote_close_code for each in TOO_LARGE} == {1009}


async def test_offer_of_compression_is_ignored(port: int) -> None:
    async with raw_client(port) as client:
        head = await client.upgrade("/", "Sec-WebSocket-Extensions: permessage-deflate")
    assert b" 101 " in head
    assert b"sec-websocket-extensions" not in head.lower()
