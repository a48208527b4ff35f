"""What comes before a request or a socket: bounded in bytes, number and time. What is refused is told why."""

import asyncio
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.server import http_protocol
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.raw import KEY, RawClient, raw_client


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Long: " + "x" * 9_000],
        [f"X-{number}: y" for number in range(120)],
        [f"X-{number}: {'y' * 5_000}" for number in range(8)],
    ],
    ids=["long", "many", "much"],
)
async def test_too_many_headers_are_refused(instance: Instance, headers: list[str]) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 431 " in await client.upgrade(f"/ws?sessionId={uuid4()}", *headers)


async def test_a_handshake_near_the_bounds_is_fine(instance: Instance) -> None:
    headers = [f"X-{number}: {'y' * 300}" for number in range(80)] + ["X-Long: " + "x" * 7_900]
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade(f"/ws?sessionId={uuid4()}", *headers)


@pytest.mark.parametrize("path", ["/", "/ws/", "/v1/ws"])
async def test_a_path_without_a_websocket_is_not_found(instance: Instance, path: str) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 404 " in await client.upgrade(path, "Origin: http://elsewhere.example")


@pytest.mark.parametrize("versions", [[], ["12"], ["13", "12"], ["0x0d"]])
async def test_another_version_is_told_which_one_is_spoken(instance: Instance, versions: list[str]) -> None:
    lines = [
        "GET /ws HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
    ]
    lines += [f"Sec-WebSocket-Version: {version}" for version in versions]
    async with raw_client(instance.server.port) as client:
        await client.send("\r\n".join([*lines, "", ""]).encode())
        head, error = await problem(client)
        assert error["code"] == "UPGRADE_REQUIRED"
        assert b"upgrade: websocket\r\nsec-websocket-version: 13\r\n" in head


async def test_a_header_without_an_end_is_refused(instance: Instance) -> None:
    async with raw_client(instance.server.port) as client:
        await client.send(b"GET /ws HTTP/1.1\r\nX-Endless: ")
        for _ in range(16):
            await client.send(b"x" * 4_096)
        assert b" 431 " in await client.head()


@pytest.mark.parametrize("begun", [b"", b"GET /ws HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_headers_that_dont_come_are_not_awaited(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEADERS_WITHIN_S", 0.1)
    async with raw_client(instance.server.port) as client:
        await client.send(begun)
        async with asyncio.timeout(5):
            assert await client.head() == b""


async def problem(client: RawClient) -> tuple[bytes, dict[str, Any]]:
    """Return the head of the last answer there is on a connection, and its problem."""
    head = await client.head()
    body = await client.rest()
    assert b"content-type: application/problem+json" in head, head
    assert b"content-length: %d\r\n" % len(body) in head
    told: dict[str, Any] = orjson.loads(body)
    assert set(told) == {"type", "title", "status", "detail", "error"}
    assert b"HTTP/1.1 %d " % told["status"] in head
    return head, told["error"]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"FOO /v1/time HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
        (b"get /v1/time HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /v1/time HTTP/9.9\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /\0 HTTP/1.1\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
    ],
)
async def test_what_is_no_request_is_told_so(instance: Instance, request_: bytes, status: int, code: str) -> None:
    async with raw_client(instance.server.port) as client:
        await client.send(request_)
        head, error = await problem(client)
        assert (int(head.split()[1]), error["code"]) == (status, code)
        assert (b"allow: GET" in head) == (status == 405)


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request once its body is there."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_a_refusal_is_no_answer_to_the_request_before(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    async with raw_client(instance.server.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /\0 HTTP/1.1\r\n\r\n")
        assert b"VALIDATION_ERROR" not in await client.rest()


@pytest.mark.parametrize("begun", [b"", b'{"sync_mode"'])
async def test_a_body_that_doesnt_come_is_not_awaited(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    monkeypatch.setattr(http_protocol, "BODY_WITHIN_S", 0.1)
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n" + begun)
        async with asyncio.timeout(5):
            _, error = await problem(client)
        assert error["code"] == "REQUEST_TIMEOUT"


async def test_a_body_that_nobody_wants_is_not_awaited_either(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_nothing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(instance.server.config, "loaded_app", read_nothing)
    monkeypatch.setattr(http_protocol, "BODY_WITHIN_S", 0.1)
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n")
        assert b" 204 " in await client.head()
        await client.send(b"{")
        async with asyncio.timeout(5):
            told = await client.rest()
        assert orjson.loads(told.partition(b"\r\n\r\n")[2])["error"]["code"] == "REQUEST_TIMEOUT"


async def test_bodies_that_come_are_read(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    async with raw_client(instance.server.port) as client:
        for _ in range(2):
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n{")
            await client.send(b"  }")
            assert b" 204 " in await client.head()
