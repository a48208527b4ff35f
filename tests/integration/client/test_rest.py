"""The REST side of the client: typed operations on a real server, repeated requests, and kept connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from pydantic import SecretStr

from generate import read_openapi
from rest_modules import render_rest_modules
from shared_modules import TARGET, format_source
from synckairos.config import Settings
from synckairos_client import Client, RequestFailed
from synckairos_client.generated.rest_types import CreateSession
from tests.integration.authentication import make_token
from tests.processes import Process
from tests.tokens import SECRET

ADA, BOB = str(uuid4()), str(uuid4())

CLOCK: CreateSession = {
    "sync_mode": "per_participant",
    "participants": [
        {"participant_id": ADA, "display_name": "Ada", "total_time_ms": 300_000},
        {"participant_id": BOB, "display_name": "Bob", "total_time_ms": 300_000},
    ],
}


async def test_operations_on_a_real_server(serve_process: Process) -> None:
    rendered = render_rest_modules(await asyncio.to_thread(read_openapi, serve_process.base_url))
    stale = [path for path, text in rendered.items() if (TARGET / path).read_text() != format_source(path, text)]
    assert stale == [], "run `make python-client`"

    api = Client(serve_process.base_url).api
    created = await api.sessions.create(CLOCK, idempotency_key="one")
    session_id = created["session_id"]
    assert (await api.sessions.create(CLOCK, idempotency_key="one"))["session_id"] == session_id
    await api.sessions.start(session_id)
    switched = await api.sessions.switch(session_id, {"current_participant_id": ADA})
    assert (switched["version"], switched["active_participant_id"]) == (3, BOB)
    assert (await api.sessions.get(session_id))["version"] == 3
    assert (await api.time.get())["timestamp_ms"] > 0
    page = await api.sessions.list(limit=1, status="running")
    assert [each["session_id"] for each in page["data"]] == [session_id]
    times = await api.participants.time(ADA, from_="2026-01-01", tz="Europe/Zurich", bucket="session")
    assert isinstance(times, list)
    with pytest.raises(RequestFailed) as refused:
        await api.sessions.pause(session_id, if_match='"nonsense"')
    assert (refused.value.status, refused.value.code) == (412, "PRECONDITION_FAILED")
    await api.sessions.delete(session_id)
    with pytest.raises(RequestFailed) as refused:
        await api.sessions.get(session_id)
    assert (refused.value.status, refused.value.code) == (404, "SESSION_NOT_FOUND")


async def test_token_is_fetched_anew_after_a_refusal(
    settings: Settings, start_server: Callable[[Settings], Process]
) -> None:
    server = start_server(settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)}))
    tokens = ["expired", make_token(role="admin"), "expired", "expired"]

    async def get_token() -> str:
        return tokens.pop(0)

    api = Client(server.base_url, get_token=get_token).api
    assert (await api.me.get())["role"] == "admin"
    for refused_api in (api, Client(server.base_url).api):
        with pytest.raises(RequestFailed) as refused:
            await refused_api.me.get()
        assert (refused.value.status, refused.value.code) == (401, "UNAUTHORIZED")
    assert tokens == []


class Answers:
    """An HTTP server that gives prepared answers and notes the requests.

    Each answer is the status and further headers; None closes the connection without an answer.
    """

    def __init__(self, *answers: tuple[int, str] | None) -> None:
        self.left = list(answers)
        self.requests: list[list[str]] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                self.requests.append([line for line in head if not line.startswith(("Host", "Accept"))])
                answer = self.left.pop(0)
                if answer is None:
                    return
                status, headers = answer
                body = b'{"data": {"n": 1}}' if status < 300 else b"<html>"
                writer.write(f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def answering(*answers: tuple[int, str] | None) -> AsyncIterator[Answers]:
    found = Answers(*answers)
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield found


SOON = "Retry-After: 0\r\n"


async def test_request_that_can_be_repeated_is_repeated_with_the_same_key() -> None:
    async with answering((503, SOON), None, (200, "")) as server:
        api = Client(server.url).api
        assert dict(await api.sessions.create(CLOCK)) == {"n": 1}
        keys = {line for request in server.requests for line in request if line.startswith("Idempotency-Key")}
        assert (len(server.requests), len(keys)) == (3, 1)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([(503, SOON)] * 3, 503),
        ([(429, "Retry-After: 60\r\n")], 429),
        ([(400, "")], 400),
        ([None] * 3, 0),
    ],
)
async def test_request_fails_with_the_last_answer(answers: list[tuple[int, str] | None], status: int) -> None:
    async with answering(*answers) as server:
        with pytest.raises(RequestFailed) as failure:
            await Client(server.url).api.sessions.get("a/b")
        assert failure.value.status == status
        assert len(server.requests) == len(answers)
        assert server.requests[0][0] == "GET /v1/sessions/a%2Fb HTTP/1.1"


async def test_request_that_cannot_be_repeated_is_sent_once() -> None:
    async with answering(None) as server:
        with pytest.raises(RequestFailed, match="POST /v1/tickets"):
            await Client(server.url).api.tickets.create({})
        assert len(server.requests) == 1


async def test_connection_is_used_again_until_the_server_closes_it() -> None:
    async with answering((200, ""), (200, ""), (200, "Connection: close\r\n"), (200, "")) as server:
        client = Client(f"{server.url}/sub")
        for _ in range(4):
            assert dict(await client.api.sessions.get("a")) == {"n": 1}
        assert server.connections == 2
        assert {request[0] for request in server.requests} == {"GET /sub/v1/sessions/a HTTP/1.1"}


async def test_network_error_has_no_status() -> None:
    with pytest.raises(RequestFailed) as failure:
        await Client("http://127.0.0.1:1").api.tickets.create({})
    assert (failure.value.code, failure.value.status) == ("NETWORK_ERROR", 0)
