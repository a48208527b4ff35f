"""REST routes of history: cursors, events, and the sessions and time report of a participant."""

import csv
import io
import socket
from uuid import uuid4

import orjson

from synckairos.config import Settings
from synckairos.history.page_cursor import render_cursor
from synckairos.wire.response_models import EventPage, ParticipationPage, TimeBuckets
from tests.integration.rest_server import RestServer, list_all, open_rest_server, session_url

# -- cursors and missing stores ---------------------------------------------------------------------------------------


TEXTS = ("", "x", "x\0", "\0", "{" + str(uuid4()) + "}", str(uuid4()), "\uffff", "x" * 200, "x" * 300)
NUMBERS = (0, 1, -1, 2**31, -(2**53), 2**53 - 1, 2**63, 2**64 - 1, -(2**63), 1_795_327_676_331)


async def test_cursor_that_no_list_returned_is_refused_or_gives_a_page(settings: Settings) -> None:
    cursors = [
        *("x", "bm9wZQ", "WyJhIiwxXQ", "WzEsIngiXQ", "Wy0xLCJ4Il0", "é", "\0", "===", "W10"),
        *(render_cursor(number, text) for number in NUMBERS for text in TEXTS),
        *(render_cursor(number, 1, "x") for number in NUMBERS),
        *(render_cursor(1, number, "x") for number in NUMBERS),
        *(render_cursor(1_795_327_676_331, 1, text) for text in TEXTS),
    ]
    # A draining server ends its live tails at once.
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        session = await server.create()
        for cursor in cursors:
            for path in ("/v1/sessions", session_url(session, "events"), f"/v1/participants/{uuid4()}/sessions"):
                answer = await server.client.get(path, params={"cursor": cursor})
                assert answer.status_code in (200, 400), (path, cursor, answer.text)
                if answer.status_code == 400:
                    assert answer.json()["error"]["details"][0]["path"] == "cursor"
            headers = {b"accept": b"text/event-stream", b"last-event-id": cursor.encode()}
            answer = await server.client.get(session_url(session, "events"), headers=headers)
            assert answer.status_code in (200, 400), (cursor, answer.text)


async def test_without_postgres_lists_are_refused_and_live_sessions_work(settings: Settings) -> None:
    """A list without the sessions of Postgres would look complete, so the request is refused."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"postgresql://user@127.0.0.1:{closed.getsockname()[1]}/nothing"
        async with open_rest_server(settings.model_copy(update={"database_url": away})) as server:
            session = await server.create_started()
            ada = session["participants"][0]["participant_id"]
            for path in ("/v1/sessions", session_url(session, "events"), f"/v1/participants/{ada}/sessions"):
                answer = await server.client.get(path)
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
                assert "Postgres" in answer.json()["detail"]
                assert answer.headers["retry-after"] == "1"
            assert (await server.client.post(session_url(session, "switch"))).status_code == 200
            assert (await server.client.get(session_url(session))).json()["data"]["version"] == 3


# -- events -----------------------------------------------------------------------------------------------------------


async def test_events_include_those_in_the_outbox(server: RestServer) -> None:
    session = await server.create_started()
    await server.drain()
    await server.client.post(session_url(session, "switch"))
    await server.client.post(session_url(session, "pause"))
    kinds = ["session_created", "session_started", "cycle_switched", "session_paused"]
    for limit in (1, 3, 50):
        events = await list_all(server.client, session_url(session, "events"), limit=limit)
        assert [event["event_type"] for event in events] == kinds
        assert [event["version"] for event in events] == [1, 2, 3, 4]
    assert {event["epoch"] for event in events} == {session["epoch"]}
    assert events[2]["participant_id"] == session["participants"][0]["participant_id"]
    assert "state" not in events[0]
    EventPage.model_validate_json((await server.client.get(session_url(session, "events"))).content)
    shown = await list_all(server.client, session_url(session, "events"), snapshots=1, limit=2)
    assert [event["state"]["version"] for event in shown] == [1, 2, 3, 4]
    assert shown[1]["state"] == session


async def test_events_of_a_deleted_session_stay(server: RestServer) -> None:
    session = await server.create()
    await server.client.delete(session_url(session))
    again = await server.create(session_id=session["session_id"])
    events = await list_all(server.client, session_url(session, "events"))
    assert [(event["event_type"], event["version"]) for event in events] == [
        ("session_created", 1), ("session_deleted", 2), ("session_created", 1),
    ]  # fmt: skip
    assert events[-1]["epoch"] == again["epoch"]
    unknown = await server.client.get(f"/v1/sessions/{uuid4()}/events")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "SESSION_NOT_FOUND")


async def test_events_are_returned_as_csv_or_json_lines_if_requested(server: RestServer) -> None:
    session = await server.create_started()
    as_csv = await server.client.get(session_url(session, "events"), headers={"accept": "text/csv"})
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert "Accept" in as_csv.headers["vary"]
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [row["event_type"] for row in rows] == ["session_created", "session_started"]
    as_lines = await server.client.get(
        session_url(session, "events"), params={"snapshots": 1, "limit": 1}, headers={"accept": "application/x-ndjson"}
    )
    assert as_lines.headers["content-type"] == "application/x-ndjson"
    [line] = as_lines.text.splitlines()
    assert orjson.loads(line)["state"]["version"] == 1
    assert 'rel="next"' in as_lines.headers["link"]
    following = as_lines.headers["link"].partition("<")[2].partition(">")[0]
    rest = await server.client.get(following, headers={"accept": "application/x-ndjson"})
    assert orjson.loads(rest.text)["version"] == 2


async def test_csv_of_every_route_has_no_formula_and_no_byte_order_mark(server: RestServer) -> None:
    ada, formula = str(uuid4()), "Zoë;\u00a0＝1+1"
    session = await server.create_started(
        sync_mode="count_up",
        total_time_ms=None,
        participants=[{"participant_id": ada}],
        metadata={"project": formula},
    )
    await server.client.post(session_url(session, "pause"))
    await server.drain()
    found: dict[str, list[dict[str, str]]] = {}
    for path, params in (
        (session_url(session, "events"), {"snapshots": "1"}),
        (f"/v1/participants/{ada}/sessions", {}),
        (f"/v1/participants/{ada}/time", {"group_by": "metadata.project"}),
    ):
        as_csv = await server.client.get(path, params=params, headers={"accept": "text/csv"})
        text = as_csv.content.decode()
        assert text.startswith(("epoch,", "session_id,", "bucket,"))
        assert all(part.startswith("'\u00a0") for part in text.split(";")[1:])
        found[path.rsplit("/")[-1]] = list(csv.DictReader(io.StringIO(text)))
        assert formula in (await server.client.get(path, params=params)).text
    assert {row["key"] for row in found["time"]} == {"Zoë;'\u00a0＝1+1"}
    assert orjson.loads(found["events"][0]["state"])["metadata"] == {"project": formula}
    assert orjson.loads(found["sessions"][0]["metadata"]) == {"project": formula}


# -- live tails -------------------------------------------------------------------------------------------------------


# -- participants -----------------------------------------------------------------------------------------------------


async def test_sessions_of_a_participant_include_those_in_the_outbox(server: RestServer) -> None:
    ada = str(uuid4())
    people = [
        {"participant_id": ada, "total_time_ms": 600_000},
        {"participant_id": str(uuid4()), "total_time_ms": 600_000},
    ]
    old = await server.create_started(participants=people, metadata={"project": "x"})
    await server.client.post(session_url(old, "complete"))
    live = await server.create_started(participants=people)
    await server.drain()
    await server.client.post(session_url(live, "switch"))
    rows = await list_all(server.client, f"/v1/participants/{ada}/sessions", limit=1)
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
    await server.client.delete(session_url(live))
    assert [row["session_id"] for row in await list_all(server.client, f"/v1/participants/{ada}/sessions")] == [
        old["session_id"]
    ]


async def test_time_report_of_a_participant_has_buckets_and_groups(server: RestServer) -> None:
    ada = str(uuid4())
    session = await server.create_started(
        sync_mode="count_up", total_time_ms=None, participants=[{"participant_id": ada}], metadata={"project": "=x"}
    )
    await server.client.post(session_url(session, "pause"))
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
