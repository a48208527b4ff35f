"""Recorded sessions and the command `amend` over REST: lists, reports, the audit, evictions and races."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest

from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.jobs.retention import Retention, SessionRowDeleter
from synckairos.jobs.table import open_job_pool
from synckairos.jobs.write_archive import Archiver
from synckairos.postgres.access import cross_tenant_access
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import parse_time_ms
from tests.integration.participant_rows import list_rows
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, open_rest_server, session_url
from tests.integration.round_trips import RoundTrips

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

MORNING: dict[str, Any] = {
    "started_at": "2026-03-02T08:00:00.000Z",
    "completed_at": "2026-03-02T16:30:00.000Z",
    "breaks": [
        {"from": "2026-03-02T10:00:00.000Z", "to": "2026-03-02T10:15:00.000Z"},
        {"from": "2026-03-02T12:00:00.000Z", "to": "2026-03-02T12:45:00.000Z"},
    ],
}
WORKED_MS = 7 * HOUR_MS + 30 * MINUTE_MS


def entry_body(ada: str, **fields: Any) -> dict[str, Any]:
    return {
        "sync_mode": "count_up",
        "participants": [{"participant_id": ada, "display_name": "Ada"}],
        "recorded": MORNING,
        "metadata": {"project": "website"},
    } | fields


async def record(server: RestServer, ada: str, **fields: Any) -> dict[str, Any]:
    answer = await server.client.post("/v1/sessions", json=entry_body(ada, **fields))
    assert answer.status_code == 201, answer.text
    session: dict[str, Any] = answer.json()["data"]
    return session


async def amend(server: RestServer, session: dict[str, Any], **body: Any) -> httpx.Response:
    return await server.client.post(session_url(session, "amend"), json=body)


async def reported(server: RestServer, ada: str, **query: Any) -> list[tuple[str, int]]:
    """Return the rows of a time report: bucket and minutes."""
    wide = {"from": "2026-01-01", "to": "2027-12-31", "bucket": "day"}
    answer = await server.client.get(f"/v1/participants/{ada}/time", params=wide | query)
    assert answer.status_code == 200, answer.text
    return [(each["bucket"], each["time_used_ms"] // MINUTE_MS) for each in answer.json()["data"]]


async def verify(server: RestServer, session: dict[str, Any]) -> list[str]:
    async with open_verifier(server.settings.database_url, OutageChargePolicy()) as verifier:
        found = await verifier.verify_session(session["session_id"])
    assert found is not None
    return [each.text for each in found.findings]


async def archive(server: RestServer, session: dict[str, Any]) -> None:
    """Move a session to cold storage and out of Postgres and Redis."""
    objects, keys = ColdStorage(server.settings.archive_url), server.parts.store.keys
    async with open_job_pool(server.settings.database_url) as pool:
        refresh = SummaryRefresh(server.parts.pipe, keys)
        deleter = SessionRowDeleter(pool)
        retention = Retention(objects, Archiver(pool, objects), deleter, server.parts.store, server.outbox, refresh)
        assert await retention.archive_and_delete(session["session_id"], 0)
    await evict(server, keys, session)


async def evict(server: RestServer, keys: Keys, session: dict[str, Any]) -> None:
    await server.parts.pipe.call("DEL", keys.history(session["session_id"]), keys.session(session["session_id"]))


async def test_recorded_session_is_listed_and_counted_before_and_after_the_drain(server: RestServer) -> None:
    ada = str(uuid4())
    session = await record(server, ada)
    assert (session["status"], session["version"], session["time_used_ms"]) == ("completed", 1, WORKED_MS)
    assert session["session_started_at"] == MORNING["started_at"]
    assert session["session_completed_at"] == MORNING["completed_at"]
    assert session["breaks"] == MORNING["breaks"]
    for is_drained in (False, True):
        (row,) = await list_rows(server, ada, days=3_660)
        assert row == {
            "session_id": session["session_id"],
            "sync_mode": "count_up",
            "status": "completed",
            "started_at": MORNING["started_at"],
            "completed_at": MORNING["completed_at"],
            "time_used_ms": WORKED_MS,
            "paused_ms": HOUR_MS,
            "cycle_count": 0,
            "metadata": {"project": "website"},
            "synced": is_drained,
        }
        assert await reported(server, ada) == [("2026-03-02", 450)]
        assert await reported(server, ada, **{"from": "2026-03-02T11:00:00Z", "to": "2026-03-02T12:30:00Z"}) == [
            ("2026-03-02", 60)
        ]
        (event,) = (await server.client.get(session_url(session, "events"))).json()["data"]
        assert (event["event_type"], event["participant_id"]) == ("session_recorded", ada)
        assert [(each["from"][11:16], each["to"][11:16]) for each in event["charges"]] == [
            ("08:00", "10:00"),
            ("10:15", "12:00"),
            ("12:45", "16:30"),
        ]
        await server.drain()
    assert await verify(server, session) == []
    assert (await server.client.get(session_url(session))).json()["data"] == session


async def test_creation_is_replayed_and_its_faults_are_named(server: RestServer) -> None:
    ada = str(uuid4())
    headers = {"idempotency-key": "monday"}
    first = await server.client.post("/v1/sessions", json=entry_body(ada), headers=headers)
    again = await server.client.post("/v1/sessions", json=entry_body(ada), headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"

    async def faults(**fields: Any) -> list[str]:
        answer = await server.client.post("/v1/sessions", json=entry_body(ada, **fields))
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        return [each["path"] for each in answer.json()["error"]["details"]]

    assert await faults(sync_mode="global", total_time_ms=1_000) == ["recorded"]
    pair = [{"participant_id": str(uuid4())} for _ in range(2)]
    assert await faults(participants=pair) == ["recorded"]
    assert await faults(starts_at="2026-03-02T08:00:00Z") == ["starts_at"]
    assert await faults(recorded={"started_at": "2026-03-02T08:00:00"}) == [
        "recorded.started_at",
        "recorded.completed_at",
    ]
    assert await faults(recorded=MORNING | {"completed_at": "2026-03-02T07:00:00Z"}) == ["recorded.completed_at"]
    assert await faults(recorded=MORNING | {"completed_at": "2999-03-02T07:00:00Z"}) == ["recorded.completed_at"]
    outside = [{"from": "2026-03-02T07:00:00Z", "to": "2026-03-02T09:00:00Z"}]
    assert await faults(recorded=MORNING | {"breaks": outside}) == ["recorded.breaks.0.from"]
    assert await faults(recorded=MORNING | {"breaks": [{"from": "x"}]}) == [
        "recorded.breaks.0.from",
        "recorded.breaks.0.to",
    ]
    assert [each["session_id"] for each in await list_rows(server, ada, days=3_660)] == [
        first.json()["data"]["session_id"]
    ]


async def test_settings_of_a_running_clock_have_no_effect(server: RestServer) -> None:
    fields = {"max_time_ms": 1_000, "on_timeout": "pause", "warnings_ms": [500], "switch_while_paused": True}
    answer = await server.client.post("/v1/sessions", json=entry_body(str(uuid4()), **fields))
    assert answer.status_code == 201
    assert sorted(each["path"] for each in answer.json()["warnings"]) == sorted(fields)
    assert answer.json()["data"]["time_used_ms"] == WORKED_MS


async def test_amendment_of_very_many_charges_needs_the_breaks(server: RestServer) -> None:
    body = {"sync_mode": "count_up", "participants": [{"participant_id": str(uuid4())}]}
    session = (await server.client.post("/v1/sessions", json=body)).json()["data"]
    for verb in ("start", "pause", "complete"):
        assert (await server.client.post(session_url(session, verb))).status_code == 200
    await server.drain()
    async with await psycopg.AsyncConnection.connect(server.settings.database_url) as database:
        # As if the clock had run in 10,001 parts.
        await database.execute(
            """
            INSERT INTO sync_charges (session_id, epoch, version, participant_id, began_at, ended_at)
            SELECT session_id, epoch, 3, gen_random_uuid(), started_at, started_at + interval '1 ms'
            FROM sync_sessions, generate_series(1, 10001)
            WHERE session_id = %s
            """,
            [session["session_id"]],
        )
    early = {"started_at": "2026-03-02T08:00:00Z"}
    refused = await amend(server, session, **early)
    assert problem_of(refused) == (400, "INVALID_STATE_TRANSITION")
    assert "give all of them in breaks" in refused.text
    answer = await amend(server, session, **early, breaks=[])
    assert answer.json()["data"]["breaks"] == []


@pytest.mark.parametrize("is_drained_between", [False, True])
@pytest.mark.parametrize("is_drained_after", [False, True])
async def test_amendment_replaces_all_times_in_lists_and_reports(
    server: RestServer, is_drained_between: bool, is_drained_after: bool
) -> None:
    ada = str(uuid4())
    session = await record(server, ada)
    await list_rows(server, ada, days=3_660)  # fills the cache
    if is_drained_between:
        await server.drain()
    answer = await amend(server, session, completed_at="2026-03-03T01:00:00Z", reason="release")
    amended = answer.json()["data"]
    assert (amended["version"], amended["status"], amended["breaks"]) == (2, "completed", MORNING["breaks"])
    assert amended["time_used_ms"] == 16 * HOUR_MS
    if is_drained_after:
        await server.drain()
    assert await reported(server, ada) == [("2026-03-02", 15 * 60), ("2026-03-03", 60)]
    auckland = await reported(server, ada, tz="Pacific/Auckland")
    assert auckland == [("2026-03-02", 165), ("2026-03-03", 795)]
    (row,) = await list_rows(server, ada, days=3_660)
    assert (row["time_used_ms"], row["paused_ms"], row["completed_at"]) == (
        16 * HOUR_MS,
        HOUR_MS,
        "2026-03-03T01:00:00.000Z",
    )
    moved = await amend(
        server, session, started_at="2026-02-27T12:00:00Z", completed_at="2026-02-27T13:00:00Z", breaks=[]
    )
    assert moved.json()["data"]["breaks"] == []
    if is_drained_after:
        await server.drain()
    assert await reported(server, ada) == [("2026-02-27", 60)]
    (row,) = await list_rows(server, ada, days=3_660)
    assert (row["started_at"], row["time_used_ms"], row["paused_ms"]) == ("2026-02-27T12:00:00.000Z", HOUR_MS, 0)
    await server.drain()
    assert await verify(server, session) == []
    assert await reported(server, ada) == [("2026-02-27", 60)]
    trail = (await server.client.get(session_url(session, "events"))).json()["data"]
    assert [(each["event_type"], len(each["charges"])) for each in trail] == [
        ("session_recorded", 3),
        ("session_amended", 3),
        ("session_amended", 1),
    ]


async def test_newest_entries_come_first_by_their_start(server: RestServer) -> None:
    ada = str(uuid4())
    for day in (3, 9, 5):
        times = {"started_at": f"2026-03-{day:02}T08:00:00Z", "completed_at": f"2026-03-{day:02}T09:00:00Z"}
        await record(server, ada, recorded=times)
        if day == 9:
            await server.drain()
    for _ in range(2):
        rows = await list_rows(server, ada, days=3_660)
        assert [each["started_at"][8:10] for each in rows] == ["09", "05", "03"]
        await server.drain()


async def live_entry(server: RestServer, ada: str) -> dict[str, Any]:
    """Run a session with one pause to its end. Return its document."""
    body = {"sync_mode": "count_up", "participants": [{"participant_id": ada}]}
    session: dict[str, Any] = (await server.client.post("/v1/sessions", json=body)).json()["data"]
    for verb in ("start", "pause", "resume", "complete"):
        if verb == "resume":
            await wait_past_pause(server, session)
        answer = await server.client.post(session_url(session, verb))
        assert answer.is_success
    ended: dict[str, Any] = answer.json()["data"]
    return ended


async def wait_past_pause(server: RestServer, session: dict[str, Any]) -> None:
    """Wait until the time of Redis is past the millisecond of the pause. A pause of 0 ms would be no break."""
    paused = (await server.client.get(session_url(session))).json()["data"]
    paused_ms = 1000 * datetime.fromisoformat(paused["updated_at"]).timestamp()
    while parse_time_ms(await server.parts.pipe.call("TIME")) <= paused_ms:
        pass


def break_count(answer: httpx.Response) -> int:
    assert answer.status_code == 200, answer.text
    breaks: list[Any] = answer.json()["data"]["breaks"]
    return len(breaks)


@pytest.mark.parametrize("state", ["in the outbox", "partly drained", "drained", "evicted"])
async def test_measured_session_keeps_its_pauses(server: RestServer, state: str) -> None:
    ada = str(uuid4())
    session = await live_entry(server, ada)
    if state != "in the outbox":
        await server.drain()
    if state == "partly drained":
        await server.client.patch(session_url(session), json={"metadata": {"note": 1}})
    if state == "evicted":
        await evict(server, server.parts.store.keys, session)
    earlier = "2026-03-02T08:00:00.000Z"
    answer = await amend(server, session, started_at=earlier)
    amended = answer.json()["data"]
    assert break_count(answer) == 1
    assert amended["session_completed_at"] == session["session_completed_at"]
    await server.drain()
    assert await verify(server, session) == []
    sums = await reported(server, ada, bucket="session", to="2999-01-01")
    assert sums == [(session["session_id"], amended["time_used_ms"] // MINUTE_MS)]


async def test_amendment_that_names_its_breaks_does_not_read_the_outbox_after_the_drain(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await live_entry(server, str(uuid4()))
    trips: list[int] = []
    for is_drained in (False, False, True):  # the first amendment also loads the script that reads the outbox
        if is_drained:
            await server.drain()
        changed = {"breaks": [], "completed_at": f"2026-03-02T16:0{len(trips)}:00Z"}
        with monkeypatch.context() as patch:
            counted = RoundTrips(patch, server.parts.pipe, session["session_id"])
            answer = await amend(server, session, started_at="2026-03-02T08:00:00Z", **changed)
            assert answer.is_success, answer.text
            trips.append(counted.count)
    assert trips[2] == trips[1] - 1


async def test_session_that_only_cold_storage_has_cannot_be_amended(server: RestServer) -> None:
    for is_recorded in (True, False):
        ada = str(uuid4())
        session = await (record if is_recorded else live_entry)(server, ada)
        await server.drain()
        await archive(server, session)
        changes: list[dict[str, Any]] = [{"completed_at": "2026-03-02T16:00:00Z"}, {"breaks": []}]
        for body in changes:
            assert problem_of(await amend(server, session, **body)) == (409, "SESSION_ARCHIVED")
        assert (await server.client.get(session_url(session))).json()["data"] == session
        lines = (await server.client.get(session_url(session, "events"))).json()["data"]
        assert len([each for line in lines for each in line.get("charges", ())]) == (3 if is_recorded else 2)


async def test_one_of_two_instances_amends_a_version(server: RestServer, settings: Settings) -> None:
    session = await record(server, str(uuid4()))
    async with open_rest_server(settings) as other:
        answers = await asyncio.gather(
            *(
                amend(each, session, completed_at=f"2026-03-02T1{hour}:30:00Z", expected_version=1)
                for each, hour in ((server, 7), (other, 8))
            )
        )
        assert sorted(each.status_code for each in answers) == [200, 409]
        # Without an expected version both happen, one after the other.
        answers = await asyncio.gather(
            *(
                amend(each, session, completed_at=f"2026-03-02T{hour}:00:00Z")
                for each, hour in ((server, 19), (other, 20))
            )
        )
    assert sorted(each.json()["data"]["version"] for each in answers) == [3, 4]
    await server.drain()
    assert await verify(server, session) == []


async def test_amendment_is_replayed_and_refused_with_named_faults(server: RestServer) -> None:
    ada = str(uuid4())
    session = await record(server, ada)
    options: dict[str, Any] = {"json": {"completed_at": "2026-03-02T17:00:00Z"}, "headers": {"idempotency-key": "a"}}
    first = await server.client.post(session_url(session, "amend"), **options)
    again = await server.client.post(session_url(session, "amend"), **options)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    same = await amend(server, session, completed_at="2026-03-02T17:00:00Z")
    assert same.json()["data"]["version"] == 2
    assert problem_of(await amend(server, session, participant_id=str(uuid4()), breaks=[])) == (
        404,
        "PARTICIPANT_NOT_FOUND",
    )
    for body, paths in (
        ({}, [""]),
        ({"reason": "x"}, [""]),
        ({"completed_at": "2026-03-02T07:00:00Z"}, ["completed_at"]),
        ({"completed_at": "2026-03-02T12:30:00Z"}, ["breaks"]),
        ({"breaks": [{"from": "2026-03-02T09:00:00Z", "to": "2026-03-02T09:00:00Z"}]}, ["breaks.0.to"]),
        ({"breaks_before": []}, ["breaks_before"]),
    ):
        answer = await amend(server, session, **body)
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert [each["path"] for each in answer.json()["error"]["details"]][-1:] == paths
    assert (await server.client.get(session_url(session))).json()["data"] == first.json()["data"]


async def test_webhook_and_export_rows_have_all_charges_of_a_recorded_session(server: RestServer) -> None:
    session = await record(server, str(uuid4()))
    await amend(server, session, breaks=[])
    await server.drain()
    rows = await server.parts.pool.fetch(
        b"SELECT version, count(*), bool_and(is_void) FROM sync_every_charge() WHERE session_id = %(id)s "
        b"GROUP BY 1 ORDER BY 1",
        {"id": session["session_id"]},
        access=cross_tenant_access(),
    )
    assert rows == [(1, 3, True), (2, 1, False)]
    csv = await server.client.get(session_url(session, "events"), headers={"accept": "text/csv"})
    assert csv.text.count('""from""') == 4
    assert orjson.loads((await server.client.get(session_url(session, "events"))).content)["data"][0]["charges"]
