"""Limits of the HTTP protocol: size, number and duration of headers, duration of the body, and error responses."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.limits import processor_time as processor_time_module
from synckairos.limits import used_time
from synckairos.server.timings import ServerTimeLimits
from tests.background_task import start
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.raw_client import KEY, RawClient, handshake, raw_client
from tests.waiting import eventually

SHORT_BODY = ServerTimeLimits(body_s=0.1)


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Long: " + "x" * 9_000],
        [f"X-{number}: y" for number in range(120)],
        [f"X-{number}: {'y' * 5_000}" for number in range(8)],
    ],
    ids=["one too long", "too many", "too many bytes"],
)
async def test_headers_over_a_limit_are_refused_with_431(instance: Instance, headers: list[str]) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 431 " in await client.upgrade(f"/ws?sessionId={uuid4()}", *headers)


async def test_handshake_just_below_the_limits_is_accepted(instance: Instance) -> None:
    headers = [f"X-{number}: {'y' * 300}" for number in range(80)] + ["X-Long: " + "x" * 7_900]
    async with raw_client(instance.server.port) as client:
        assert b" 101 " in await client.upgrade(f"/ws?sessionId={uuid4()}", *headers)


async def test_handshakes_that_arrive_together_are_all_accepted(instance: Instance) -> None:
    async with AsyncExitStack() as stack:
        port = instance.server.port
        clients = [await stack.enter_async_context(raw_client(port)) for _ in range(20)]
        async with raw_client(port) as gone:
            # The instance reads all of them in one turn of the event loop, because it runs in this loop.
            heads = asyncio.gather(*(client.upgrade(f"/ws?sessionId={uuid4()}") for client in clients))
            await gone.send(handshake(f"/ws?sessionId={uuid4()}"))
        assert all(b" 101 " in head for head in await heads)


@pytest.mark.parametrize("path", ["/", "/ws/", "/v1/ws"])
async def test_websocket_on_another_path_is_refused_with_404(instance: Instance, path: str) -> None:
    async with raw_client(instance.server.port) as client:
        assert b" 404 " in await client.upgrade(path, "Origin: http://elsewhere.example")


@pytest.mark.parametrize("versions", [[], ["12"], ["13", "12"], ["0x0d"]])
async def test_handshake_with_another_version_is_refused_with_the_supported_version(
    instance: Instance, versions: list[str]
) -> None:
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
        head, error = await read_problem(client)
        assert error["code"] == "UPGRADE_REQUIRED"
        assert b"upgrade: websocket\r\nsec-websocket-version: 13\r\n" in head


async def test_endless_header_is_refused_with_431(instance: Instance) -> None:
    async with raw_client(instance.server.port) as client:
        await client.send(b"GET /ws HTTP/1.1\r\nX-Endless: ")
        for _ in range(16):
            await client.send(b"x" * 4_096)
        assert b" 431 " in await client.head()


@pytest.mark.parametrize("server_timings", [ServerTimeLimits(headers_s=0.1)])
@pytest.mark.parametrize("begun", [b"", b"GET /ws HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_connection_without_complete_headers_is_cut(instance: Instance, begun: bytes) -> None:
    async with raw_client(instance.server.port) as client:
        await client.send(begun)
        async with asyncio.timeout(5):
            assert await client.head() == b""


async def read_problem(client: RawClient) -> tuple[bytes, dict[str, Any]]:
    """Return the head of the last response of a connection, and the error in its problem document."""
    head = await client.head()
    body = await client.rest()
    assert b"content-type: application/problem+json" in head, head
    assert b"content-length: %d\r\n" % len(body) in head
    document: dict[str, Any] = orjson.loads(body)
    assert set(document) == {"type", "title", "status", "detail", "error"}
    assert b"HTTP/1.1 %d " % document["status"] in head
    return head, document["error"]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"FOO /v1/time HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
        (b"get /v1/time HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /v1/time HTTP/9.9\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /\0 HTTP/1.1\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /health HTTP/1.1\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 400, "VALIDATION_ERROR"),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n", 431, "HEADERS_TOO_LARGE"),
    ],
)
async def test_invalid_request_is_refused_with_a_problem_document(
    instance: Instance, request_: bytes, status: int, code: str
) -> None:
    async with raw_client(instance.server.port) as client:
        await client.send(request_)
        head, error = await read_problem(client)
        assert (int(head.split()[1]), error["code"]) == (status, code)
        assert (b"allow: GET" in head) == (status == 405)


async def test_refusal_is_held_back_while_other_clients_are_active(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor_time = instance.hub.work.processor_time
    monkeypatch.setattr(used_time, "REFUSAL_DELAY_S", 60)
    monkeypatch.setattr(used_time, "MAX_REFUSAL_DELAY_S", 60)
    monkeypatch.setattr(processor_time_module, "ACTIVE_S", 60)
    processor_time.note_activity("another client")
    async with raw_client(instance.server.port) as client:
        await client.send(b"GET /health HTTP/1.1\r\n\r\n")
        answer = await start(client.head())

        async def has_reserved_refusal() -> bool:
            return processor_time.account_count == 1

        await eventually(has_reserved_refusal)
        assert not answer.done()
        answer.cancel()


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request after its body was read."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    if message["type"] == "http.request":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def echo_headers(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the names and values of all headers, after the body was read."""
    body = b""
    more_body = True
    while more_body:
        message = await receive()
        body += message["body"]
        more_body = message["more_body"]
    answer = b"\n".join(b"%b=%b" % pair for pair in scope["headers"]) + b"\nbody=" + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


async def test_http_1_0_request_without_a_host_is_answered(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", echo_headers)
    async with raw_client(instance.server.port) as client:
        await client.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert b" 200 " in await client.head()


@pytest.mark.parametrize(
    "name", [b"X-Forwarded-For", b"Forwarded", b"Origin", b"Host", b"X-Request-Id", b"If-Match", b"Expect", b"Other"]
)
async def test_trailers_of_a_request_do_not_count_as_headers(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", echo_headers)
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: %b\r\n\r\n" % name)
        await client.send(b"2\r\n{}\r\n0\r\n%b: forged\r\n\r\n" % name)
        # The next request on the same connection must have only its own headers.
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\nConnection: close\r\n\r\n")
        response = await client.rest()
    assert b"forged" not in response
    assert b"body={}" in response
    assert b"x-own=1" in response


async def test_too_many_trailers_are_refused(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    trailers = b"".join(b"X-%d: y\r\n" % number for number in range(120))
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
        await client.send(trailers)
        assert b" 431 " in await client.head()


async def test_many_pipelined_requests_in_one_packet_are_all_answered(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    count = 6_000
    async with raw_client(instance.server.port) as client, asyncio.timeout(60):
        sending = asyncio.create_task(client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * count))
        for _ in range(count):
            assert b" 204 " in await client.head()
        await sending


@pytest.mark.parametrize("extension", [100_000, 5_000_000])
async def test_long_extensions_of_chunks_are_refused(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, extension: int
) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            await client.send(b"2;a=%b\r\n{}\r\n" % (b"x" * extension))
            _, error = await read_problem(client)
            assert error["code"] == "VALIDATION_ERROR"
            assert await client.rest() == b""


async def test_body_in_chunks_of_one_byte_is_accepted(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", echo_headers)
    body = b"x" * 40_000
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        await client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert b" 200 " in await client.head()
        assert (await client.rest()).endswith(b"body=" + body)


async def test_refusal_is_not_sent_while_an_earlier_response_is_due(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    async with raw_client(instance.server.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /\0 HTTP/1.1\r\n\r\n")
        assert b"VALIDATION_ERROR" not in await client.rest()


@pytest.mark.parametrize("server_timings", [SHORT_BODY])
@pytest.mark.parametrize("begun", [b"", b'{"sync_mode"'])
async def test_request_without_a_complete_body_is_refused_with_408(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n" + begun)
        async with asyncio.timeout(5):
            _, error = await read_problem(client)
        assert error["code"] == "REQUEST_TIMEOUT"


@pytest.mark.parametrize("server_timings", [SHORT_BODY])
async def test_body_that_the_application_does_not_read_is_refused_with_408(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_nothing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(instance.server.config, "loaded_app", read_nothing)
    async with raw_client(instance.server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n")
        assert b" 204 " in await client.head()
        await client.send(b"{")
        async with asyncio.timeout(5):
            response = await client.rest()
        assert orjson.loads(response.partition(b"\r\n\r\n")[2])["error"]["code"] == "REQUEST_TIMEOUT"


async def test_body_in_several_pieces_is_read(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance.server.config, "loaded_app", read_all)
    async with raw_client(instance.server.port) as client:
        for _ in range(2):
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n{")
            await client.send(b"  }")
            assert b" 204 " in await client.head()
