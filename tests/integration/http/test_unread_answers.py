"""Answers to a client that does not read them: the server keeps few of them, and only a part of each."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from starlette.types import ASGIApp, Message, Scope

from synckairos.config import Settings
from synckairos.http.large_bodies import LARGE_BYTES, MAX_DOWNLOADS
from tests.integration.rest_server import RestServer, open_rest_server, session_url
from tests.waiting import eventually


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings) as opened:
        yield opened


async def create_large(server: RestServer) -> dict[str, Any]:
    """Create and start a session whose document is larger than `LARGE_BYTES`."""
    people = [
        {"participant_id": str(uuid4()), "participant_index": at, "display_name": "é" * 150, "total_time_ms": 600_000}
        for at in range(800)
    ]
    return await server.create_started(participants=people, total_time_ms=None)


def application(server: RestServer) -> ASGIApp:
    return cast(httpx.ASGITransport, server.client._transport).app


class UnreadRequest:
    """A request whose client reads the header of the answer, and then nothing until `read` is set."""

    def __init__(self, app: ASGIApp, method: str, path: str) -> None:
        self.read = asyncio.Event()
        self.body_bytes = 0
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 50_000),
            "server": ("localhost", 80),
        }
        self.task = asyncio.create_task(cast(Any, app(scope, self._receive, self._send)))
        self._has_sent_body = False

    async def _receive(self) -> Message:
        if self._has_sent_body:
            await asyncio.Event().wait()
        self._has_sent_body = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.body_bytes += len(message.get("body", b""))
            await self.read.wait()

    async def is_unread(self) -> bool:
        return self.body_bytes > 0


async def test_answers_above_256_kb_are_sent_in_blocks_with_their_length(server: RestServer) -> None:
    session = await create_large(server)
    answer = await server.client.get(session_url(session))
    assert len(answer.content) > LARGE_BYTES
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "x-accel-buffering" not in answer.headers, "a proxy may buffer an answer with an end"
    assert answer.json()["data"]["session_id"] == session["session_id"]
    head = await server.client.head(session_url(session))
    assert (head.content, head.headers["content-length"]) == (b"", answer.headers["content-length"])
    unread = UnreadRequest(application(server), "GET", session_url(session))
    await eventually(unread.is_unread)
    assert unread.body_bytes == LARGE_BYTES
    unread.read.set()
    await unread.task
    assert unread.body_bytes == len(answer.content)


@pytest.mark.parametrize(
    ("method", "end"), [("GET", ""), ("POST", "switch"), ("POST", "pause")], ids=["read", "switch", "pause"]
)
async def test_large_answers_that_a_client_does_not_read_are_bounded(server: RestServer, method: str, end: str) -> None:
    session = await create_large(server)
    unread = [UnreadRequest(application(server), "GET", session_url(session)) for _ in range(MAX_DOWNLOADS)]
    for each in unread:
        await eventually(each.is_unread)
    refused = await server.client.request(method, session_url(session, end))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "TOO_MANY_CONNECTIONS")
    small = await server.create()
    assert (await server.client.get(session_url(small))).status_code == 200
    for each in unread:
        each.read.set()
        await each.task
    assert (await server.client.get(session_url(session))).status_code == 200
