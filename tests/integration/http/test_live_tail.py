"""Live tails: Server-Sent Events of a session, from the first event or after the last event that a client received."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import orjson

from synckairos.config import Settings
from synckairos.history.audit_trail import AuditTrail
from synckairos.http.live_tail import LiveEventStreams
from synckairos.store.read_cache import ReadCache
from tests.integration.rest_server import RestServer, open_rest_server, session_url


class TailReader:
    """A reader of the Server-Sent Events of one session."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream

    async def next(self) -> dict[str, str]:
        """Return the fields of the next event. Skip comments and the retry hint."""
        async with asyncio.timeout(5):
            async for piece in self._stream:
                lines = [line.split(": ", 1) for line in piece.decode().strip().splitlines()]
                fields = dict(lines)
                if "id" in fields:
                    return fields
        raise AssertionError("the tail has ended")


async def test_tail_without_a_last_event_id_begins_at_the_first_event(settings: Settings) -> None:
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        session = await server.create()
        headers = {"accept": "text/event-stream", "last-event-id": ""}
        assert "session_created" in (await server.client.get(session_url(session, "events"), headers=headers)).text
        assert (await server.client.get(f"/v1/sessions/{uuid4()}/events", headers=headers)).status_code == 404
        odd = await server.client.get(session_url(session, "events"), headers=headers | {"last-event-id": "5"})
        assert [each["path"] for each in odd.json()["error"]["details"]] == ["Last-Event-ID"]


async def test_tail_continues_after_the_last_event_id(server: RestServer) -> None:
    session = await server.create_started()
    woken = asyncio.Event()

    @asynccontextmanager
    async def commit_signals(session_id: str) -> AsyncIterator[asyncio.Event]:
        yield woken

    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    tails = LiveEventStreams(trail, lambda: False, commit_signals)
    first = (await trail.page(session["session_id"])).items
    stream = tails.stream(session["session_id"], first, None, snapshots=False)
    tail = TailReader(stream)
    assert [(await tail.next())["event"] for _ in range(2)] == ["session_created", "session_started"]
    await server.client.post(session_url(session, "switch"))
    woken.set()
    switched = await tail.next()
    assert orjson.loads(switched["data"])["version"] == 3
    await stream.aclose()
    await server.client.post(session_url(session, "pause"))
    await server.client.delete(session_url(session))
    # A client that reconnects sends the id of its last event. The deletion of the session ends the tail.
    answer = await server.client.get(
        session_url(session, "events"), headers={"accept": "text/event-stream", "last-event-id": switched["id"]}
    )
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-accel-buffering"] == "no"
    events = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events == ["session_paused", "session_deleted"]


async def test_draining_server_ends_its_tails(settings: Settings) -> None:
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        session = await server.create()
        answer = await server.client.get(session_url(session, "events"), headers={"accept": "text/event-stream"})
        assert answer.text.count("event: ") == 1
