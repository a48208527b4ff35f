"""What was: lists with what is live, events with what is on its way, somebody's sessions and hours, live tails."""

import asyncio
import csv
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.config import Settings
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.page_cursor import render_cursor
from synckairos.http import session_list
from synckairos.http.live_tail import LiveTail
from synckairos.store.read_cache import ReadCache
from synckairos.wire.response_models import EventPage, ParticipationPage, SessionPage, TimeBuckets
from tests.integration.rest_server import RestServer, open_rest_server


def url(session: dict[str, Any], more: str = "") -> str:
    return f"/v1/sessions/{session['session_id']}{more}"


async def pages(client: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """Return all items of a list, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body["data"]
        assert ("link" in answer.headers) == (body["next_cursor"] is not None)
        if body["next_cursor"] is None:
            return found
        assert body["data"], "a page that isn't the last has something on it"
        params["cursor"] = body["next_cursor"]


# -- the list ---------------------------------------------------------------------------------------------------------


async def test_the_list_has_what_is_live_and_what_was(server: RestServer) -> None:
    made = [await server.create(metadata={"at": at}) for at in range(3)]
    await server.client.post(url(made[0], "/start"))
    await server.client.post(url(made[1], "/cancel"))
    await server.drain()
    made += [await server.create(metadata={"at": at}) for at in range(3, 6)]
    await server.client.post(url(made[0], "/pause"))
    await server.client.delete(url(made[2]))
    for limit in (1, 2, 3, 50):
        listed = await pages(server.client, "/v1/sessions", limit=limit)
        assert [each["metadata"]["at"] for each in listed] == [5, 4, 3, 1, 0]
    assert listed[-1]["status"] == "paused", "as Redis has it, not as the audit has it yet"
    SessionPage.model_validate_json((await server.client.get("/v1/sessions")).content)


async def test_the_list_can_be_narrowed(server: RestServer) -> None:
    running = await server.create_started()
    counting = await server.create(sync_mode="count_up")
    done = await server.create()
    await server.client.post(url(done, "/complete"))
    await server.drain()

    async def ids(**params: Any) -> list[str]:
        return [each["session_id"] for each in await pages(server.client, "/v1/sessions", limit=1, **params)]

    assert await ids(status="running") == [running["session_id"]]
    assert await ids(status="completed") == [done["session_id"]]
    assert await ids(sync_mode="count_up") == [counting["session_id"]]
    assert await ids(status="paused") == []
    await server.client.post(url(running, "/pause"))
    assert await ids(status="running") == []
    assert await ids(status="paused") == [running["session_id"]]


async def test_a_narrow_list_of_many_sessions_is_whole(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_list, "LIVE_BATCH_SIZE", 2)
    monkeypatch.setattr(session_list, "MAX_LIVE_BATCHES", 2)
    made = [await server.create(metadata={"at": at}) for at in range(14)]
    for at in (1, 7, 13):
        await server.client.post(url(made[at], "/start"))
    await server.drain()
    for limit in (1, 2, 50):
        listed = await pages(server.client, "/v1/sessions", status="running", limit=limit)
        assert [each["metadata"]["at"] for each in listed] == [13, 7, 1]
        everything = await pages(server.client, "/v1/sessions", limit=limit)
        assert [each["metadata"]["at"] for each in everything] == list(range(13, -1, -1))


async def test_nobody_is_listed_past_zero(server: RestServer) -> None:
    session = await server.create_started()
    await server.parts.rewind(session["session_id"], 700_000)
    [listed] = await pages(server.client, "/v1/sessions")
    assert listed["status"] == "expired"


TEXTS = ("", "x", "x\0", "\0", "{" + str(uuid4()) + "}", str(uuid4()), "\uffff", "x" * 200, "x" * 300)
NUMBERS = (0, 1, -1, 2**31, -(2**53), 2**53 - 1, 2**63, 2**64 - 1, -(2**63), 1_795_327_676_331)


async def test_a_cursor_is_one_of_ours(settings: Settings) -> None:
    cursors = [
        *("x", "bm9wZQ", "WyJhIiwxXQ", "WzEsIngiXQ", "Wy0xLCJ4Il0", "é", "\0", "===", "W10"),
        *(render_cursor(number, text) for number in NUMBERS for text in TEXTS),
        *(render_cursor(number, 1, "x") for number in NUMBERS),
        *(render_cursor(1, number, "x") for number in NUMBERS),
        *(render_cursor(1_795_327_676_331, 1, text) for text in TEXTS),
    ]
    # A server that drains ends its tails at once.
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        session = await server.create()
        for cursor in cursors:
            for path in ("/v1/sessions", url(session, "/events"), f"/v1/participants/{uuid4()}/sessions"):
                answer = await server.client.get(path, params={"cursor": cursor})
                assert answer.status_code in (200, 400), (path, cursor, answer.text)
                if answer.status_code == 400:
                    assert answer.json()["error"]["details"][0]["path"] == "cursor"
            headers = {b"accept": b"text/event-stream", b"last-event-id": cursor.encode()}
            answer = await server.client.get(url(session, "/events"), headers=headers)
            assert answer.status_code in (200, 400), (cursor, answer.text)


async def test_a_tail_without_a_last_event_begins_at_the_first(settings: Settings) -> None:
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        session = await server.create()
        headers = {"accept": "text/event-stream", "last-event-id": ""}
        assert "session_created" in (await server.client.get(url(session, "/events"), headers=headers)).text
        assert (await server.client.get(f"/v1/sessions/{uuid4()}/events", headers=headers)).status_code == 404
        odd = await server.client.get(url(session, "/events"), headers=headers | {"last-event-id": "5"})
        assert [each["path"] for each in odd.json()["error"]["details"]] == ["Last-Event-ID"]


async def test_without_postgres_history_says_so(settings: Settings) -> None:
    """Half a list would look like a whole one, so none is given; what is live can be read and driven all the same."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"postgresql://nobody@127.0.0.1:{closed.getsockname()[1]}/nothing"
        async with open_rest_server(settings.model_copy(update={"database_url": away})) as server:
            session = await server.create_started()
            ada = session["participants"][0]["participant_id"]
            for path in ("/v1/sessions", url(session, "/events"), f"/v1/participants/{ada}/sessions"):
                answer = await server.client.get(path)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
                assert "Postgres" in answer.json()["detail"]
                assert answer.headers["retry-after"] == "1"
            assert (await server.client.post(url(session, "/switch"))).status_code == 200
            assert (await server.client.get(url(session))).json()["data"]["version"] == 3


# -- events -----------------------------------------------------------------------------------------------------------


async def test_events_are_whole_at_once(server: RestServer) -> None:
    session = await server.create_started()
    await server.drain()
    await server.client.post(url(session, "/switch"))
    await server.client.post(url(session, "/pause"))
    kinds = ["session_created", "session_started", "cycle_switched", "session_paused"]
    for limit in (1, 3, 50):
        events = await pages(server.client, url(session, "/events"), limit=limit)
        assert [event["event_type"] for event in events] == kinds
        assert [event["version"] for event in events] == [1, 2, 3, 4]
    assert {event["epoch"] for event in events} == {session["epoch"]}
    assert events[2]["participant_id"] == session["participants"][0]["participant_id"]
    assert "state" not in events[0]
    EventPage.model_validate_json((await server.client.get(url(session, "/events"))).content)
    shown = await pages(server.client, url(session, "/events"), snapshots=1, limit=2)
    assert [event["state"]["version"] for event in shown] == [1, 2, 3, 4]
    assert shown[1]["state"] == session


async def test_events_outlive_the_session(server: RestServer) -> None:
    session = await server.create()
    await server.client.delete(url(session))
    again = await server.create(session_id=session["session_id"])
    events = await pages(server.client, url(session, "/events"))
    assert [(event["event_type"], event["version"]) for event in events] == [
        ("session_created", 1), ("session_deleted", 2), ("session_created", 1),
    ]  # fmt: skip
    assert events[-1]["epoch"] == again["epoch"]
    unknown = await server.client.get(f"/v1/sessions/{uuid4()}/events")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "SESSION_NOT_FOUND")


async def test_events_come_in_other_forms(server: RestServer) -> None:
    session = await server.create_started()
    as_csv = await server.client.get(url(session, "/events"), headers={"accept": "text/csv"})
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert "Accept" in as_csv.headers["vary"]
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [row["event_type"] for row in rows] == ["session_created", "session_started"]
    as_lines = await server.client.get(
        url(session, "/events"), params={"snapshots": 1, "limit": 1}, headers={"accept": "application/x-ndjson"}
    )
    assert as_lines.headers["content-type"] == "application/x-ndjson"
    [line] = as_lines.text.splitlines()
    assert orjson.loads(line)["state"]["version"] == 1
    assert 'rel="next"' in as_lines.headers["link"]
    following = as_lines.headers["link"].partition("<")[2].partition(">")[0]
    rest = await server.client.get(following, headers={"accept": "application/x-ndjson"})
    assert orjson.loads(rest.text)["version"] == 2


# -- live tails -------------------------------------------------------------------------------------------------------


class Tail:
    """RestServer-Sent Events of one session, as they come."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream

    async def next(self) -> dict[str, str]:
        """Return the next event's fields; comments and the retry hint are passed over."""
        async with asyncio.timeout(5):
            async for piece in self._stream:
                lines = [line.split(": ", 1) for line in piece.decode().strip().splitlines()]
                fields = dict(lines)
                if "id" in fields:
                    return fields
        raise AssertionError("the tail has ended")


async def test_a_tail_goes_on_where_it_was(server: RestServer) -> None:
    session = await server.create_started()
    woken = asyncio.Event()

    @asynccontextmanager
    async def commit_signals(session_id: str) -> AsyncIterator[asyncio.Event]:
        yield woken

    trail = AuditTrail(server.parts.history, server.outbox, ReadCache(server.parts.pipe, server.parts.store.keys))
    tails = LiveTail(trail, lambda: False, commit_signals)
    first = (await trail.page(session["session_id"])).items
    stream = tails.stream(session["session_id"], first, None, snapshots=False)
    tail = Tail(stream)
    assert [(await tail.next())["event"] for _ in range(2)] == ["session_created", "session_started"]
    await server.client.post(url(session, "/switch"))
    woken.set()
    switched = await tail.next()
    assert orjson.loads(switched["data"])["version"] == 3
    await stream.aclose()
    await server.client.post(url(session, "/pause"))
    await server.client.delete(url(session))
    # A client that lost its connection comes back with the last id, and the end of the session ends the tail.
    answer = await server.client.get(
        url(session, "/events"), headers={"accept": "text/event-stream", "last-event-id": switched["id"]}
    )
    assert answer.headers["content-type"] == "text/event-stream"
    told = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert told == ["session_paused", "session_deleted"]


async def test_a_draining_server_ends_its_tails(settings: Settings) -> None:
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        session = await server.create()
        answer = await server.client.get(url(session, "/events"), headers={"accept": "text/event-stream"})
        assert answer.text.count("event: ") == 1


# -- a participant ----------------------------------------------------------------------------------------------------


async def test_a_participants_sessions(server: RestServer) -> None:
    ada = str(uuid4())
    people = [
        {"participant_id": ada, "total_time_ms": 600_000},
        {"participant_id": str(uuid4()), "total_time_ms": 600_000},
    ]
    old = await server.create_started(participants=people, metadata={"project": "x"})
    await server.client.post(url(old, "/complete"))
    live = await server.create_started(participants=people)
    await server.drain()
    await server.client.post(url(live, "/switch"))
    rows = await pages(server.client, f"/v1/participants/{ada}/sessions", limit=1)
    assert [(row["session_id"], row["status"], row["synced"]) for row in rows] == [
        (live["session_id"], "running", False),
        (old["session_id"], "completed", True),
    ]
    assert rows[0]["cycle_count"] == 1
    assert rows[1]["metadata"] == {"project": "x"}
    answer = await server.client.get(f"/v1/participants/{ada.upper()}/sessions", params={"days": 7})
    assert len(ParticipationPage.model_validate_json(answer.content).data) == 2
    as_csv = await server.client.get(f"/v1/participants/{ada}/sessions", headers={"accept": "text/csv"})
    assert [row["synced"] for row in csv.DictReader(io.StringIO(as_csv.text))] == ["false", "true"]
    await server.client.delete(url(live))
    assert [row["session_id"] for row in await pages(server.client, f"/v1/participants/{ada}/sessions")] == [
        old["session_id"]
    ]


async def test_a_participants_hours(server: RestServer) -> None:
    ada = str(uuid4())
    session = await server.create_started(
        sync_mode="count_up", total_time_ms=None, participants=[{"participant_id": ada}], metadata={"project": "=x"}
    )
    await server.client.post(url(session, "/pause"))
    await server.drain()
    path = f"/v1/participants/{ada}/time"
    for bucket in ("session", "day", "week"):
        answer = await server.client.get(path, params={"bucket": bucket, "tz": "Europe/Berlin"})
        assert answer.status_code == 200, answer.text
        TimeBuckets.model_validate_json(answer.content)
    grouped = await server.client.get(path, params={"group_by": "metadata.project", "bucket": "session"})
    for row in grouped.json()["data"]:
        assert (row["bucket"], row["key"], row["session_count"]) == (session["session_id"], "=x", 1)
    as_csv = await server.client.get(path, params={"group_by": "metadata.project"}, headers={"accept": "text/csv"})
    assert as_csv.text.splitlines()[0] == "bucket,key,time_used_ms,session_count"
    wrong = await server.client.get(path, params={"tz": "Mars/Base", "from": "x"})
    assert (wrong.status_code, {fault["path"] for fault in wrong.json()["error"]["details"]}) == (400, {"tz", "from"})
