"""Answers about a database that was taken over from v2: lists, events, time reports, states and archives."""

import csv
import io
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest

from synckairos.admin.from_v2 import convert_rows_since_takeover, import_sessions
from synckairos.audit.v2_takeover import take_over_v2_database
from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from synckairos.store.store_generation import Generations
from tests.fixtures.v2 import product
from tests.fixtures.v2.product import State
from tests.fixtures.v2.redis import V2Redis
from tests.integration.audit_parts import open_audit_parts
from tests.integration.jobs.job_components import open_job_components
from tests.integration.rest_server import RestServer, chess_body, open_rest_server

T0 = 1_750_000_000_000


@pytest.fixture
def states() -> dict[str, list[State]]:
    """Return the states of an ended, a running and a paused session of v2, by name."""
    ended = [product.create(T0)]
    for at, step in enumerate(("start", "switch", "pause", "resume", "complete"), start=1):
        ended.append(getattr(product, step)(ended[-1], T0 + at * 1_000))
    left = [product.create(T0 + 60_000)]
    left.append(product.start(left[-1], T0 + 61_000))
    left.append(product.switch(left[-1], T0 + 64_000))
    paused = [product.create(T0 + 120_000, sync_mode="global")]
    paused.append(product.start(paused[-1], T0 + 121_000))
    paused.append(product.pause(paused[-1], T0 + 122_000))
    return {"ended": ended, "left": left, "paused": paused}


@pytest.fixture
async def old(settings: Settings, bare_database_url: str, states: dict[str, list[State]]) -> AsyncIterator[RestServer]:
    """Open a server on a database that was taken over from v2."""
    with psycopg.connect(bare_database_url, autocommit=True, prepare_threshold=None) as v2:
        v2.execute(product.SCHEMA)
        for state in (state for played in states.values() for state in played):
            event_type = "session_created" if state["version"] == 1 else "session_updated"
            product.record(v2, state, event_type, product.milliseconds(state["updated_at"]))
    await take_over_v2_database(bare_database_url)
    async with open_rest_server(settings.model_copy(update={"database_url": bare_database_url})) as server:
        yield server


@pytest.fixture
def get(old: RestServer) -> Callable[..., Any]:
    async def ask(path: str, status: int = 200, **headers: str) -> Any:
        answer = await old.client.get(path, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if "json" in answer.headers["content-type"] else answer

    return ask


def path_of(states: list[State]) -> str:
    return f"/v1/sessions/{states[0]['session_id']}"


def participant(states: list[State], at: int = 0) -> str:
    found: str = states[0]["participants"][at]["participant_id"]
    return found


async def test_list_has_each_session_as_v2_left_it(get: Callable[..., Any], states: dict[str, list[State]]) -> None:
    found = (await get("/v1/sessions"))["data"]
    assert [(each["session_id"], each["status"], each["version"]) for each in found] == [
        (states["paused"][0]["session_id"], "paused", 3),
        (states["left"][0]["session_id"], "running", 3),
        (states["ended"][0]["session_id"], "completed", 6),
    ]
    for query, names in (("status=completed", ["ended"]), ("sync_mode=global", ["paused"])):
        listed = (await get(f"/v1/sessions?{query}"))["data"]
        assert [each["session_id"] for each in listed] == [states[name][0]["session_id"] for name in names]


async def test_events_as_json_and_csv(get: Callable[..., Any], states: dict[str, list[State]]) -> None:
    path = path_of(states["ended"]) + "/events"
    events = (await get(path))["data"]
    types = ["created", "started", "cycle_switched", "paused", "resumed", "completed"]
    assert [each["event_type"].removeprefix("session_") for each in events] == types
    assert {each["actor"] for each in events} == {"v2"}
    with_states = (await get(f"{path}?snapshots=1&limit=2"))["data"]
    assert [each["state"]["status"] for each in with_states] == ["pending", "running"]
    rows = list(csv.DictReader(io.StringIO((await get(path, accept="text/csv")).text)))
    assert [row["event_type"] for row in rows] == [each["event_type"] for each in events]


async def test_sessions_and_time_of_a_participant(get: Callable[..., Any], states: dict[str, list[State]]) -> None:
    days = 3_650
    (row,) = (await get(f"/v1/participants/{participant(states['ended'])}/sessions?days={days}"))["data"]
    assert (row["status"], row["time_used_ms"], row["cycle_count"], row["paused_ms"]) == ("completed", 1_000, 1, 999)
    (left,) = (await get(f"/v1/participants/{participant(states['left'], 1)}/sessions?days={days}"))["data"]
    assert (left["status"], left["time_used_ms"]) == ("running", 0)
    (paused,) = (await get(f"/v1/participants/{participant(states['paused'])}/sessions?days={days}"))["data"]
    assert (paused["status"], paused["paused_ms"]) == ("paused", 0)  # nothing goes on in it
    span = "from=2025-06-15&to=2025-06-15"
    for name, at, used_ms in (("ended", 0, 1_000), ("left", 0, 3_000)):
        report = (await get(f"/v1/participants/{participant(states[name], at)}/time?{span}"))["data"]
        assert report == [{"bucket": "2025-06-15", "time_used_ms": used_ms, "session_count": 1}]
    assert (await get(f"/v1/participants/{participant(states['left'], 1)}/time?{span}"))["data"] == []


async def test_ended_session_is_readable_and_keeps_its_end(
    old: RestServer, get: Callable[..., Any], states: dict[str, list[State]]
) -> None:
    path = path_of(states["ended"])
    found = (await get(path))["data"]
    assert (found["status"], found["version"]) == ("completed", 6)
    assert found["session_completed_at"] == states["ended"][-1]["session_completed_at"]
    refused = await old.client.post(f"{path}/start")
    assert refused.json()["error"]["code"] == "INVALID_STATE_TRANSITION"
    again = await old.client.post("/v1/sessions", json=chess_body(session_id=found["session_id"]))
    assert again.json()["error"]["code"] == "SESSION_EXISTS"


async def test_unfinished_session_is_not_live(
    old: RestServer, get: Callable[..., Any], states: dict[str, list[State]]
) -> None:
    for name in ("left", "paused"):
        path = path_of(states[name])
        answer = await get(path, 404)
        assert answer["error"]["code"] == "SESSION_NOT_FOUND"
        assert "left unfinished in SyncKairos v2" in answer["error"]["message"]
        assert (await old.client.post(f"{path}/switch")).status_code == 404
        assert (await get(f"{path}/archive", 404))["error"]["code"] in ("NOT_ARCHIVED", "SESSION_NOT_FOUND")


async def test_state_at_an_instant(get: Callable[..., Any], states: dict[str, list[State]]) -> None:
    path = path_of(states["left"])
    for at_ms, version in ((T0 + 60_500, 1), (T0 + 61_500, 2), (T0 + 64_500, 3)):
        found = (await get(f"{path}?at={at_ms}"))["data"]
        assert found["version"] == version
    assert [each["time_used_ms"] for each in found["participants"]] == [3_000, 0]
    await get(f"{path}?at={T0}", 404)


async def test_unfinished_sessions_are_not_recovered(old: RestServer, states: dict[str, list[State]]) -> None:
    parts = old.parts
    generations = Generations(parts.pipe, parts.store.keys)
    generation = await generations.load_or_create(0)
    found = await parts.history.list_unfinished_session_names(other_than_generation=generation, after=None, limit=10)
    assert found == []


async def test_id_of_an_unfinished_session_can_be_created_again(
    old: RestServer, get: Callable[..., Any], states: dict[str, list[State]]
) -> None:
    session_id = states["left"][0]["session_id"]
    created = await old.create(session_id=session_id)
    assert created["version"] == 1
    await old.drain()
    assert (await get(path_of(states["left"])))["data"] == created
    events = (await get(path_of(states["left"]) + "/events"))["data"]
    assert [each["version"] for each in events] == [1, 2, 3, 1]
    # The turn in which v2 left the session ends at the new creation, at the latest: nothing of it counts.
    report = await get(f"/v1/participants/{participant(states['left'], 1)}/time?from=2025-06-15&to=2025-06-15")
    assert report["data"] == []


async def findings(settings: Settings) -> dict[str, list[tuple[str, bool]]]:
    async with open_verifier(settings.database_url, OutageChargePolicy()) as verifier:
        return {
            each.session_id: [(finding.kind, finding.contradicts_audit) for finding in each.findings]
            async for each in verifier.verify_each_session()
        }


async def test_verification_says_imported(old: RestServer, states: dict[str, list[State]]) -> None:
    assert await findings(old.settings) == {
        played[0]["session_id"]: [("imported", False)] for played in states.values()
    }


async def test_changes_of_an_ended_session_are_verified(old: RestServer, states: dict[str, list[State]]) -> None:
    path = path_of(states["ended"])
    answer = await old.client.patch(path, json={"metadata": {"round": 2}})
    assert answer.json()["data"]["version"] == 7
    await old.drain()
    assert await findings(old.settings) == {
        played[0]["session_id"]: [("imported", False)] for played in states.values()
    }
    assert (await old.client.delete(path)).status_code == 204
    await old.drain()
    assert (await findings(old.settings))[states["ended"][0]["session_id"]] == [("imported", False)]


async def test_tampered_rows_of_v2_are_found(old: RestServer, states: dict[str, list[State]]) -> None:
    session_id = states["ended"][0]["session_id"]
    async with open_audit_parts(old.settings) as audit:
        for what in ("snapshot = snapshot || ' '::bytea", "version = 90"):
            await audit.database.execute(
                f"UPDATE sync_events SET {what} WHERE session_id = %s AND version = 3".encode(), [session_id]
            )
    kinds = [kind for kind, _ in (await findings(old.settings))[session_id]]
    assert {"imported", "hash", "gap"} <= set(kinds)


async def test_session_is_archived_and_leaves_postgres(
    old: RestServer, get: Callable[..., Any], states: dict[str, list[State]]
) -> None:
    session_id = states["ended"][0]["session_id"]
    async with open_audit_parts(old.settings) as audit, open_job_components(audit) as components:
        assert await components.retention.archive_and_delete(session_id, after_s=0)
        assert await audit.rows("SELECT count(*) FROM sync_events WHERE session_id = %s", session_id) == [(0,)]
    events = (await get(path_of(states["ended"]) + "/events"))["data"]
    assert [each["version"] for each in events] == [1, 2, 3, 4, 5, 6]
    assert (await get(path_of(states["ended"])))["data"]["status"] == "completed"


async def test_later_rows_of_v2_appear_in_lists_that_redis_keeps(old: RestServer, get: Callable[..., Any]) -> None:
    began_ms = time.time_ns() // 1_000_000 - 3_600_000
    first = [product.create(began_ms)]
    first.append(product.start(first[-1], began_ms + 1_000))
    people = first[0]["participants"]
    second = [product.create(began_ms + 60_000, participants=people)]
    second.append(product.start(second[-1], began_ms + 61_000))
    path = f"/v1/participants/{participant(first)}/sessions"
    with psycopg.connect(old.settings.database_url, autocommit=True, prepare_threshold=None) as v2:
        for states in ([first[0]], [first[1], *second]):
            for state in states:
                product.record(v2, state, "session_updated", product.milliseconds(state["updated_at"]))
            await convert_rows_since_takeover(old.settings)
            listed = [(each["session_id"], each["status"]) for each in (await get(path))["data"]]
            assert (first[0]["session_id"], states[0]["status"]) in listed
            assert (await get(path_of(first) + "/events"))["data"][-1]["version"] == states[0]["version"]
    assert listed == [(second[0]["session_id"], "running"), (first[0]["session_id"], "running")]


async def test_time_is_counted_once_across_the_move(old: RestServer, get: Callable[..., Any]) -> None:
    """The audit of v2, its live state and a command here give one time report without a gap."""
    settings, prefix = old.settings, f"{old.settings.key_prefix}-v2:"
    began_ms = time.time_ns() // 1_000_000 - 60_000
    played = [product.create(began_ms, [600_000, 600_000])]
    for at, step in enumerate(("start", "switch", "switch"), start=1):
        played.append(getattr(product, step)(played[-1], began_ms + at * 10_000))
    with psycopg.connect(settings.database_url, autocommit=True, prepare_threshold=None) as v2:
        for state in played[:-1]:
            product.record(v2, state, "session_updated", product.milliseconds(state["updated_at"]))
        await V2Redis(old.parts.pipe, prefix).save(played[-1])
        async for _ in import_sessions(settings, settings.redis_url, prefix):
            pass
        # v2's queue is late: its last row comes after the import.
        product.record(v2, played[-1], "session_updated", product.milliseconds(played[-1]["updated_at"]))
    answer = await old.client.post(f"{path_of(played)}/switch")
    switched_ms = product.milliseconds(answer.json()["data"]["cycle_started_at"])
    await old.client.post(f"{path_of(played)}/pause")
    await old.drain()
    await convert_rows_since_takeover(settings)
    state = (await get(path_of(played)))["data"]
    for at, each in enumerate(state["participants"]):
        report = (await get(f"/v1/participants/{participant(played, at)}/time?bucket=session"))["data"]
        assert report == [{"bucket": state["session_id"], "time_used_ms": each["time_used_ms"], "session_count": 1}]
    assert state["participants"][0]["time_used_ms"] == 10_000 + switched_ms - (began_ms + 30_000)
    events = (await get(path_of(played) + "/events"))["data"]
    assert [(each["actor"], each["version"]) for each in events] == [
        ("v2", 1), ("v2", 2), ("v2", 3), ("v2", 4), ("import-v2", 5), ("anonymous", 6), ("anonymous", 7),
    ]  # fmt: skip
    assert (await findings(settings))[state["session_id"]] == [("imported", False)]
