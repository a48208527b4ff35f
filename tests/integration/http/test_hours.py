"""The report of a team's hours: groups, buckets, rounding, pages, columns, access and bad input."""

from collections.abc import AsyncIterator
from csv import DictReader
from typing import Any
from uuid import uuid4

import pytest

from synckairos.config import Settings
from synckairos.history import time_report
from synckairos.http.history import SESSION_CSV_COLUMNS
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.participant_rows import list_rows
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, list_all, open_rest_server, session_url

MINUTE_MS = 60_000
WIDE = {"from": "2026-01-01", "to": "2026-12-31"}
ADA, BEN, CARA = ("0198c0de-0000-7000-8000-00000000000" + end for end in "abc")


@pytest.fixture
async def named(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


async def record(server: RestServer, person: str, begin: str, minutes: int, **fields: Any) -> dict[str, Any]:
    """Record an entry that begins at `begin`, such as `03-02T08:00`, in UTC in 2026."""
    day, clock = begin.split("T")
    hour, minute = map(int, clock.split(":"))
    end = hour * 60 + minute + minutes
    times = {
        "started_at": f"2026-{day}T{hour:02}:{minute:02}:00Z",
        "completed_at": f"2026-{day}T{end // 60:02}:{end % 60:02}:00Z",
    }
    body = {"sync_mode": "count_up", "participants": [{"participant_id": person}], "recorded": times, **fields}
    answer = await server.client.post("/v1/sessions", json=body, headers=as_caller("root"))
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()["data"]
    return session


async def team(server: RestServer) -> None:
    """Record the entries of a team in two weeks of March. The second half stays in the outbox."""
    await record(server, ADA, "03-02T08:00", 61, labels={"client": "north", "job": "a"})
    await record(server, ADA, "03-02T10:00", 30, labels={"client": "north", "job": "b"})
    await record(server, BEN, "03-03T08:00", 45, labels={"client": "north"})
    await server.drain()
    await record(server, ADA, "03-08T08:00", 20, labels={"client": "south"})  # a Sunday
    await record(server, BEN, "04-01T08:00", 7, labels={"client": "north", "job": "a"})
    await record(server, CARA, "03-03T09:00", 100)


async def hours(server: RestServer, **query: Any) -> list[list[Any]]:
    """Return the rows of a report as lists: the values of their members, with minutes instead of milliseconds."""
    answer = await server.client.get("/v1/hours", params=WIDE | query, headers=as_caller("root"))
    assert answer.status_code == 200, answer.text
    return [
        [value / MINUTE_MS if name == "time_used_ms" else value for name, value in row.items()]
        for row in answer.json()["data"]
    ]


async def test_sums_by_participant_label_and_bucket(server: RestServer) -> None:
    await team(server)
    north = {"label": "client=north"}
    for _ in range(2):
        assert await hours(server, **north, bucket="month") == [["2026-03", 136, 3], ["2026-04", 7, 1]]
        assert await hours(server, **north, bucket="week", group_by="participant") == [
            ["2026-W10", ADA, 91, 2],
            ["2026-W10", BEN, 45, 1],
            ["2026-W14", BEN, 7, 1],
        ]
        assert await hours(server, participants=f"{BEN},{ADA}", bucket="month", group_by="label.client,label.job") == [
            ["2026-03", "north", "a", 61, 1],
            ["2026-03", "north", "b", 30, 1],
            ["2026-03", "north", None, 45, 1],
            ["2026-03", "south", None, 20, 1],
            ["2026-04", "north", "a", 7, 1],
        ]
        assert await hours(server, participants=ADA, bucket="week", week_start="sunday") == [
            ["2026-03-01", 91, 2],
            ["2026-03-08", 20, 1],
        ]
        assert await hours(server, participants=ADA, bucket="week", week_start="saturday") == [
            ["2026-02-28", 91, 2],
            ["2026-03-07", 20, 1],
        ]
        assert await hours(server, **north, participants=ADA, bucket="month") == [["2026-03", 91, 2]]
        assert await hours(server, label=["client=north", "job=a"], bucket="month", group_by="participant") == [
            ["2026-03", ADA, 61, 1],
            ["2026-04", BEN, 7, 1],
        ]
        assert await hours(server, label="client=west") == []
        await server.drain()


async def test_changed_labels_and_deletions_in_the_outbox_count(server: RestServer) -> None:
    entry = await record(server, ADA, "03-02T08:00", 60, labels={"client": "north"})
    other = await record(server, ADA, "03-03T08:00", 60, labels={"client": "north"})
    await server.drain()
    await server.client.patch(session_url(entry), json={"labels": {"client": "south"}})
    await server.client.delete(session_url(other))
    for _ in range(2):
        assert await hours(server, label="client=north") == []
        assert await hours(server, label="client=south") == [["2026-03-02", 60, 1]]
        await server.drain()


async def test_open_turns_count_until_now(server: RestServer) -> None:
    body = {"sync_mode": "count_up", "participants": [{"participant_id": ADA}], "labels": {"client": "north"}}
    session = (await server.client.post("/v1/sessions", json=body)).json()["data"]
    await server.client.post(session_url(session, "start"))
    for _ in range(2):
        for query in ({"label": "client=north"}, {"participants": ADA}):
            (before,) = await list_rows(server, ADA)
            answer = await server.client.get("/v1/hours", params=query)
            (after,) = await list_rows(server, ADA)
            (row,) = answer.json()["data"]
            assert before["time_used_ms"] <= row["time_used_ms"] <= after["time_used_ms"]
            assert row["session_count"] == 1
        await server.drain()


@pytest.mark.parametrize(
    ("rounding", "minutes"),
    [
        ({}, 91),
        ({"round_ms": 15 * MINUTE_MS}, 90),
        ({"round_ms": 15 * MINUTE_MS, "round": "nearest"}, 90),
        ({"round_ms": 15 * MINUTE_MS, "round": "up"}, 75 + 30),
        ({"round_ms": 2 * MINUTE_MS, "round": "nearest"}, 62 + 30),
        ({"round_ms": 1}, 91),
        ({"round_ms": 86_400_000, "round": "up"}, 2 * 24 * 60),
    ],
)
async def test_part_of_each_session_is_rounded(server: RestServer, rounding: dict[str, Any], minutes: int) -> None:
    await team(server)
    for query in ({"group_by": "participant"}, {"group_by": "label.client"}, {}):
        rows = await hours(server, participants=ADA, to="2026-03-07", **query, **rounding)
        assert rows[0][-2:] == [minutes, 2]
    answer = await server.client.get(f"/v1/participants/{ADA}/time", params=WIDE | {"to": "2026-03-07"} | rounding)
    assert answer.json()["data"][0]["time_used_ms"] == minutes * MINUTE_MS


@pytest.mark.parametrize("bucket", ["session", "day", "week", "month"])
async def test_pages_have_each_row_once(server: RestServer, bucket: str) -> None:
    await team(server)
    query = WIDE | {"participants": f"{ADA},{BEN},{CARA}", "bucket": bucket, "group_by": "participant,label.job"}
    whole = await list_all(server.client, "/v1/hours", **query)
    assert len(whole) >= 4
    for limit in (1, 2, 3):
        assert await list_all(server.client, "/v1/hours", **query, limit=limit) == whole


async def test_pages_count_running_turns_until_the_instant_of_the_first_page(server: RestServer) -> None:
    body = {"sync_mode": "count_up", "participants": [{"participant_id": BEN}]}
    await record(server, ADA, "03-02T08:00", 60)
    session = (await server.client.post("/v1/sessions", json=body)).json()["data"]
    await server.client.post(session_url(session, "start"))
    query = {"participants": f"{ADA},{BEN}", "group_by": "participant", "from": "2026-01-01", "bucket": "session"}
    query |= {"limit": "1"}
    first = (await server.client.get("/v1/hours", params=query)).json()
    second = [
        (await server.client.get("/v1/hours", params=query | {"cursor": first["next_cursor"]})).json()["data"]
        for _ in range(2)
    ]
    assert second[0] == second[1]


async def test_csv_and_columns(server: RestServer) -> None:
    await team(server)
    query = WIDE | {"label": "client=north", "group_by": "participant,label.job", "bucket": "month"}
    csv = await server.client.get("/v1/hours", params=query, headers={"accept": "text/csv"})
    assert csv.text.splitlines()[:2] == [
        "bucket,participant_id,label.job,time_used_ms,session_count",
        f'"2026-03","{ADA}","a",3660000,1',
    ]
    chosen = query | {"columns": "time_used_ms,label.job"}
    csv = await server.client.get("/v1/hours", params=chosen, headers={"accept": "text/csv"})
    assert csv.text.splitlines()[:2] == ["time_used_ms,label.job", '3660000,"a"']
    assert (await server.client.get("/v1/hours", params=chosen)).json()["data"][0] == {
        "time_used_ms": 3_660_000,
        "label.job": "a",
    }
    path = f"/v1/participants/{ADA}/time"
    answer = await server.client.get(path, params=WIDE | {"columns": "session_count,bucket", "bucket": "month"})
    assert answer.json()["data"] == [{"session_count": 3, "bucket": "2026-03"}]


async def test_lists_return_selected_columns(server: RestServer) -> None:
    entry = await record(server, ADA, "03-02T08:00", 60, metadata={"project": "x;=1", "a": {"b": 1}, "n": None})
    columns = "metadata.project,session_id,metadata.a,metadata.none,time_used_ms"
    row = {
        "metadata.project": "x;=1",
        "session_id": entry["session_id"],
        "metadata.a": {"b": 1},
        "metadata.none": None,
        "time_used_ms": 3_600_000,
    }
    for _ in range(2):
        path = f"/v1/participants/{ADA}/sessions"
        answer = await server.client.get(path, params={"columns": columns, "days": 3_660})
        assert answer.json()["data"] == [row]
        csv = await server.client.get(path, params={"columns": columns, "days": 3_660}, headers={"accept": "text/csv"})
        head, line = csv.text.splitlines()
        assert head == columns
        assert line.startswith('"x;\'=1","')
        await server.drain()
        assert (await server.client.get("/v1/sessions", params={"columns": columns})).json()["data"] == [row]
        all_csv = await server.client.get("/v1/sessions", params={"columns": columns}, headers={"accept": "text/csv"})
        assert (all_csv.text, all_csv.headers["content-type"]) == (csv.text, "text/csv; charset=utf-8")
    events = f"{session_url(entry)}/events"
    answer = await server.client.get(events, params={"columns": "version,event_type,group_id"})
    assert answer.json()["data"] == [{"version": 1, "event_type": "session_recorded", "group_id": None}]
    csv = await server.client.get(events, params={"columns": "event_type"}, headers={"accept": "text/csv"})
    assert csv.text == 'event_type\r\n"session_recorded"\r\n'
    lines = await server.client.get(events, params={"columns": "version"}, headers={"accept": "application/x-ndjson"})
    assert lines.text == '{"version":1}\n'


async def test_list_of_sessions_comes_as_csv_in_pages(server: RestServer) -> None:
    first = await record(server, ADA, "03-02T08:00", 60, metadata={"note": "=1+1"}, labels={"team": "a"})
    second = await record(server, ADA, "03-03T08:00", 30)
    await server.drain()
    page = await server.client.get("/v1/sessions", params={"limit": 1}, headers={"accept": "text/csv"})
    head, line = page.text.splitlines()
    assert head == ",".join(SESSION_CSV_COLUMNS)
    assert line.startswith(f'"{second["session_id"]}","count_up","completed",1,"')
    assert "Accept" in page.headers["vary"]
    page = await server.client.get(page.links["next"]["url"], headers={"accept": "text/csv"})
    (row,) = DictReader(page.text.splitlines())
    assert (row["session_id"], row["time_used_ms"], row["deadline_at"]) == (first["session_id"], "3600000", "")
    assert (row["labels"], row["metadata"]) == ('{"team":"a"}', '{"note":"=1+1"}')
    assert "next" not in page.links
    wanted = {"columns": "participants,session_id"}
    page = await server.client.get("/v1/sessions", params=wanted, headers={"accept": "text/csv"})
    assert [row["session_id"] for row in DictReader(page.text.splitlines())] == [
        second["session_id"],
        first["session_id"],
    ]
    refused = await server.client.get("/v1/sessions", params={"columns": "none"}, headers={"accept": "text/csv"})
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ({}, ["participants"]),
        ({"participants": "x"}, ["participants"]),
        ({"participants": ""}, ["participants"]),
        ({"participants": f"{ADA},{ADA.upper()}"}, ["participants"]),
        ({"participants": ",".join(str(uuid4()) for _ in range(101))}, ["participants"]),
        ({"label": "client"}, ["label.0"]),
        ({"participants": ADA, "group_by": "metadata.x"}, ["group_by"]),
        ({"participants": ADA, "group_by": "participant,participant"}, ["group_by"]),
        ({"participants": ADA, "group_by": "label.UPPER"}, ["group_by"]),
        ({"participants": ADA, "bucket": "year"}, ["bucket"]),
        ({"participants": ADA, "week_start": "sunday"}, ["week_start"]),
        ({"participants": ADA, "week_start": "friday", "bucket": "week"}, ["week_start"]),
        ({"participants": ADA, "round_ms": 0}, ["round_ms"]),
        ({"participants": ADA, "round_ms": 86_400_001}, ["round_ms"]),
        ({"participants": ADA, "round_ms": "5m"}, ["round_ms"]),
        ({"participants": ADA, "round": "up"}, ["round"]),
        ({"participants": ADA, "round_ms": 1, "round": "down"}, ["round"]),
        ({"participants": ADA, "tz": "Mars/Olympus"}, ["tz"]),
        ({"participants": ADA, "from": "2026-03-29T02:30:00", "tz": "Europe/Berlin"}, ["from"]),
        ({"participants": ADA, "from": "2026-02-30"}, ["from"]),
        ({"participants": ADA, "from": "2026-02-02", "to": "2026-02-01"}, ["from"]),
        ({"participants": ADA, "columns": "bucket,key"}, ["columns.1"]),
        ({"participants": ADA, "columns": "bucket,bucket,metadata.x"}, ["columns.1", "columns.2"]),
        ({"participants": ADA, "limit": 1_001}, ["limit"]),
        ({"participants": ADA, "cursor": "x"}, ["cursor"]),
        ({"participants": ADA, "size": 5}, ["size"]),
        ({"week_start": "sunday", "round": "up", "tz": "x"}, ["participants", "round", "tz", "week_start"]),
    ],
)
async def test_bad_queries_are_refused_with_named_faults(
    server: RestServer, query: dict[str, Any], paths: list[str]
) -> None:
    answer = await server.client.get("/v1/hours", params=query)
    assert problem_of(answer) == (400, "VALIDATION_ERROR")
    assert sorted(each["path"] for each in answer.json()["error"]["details"]) == paths


@pytest.mark.parametrize(
    ("path", "columns", "faults"),
    [
        ("/v1/sessions", "session_id,metdata.x", ["columns.1"]),
        ("/v1/sessions", "metadata.", ["columns.0"]),
        (f"/v1/participants/{ADA}/sessions", "key", ["columns.0"]),
        (f"/v1/participants/{ADA}/time", "metadata.x", ["columns.0"]),
        (f"/v1/participants/{ADA}/sessions", ",".join(f"metadata.k{at}" for at in range(51)), ["columns"]),
        (f"/v1/sessions/{ADA}/events", "state", ["columns.0"]),
    ],
)
async def test_unknown_columns_are_refused(server: RestServer, path: str, columns: str, faults: list[str]) -> None:
    answer = await server.client.get(path, params={"columns": columns})
    assert problem_of(answer) == (400, "VALIDATION_ERROR")
    assert [each["path"] for each in answer.json()["error"]["details"]] == faults


async def test_callers_read_hours_of_sessions_that_they_control_and_their_own(named: RestServer) -> None:
    await team(named)
    lead = as_caller("lead", "controller", reaches="label:client=north")
    everywhere = as_caller("boss", "controller", reaches="*")
    watcher = as_caller("watcher", "viewer", reaches="label:client=north")
    ada = as_caller("ada", "participant", participant_id=ADA)

    async def status(caller: dict[str, str], **query: Any) -> int:
        return (await named.client.get("/v1/hours", params=WIDE | query, headers=caller)).status_code

    assert await status(lead, label="client=north") == 200
    assert await status(lead, label=["client=north", "job=a"], participants=ADA) == 200
    assert await status(lead, label="client=south") == 403
    assert await status(lead, participants=ADA) == 403
    assert await status(everywhere, participants=ADA) == 200
    assert await status(watcher, label="client=north") == 403
    assert await status(ada, participants=ADA) == 200
    assert await status(ada, participants=ADA, label="client=north") == 200
    assert await status(ada, participants=f"{ADA},{BEN}") == 403
    assert await status(ada, label="client=north") == 403


async def test_report_by_labels_is_refused_while_the_outbox_is_too_long(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_report, "MAX_OUTBOX_ENTRIES", 2)
    await record(server, ADA, "03-02T08:00", 60, labels={"client": "north"})
    assert await hours(server, label="client=north") == [["2026-03-02", 60, 1]]
    await record(server, ADA, "03-03T08:00", 60, labels={"client": "north"})
    answer = await server.client.get("/v1/hours", params={"label": "client=north"})
    assert problem_of(answer) == (503, "STORE_UNAVAILABLE")
    assert len(await hours(server, participants=ADA)) == 2
    await server.drain()
    assert len(await hours(server, label="client=north")) == 2
