"""Live tails: Server-Sent Events of a session, from the first event or after the last event that a client received."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any, cast
from uuid import uuid4

import orjson
import pytest
from starlette.types import Message

from synckairos.config import Settings
from synckairos.errors import TooManyConnections
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.records import Page, TrailEvent
from synckairos.http import live_tail
from synckairos.http.live_tail import LiveEventStreams
from synckairos.http.live_tail_page import LiveTailPage
from synckairos.http.streaming_response import send_stream
from synckairos.limits.processor_time import ProcessorTime
from synckairos.principal import Principal
from synckairos.store.read_cache import ReadCache
from tests.integration.realtime.instances import serving
from tests.integration.rest_server import RestServer, open_rest_server, session_url
from tests.waiting import eventually


class TailReader:
    """A reader of the Server-Sent Events of one session."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self._received: list[str] = []

    async def next(self) -> dict[str, str]:
        """Return the fields of the next event. Skip comments and the retry hint."""
        async with asyncio.timeout(5):
            while True:
                while self._received:
                    lines = [line.split(": ", 1) for line in self._received.pop(0).splitlines()]
                    fields = dict(lines)
                    if "id" in fields:
                        return fields
                block = await anext(self._stream, None)
                assert block is not None, "the tail has ended"
                assert block.endswith(b"\n\n"), "a block ends with a whole event"
                self._received = block.decode().removesuffix("\n\n").split("\n\n")


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
    first = await tails.read_page(session["session_id"], None, 50, snapshots=False)
    stream = tails.stream(
        tails.reserve_place(Principal.anonymous_admin()),
        session["session_id"],
        first,
        None,
        snapshots=False,
        role="admin",
    )
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


class CountedTrail:
    """An audit trail that counts the reads of pages, which take until `release` is set."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self.reads = 0
        self.release = asyncio.Event()

    async def read_page(self, session_id: str, *, cursor: str | None, limit: int, snapshots: bool) -> Page[TrailEvent]:
        self.reads += 1
        await self.release.wait()
        return await self._trail.read_page(session_id, cursor=cursor, limit=limit, snapshots=snapshots)


async def test_tails_of_a_session_share_one_read_and_end_without_a_trace(server: RestServer) -> None:
    session_id = (await server.create_started())["session_id"]
    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    counted = CountedTrail(trail)
    tails = LiveEventStreams(cast(AuditTrail, counted), lambda: False)
    first = LiveTailPage((await trail.read_page(session_id)).items)
    streams = [
        tails.stream(
            tails.reserve_place(Principal.anonymous_admin("192.0.2.1")),
            session_id,
            first,
            None,
            snapshots=False,
            role="admin",
        )
        for _ in range(20)
    ]
    readers = [TailReader(stream) for stream in streams]
    for reader in readers:
        assert [(await reader.next())["event"] for _ in range(2)] == ["session_created", "session_started"]
    await server.client.post(f"/v1/sessions/{session_id}/switch")
    nexts = [asyncio.create_task(reader.next()) for reader in readers]

    async def is_read() -> bool:
        return counted.reads > 0

    await eventually(is_read)
    counted.release.set()
    switched = await asyncio.gather(*nexts)
    assert {orjson.loads(event["data"])["version"] for event in switched} == {3}
    assert counted.reads <= 2, "one read that began at once, and one for the tails that asked during it"
    for stream in streams:
        await stream.aclose()
    assert (tails.open_stream_count, tails.pending_read_count) == (0, 0)


async def test_tails_that_are_opened_at_once_share_the_reads_of_their_first_page(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, join, may_read = AuditTrail.read_page, LiveEventStreams.read_page, asyncio.Event()
    reads: Counter[tuple[str, int]] = Counter()
    joined: Counter[str] = Counter()

    async def read_later(trail: AuditTrail, session_id: str, **options: Any) -> Page[TrailEvent]:
        reads[session_id, options["limit"]] += 1
        await may_read.wait()
        return await read(trail, session_id, **options)

    async def count_and_join(tails: LiveEventStreams, session_id: str, *values: Any, **options: Any) -> LiveTailPage:
        joined[session_id] += 1
        return await join(tails, session_id, *values, **options)

    monkeypatch.setattr(AuditTrail, "read_page", read_later)
    monkeypatch.setattr(LiveEventStreams, "read_page", count_and_join)
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        session, other = await server.create_started(), await server.create()
        url, other_url = session_url(session, "events"), session_url(other, "events")
        requests = [
            asyncio.create_task(server.client.get(each, headers={"accept": "text/event-stream"}))
            for each in (*[url] * 8, other_url, f"{url}?limit=1")
        ]

        async def all_wait() -> bool:
            return joined.total() == len(requests)

        await eventually(all_wait)
        may_read.set()
        answers = [(await each).text for each in requests]
    assert [answer.count("event: ") for answer in answers] == [*[2] * 8, 1, 1]
    # The first tail of a page starts a read. The tails that ask during this read share the next one.
    assert reads == {
        (session["session_id"], 50): 2,
        (other["session_id"], 50): 1,
        (session["session_id"], 1): 1,
    }


async def test_tails_that_open_one_after_another_share_their_first_page(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = (await server.create_started())["session_id"]
    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    counted = CountedTrail(trail)
    counted.release.set()
    tails = LiveEventStreams(cast(AuditTrail, counted), lambda: False)
    monkeypatch.setattr(live_tail, "PAGE_AGE_S", 3_600)

    async def open_tail() -> list[int]:
        """Open a tail and return the versions of its first three events."""
        page = await tails.read_page(session_id, None, 50, snapshots=False)
        place = tails.reserve_place(Principal.anonymous_admin("192.0.2.1"))
        stream = tails.stream(place, session_id, page, None, snapshots=False, role="admin")
        reader = TailReader(stream)
        versions = [orjson.loads((await reader.next())["data"])["version"] for _ in range(3)]
        await stream.aclose()
        return versions

    page = await tails.read_page(session_id, None, 50, snapshots=False)
    assert await tails.read_page(session_id, None, 50, snapshots=False) is page
    assert counted.reads == 1
    # A tail that begins with a kept page gets the events after this page too.
    await server.client.post(f"/v1/sessions/{session_id}/switch")
    assert await open_tail() == [1, 2, 3]
    assert [len((await tails.read_page(session_id, None, each, snapshots=False)).events) for each in (1, 2, 3, 4)] == [
        *(1, 2, 3, 3)
    ]
    assert len(tails._pages) == live_tail.MAX_KEPT_PAGES
    # A page without events is not kept.
    unknown = str(uuid4())
    before = counted.reads
    assert not any([(await tails.read_page(unknown, None, 50, snapshots=False)).events for _ in range(2)])
    assert counted.reads == before + 2


async def test_kept_first_page_of_tails_is_forgotten(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = (await server.create_started())["session_id"]
    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    tails = LiveEventStreams(trail, lambda: False)
    monkeypatch.setattr(live_tail, "PAGE_AGE_S", 0)
    await tails.read_page(session_id, None, 50, snapshots=False)

    async def is_forgotten() -> bool:
        return not tails._pages

    await eventually(is_forgotten)


async def test_pages_of_tails_that_begin_at_once_leave_turns_of_the_event_loop(server: RestServer) -> None:
    session_id = (await server.create_started())["session_id"]
    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    tails = LiveEventStreams(trail, lambda: False)
    first = LiveTailPage((await trail.read_page(session_id)).items)
    turns: list[int] = []

    async def read_block(number: int) -> None:
        stream = tails.stream(
            tails.reserve_place(Principal.anonymous_admin()),
            session_id,
            first,
            None,
            snapshots=False,
            role="admin",
        )
        assert (await anext(stream)).startswith(b"retry")
        assert (await anext(stream)).count(b"event: ") == 2
        turns.append(number)
        await stream.aclose()

    async def count_turns() -> None:
        while sum(number >= 0 for number in turns) < 10:
            await asyncio.sleep(0)
            turns.append(-1)

    await asyncio.gather(count_turns(), *(read_block(number) for number in range(10)))
    blocks = [at for at, number in enumerate(turns) if number >= 0]
    assert all(after - before > 1 for before, after in pairwise(blocks)), "two pages in one turn of the event loop"


async def test_client_with_too_many_live_tails_is_refused_until_one_ends(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_tail, "MAX_LIVE_TAILS", 2)
    session_id = (await server.create())["session_id"]
    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    tails = LiveEventStreams(trail, lambda: False)
    caller, other = Principal.anonymous_admin("192.0.2.1"), Principal.anonymous_admin("192.0.2.2")
    first = LiveTailPage((await trail.read_page(session_id)).items)
    places = [tails.reserve_place(caller) for _ in range(2)]
    with pytest.raises(TooManyConnections, match="at most 2 live tails"):
        tails.reserve_place(caller)
    tails.reserve_place(other).close()
    streams = [tails.stream(place, session_id, first, None, snapshots=False, role="admin") for place in places]
    await anext(streams[0])
    for stream in streams:  # the second stream never started
        await stream.aclose()
        tails.reserve_place(caller).close()
    assert tails.open_stream_count == 0


async def test_simultaneous_requests_for_live_tails_do_not_exceed_the_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_tail, "MAX_LIVE_TAILS", 3)
    read, may_read = AuditTrail.read_page, asyncio.Event()

    async def read_later(trail: AuditTrail, session_id: str, **options: Any) -> Page[TrailEvent]:
        await may_read.wait()
        return await read(trail, session_id, **options)

    monkeypatch.setattr(AuditTrail, "read_page", read_later)
    live = {"accept": "text/event-stream"}
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        path = session_url(await server.create(), "events")
        requests = [asyncio.create_task(server.client.get(path, headers=live)) for _ in range(40)]

        async def has_refused() -> bool:
            return sum(each.done() for each in requests) == 37

        await eventually(has_refused)
        may_read.set()
        statuses = Counter([(await each).status_code for each in requests])
        assert statuses == {200: 3, 503: 37}
        for method, each, status in (("GET", f"/v1/sessions/{uuid4()}/events", 404), ("HEAD", path, 200)):
            answers = [await server.client.request(method, each, headers=live) for _ in range(4)]
            assert {answer.status_code for answer in answers} == {status}
        assert (await server.client.get(path, headers=live)).status_code == 200


async def test_stream_is_closed_if_its_headers_cannot_be_sent(server: RestServer) -> None:
    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    tails = LiveEventStreams(trail, lambda: False)
    stream = tails.stream(
        tails.reserve_place(Principal.anonymous_admin()),
        str(uuid4()),
        LiveTailPage([]),
        None,
        snapshots=False,
        role="admin",
    )

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def fail(message: Message) -> None:
        raise OSError("the client is gone")

    with pytest.raises(OSError, match="the client is gone"):
        await send_stream(stream, 200, [], receive, fail, headers_only=False, pace=partial(ProcessorTime().pace, "a"))
    assert tails.open_stream_count == 0


async def test_live_tail_is_refused_with_503_when_connections_are_full(settings: Settings) -> None:
    class Full:
        def require_place(self, principal: Principal) -> None:
            raise TooManyConnections("Too many connections; try again")

        def count_live_tail(self, principal: Principal) -> AbstractContextManager[None]:
            raise AssertionError("a refused tail is not counted")

    async with open_rest_server(settings, connections=Full()) as server:
        session = await server.create()
        refused = await server.client.get(session_url(session, "events"), headers={"accept": "text/event-stream"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "TOO_MANY_CONNECTIONS")
        assert refused.headers["retry-after"] == "5"
        assert (await server.client.get(session_url(session, "events"))).status_code == 200


async def test_live_tails_count_as_connections_of_their_address(settings: Settings) -> None:
    limited = settings.model_copy(update={"ws_max_connections": 3, "ws_max_connections_per_address": 2})
    async with serving(limited) as instance:
        hub = instance.hub
        first, second = (Principal.anonymous_admin(f"192.0.2.{n}") for n in (1, 2))
        with hub.count_live_tail(first):
            with hub.count_live_tail(first):
                assert (hub.would_exceed_limit("192.0.2.1"), hub.would_exceed_limit("192.0.2.2")) == (True, False)
                with hub.count_live_tail(second):
                    assert hub.would_exceed_limit("192.0.2.3")
            assert not hub.would_exceed_limit("192.0.2.1")
        assert not hub.would_exceed_limit("192.0.2.3")
