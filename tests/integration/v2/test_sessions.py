"""Sessions over the REST routes of v2: life, turns, expiry, refusals, races and several instances."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.config import Settings
from tests.integration.rest_server import RestServer, open_rest_server
from tests.integration.v2.v2_client import V2Client, creation_of_v2
from tests.integration.v2.v2_schemas import Json, check_error, check_session

MIN = 60_000
HOUR = 60 * MIN
DAY = 24 * HOUR
LONGEST = 400 * DAY
"""Milliseconds: the longest duration. In v2 a budget has at most a day, and an increment at most a minute."""


@pytest.fixture
async def v2(server: RestServer) -> V2Client:
    return V2Client(server.client)


@pytest.fixture
async def other_v2(settings: Settings, server: RestServer) -> AsyncIterator[V2Client]:
    """A client of another instance on the same stores."""
    async with open_rest_server(settings) as other:
        yield V2Client(other.client)


def ids(session: Json) -> list[str]:
    return [each["participant_id"] for each in session["participants"]]


# -- the life of a session --------------------------------------------------------------------------------------------


async def test_creation_returns_a_pending_session_with_all_members_of_v2(v2: V2Client) -> None:
    body = creation_of_v2(MIN, MIN)
    answer = await v2.http.post("/v1/sessions", json=body)
    assert answer.status_code == 201
    assert set(answer.json()) == {"data"}
    session = check_session(answer.json()["data"])
    assert (session["session_id"], session["status"], session["version"]) == (body["session_id"], "pending", 1)
    assert session["sync_mode"] == "per_participant"
    assert session["total_time_ms"] == 2 * MIN
    for unset in ("active_participant_id", "cycle_started_at", "session_started_at", "session_completed_at"):
        assert session[unset] is None
    for at, each in enumerate(session["participants"]):
        assert each["participant_id"] == body["participants"][at]["participant_id"]
        assert (each["participant_index"], each["total_time_ms"], each["time_remaining_ms"]) == (at, MIN, MIN)
        assert (each["time_used_ms"], each["cycle_count"]) == (0, 0)
        assert (each["is_active"], each["has_expired"]) == (False, False)


async def test_session_lives_through_all_routes_of_v2(server: RestServer, v2: V2Client) -> None:
    session = await v2.create(MIN, MIN)
    first, second = ids(session)
    started = await v2.command(session, "start")
    assert (started["status"], started["active_participant_id"]) == ("running", first)
    assert started["cycle_started_at"] == started["session_started_at"] is not None
    assert [each["is_active"] for each in started["participants"]] == [True, False]
    assert await v2.read(session) == started
    await server.parts.rewind(session["session_id"], 100)
    switched = await v2.command(session, "switch")
    assert switched["active_participant_id"] == second
    assert [each["is_active"] for each in switched["participants"]] == [False, True]
    assert [each["cycle_count"] for each in switched["participants"]] == [1, 0]
    assert 100 <= switched["participants"][0]["time_used_ms"] < 20_000
    assert "expired_participant_id" not in switched
    paused = await v2.command(session, "pause")
    assert (paused["status"], paused["cycle_started_at"], paused["active_participant_id"]) == ("paused", None, second)
    resumed = await v2.command(session, "resume")
    assert (resumed["status"], resumed["active_participant_id"]) == ("running", second)
    assert resumed["cycle_started_at"] is not None
    remaining = [[each["time_remaining_ms"] for each in state["participants"]] for state in (paused, resumed)]
    assert remaining[0] == remaining[1]
    completed = await v2.command(session, "complete")
    assert (completed["status"], completed["active_participant_id"]) == ("completed", None)
    assert completed["session_completed_at"] is not None
    assert completed["cycle_started_at"] is None
    assert not any(each["is_active"] for each in completed["participants"])
    assert (await v2.read(session))["status"] == "completed"
    assert await v2.delete(session) == 204
    answer = await v2.http.get(f"/v1/sessions/{session['session_id']}")
    assert (answer.status_code, check_error(answer.json())["code"]) == (404, "SESSION_NOT_FOUND")


async def test_version_grows_by_one_with_each_change(v2: V2Client) -> None:
    session = await v2.create(10 * MIN, 10 * MIN)
    versions = [session["version"]]
    for verb in ("start", "switch", "pause", "resume", "complete"):
        await v2.command(session, verb)
        versions.append((await v2.read(session))["version"])
    assert versions == [1, 2, 3, 4, 5, 6]


async def test_pending_session_can_be_completed(v2: V2Client) -> None:
    session = await v2.create(MIN)
    assert (await v2.command(session, "complete"))["status"] == "completed"


@pytest.mark.parametrize("verbs", [(), ("start",), ("start", "pause"), ("start", "complete")])
async def test_session_in_each_status_can_be_deleted(v2: V2Client, verbs: tuple[str, ...]) -> None:
    session = await v2.create(MIN)
    for verb in verbs:
        await v2.command(session, verb)
    assert await v2.delete(session) == 204
    for verb in ("start", "switch", "pause", "resume", "complete"):
        status, error = await v2.refused(session, verb)
        assert (status, error["code"]) == (404, "SESSION_NOT_FOUND")
    assert await v2.delete(session) == 204


async def test_deletion_of_a_missing_session_is_no_failure(v2: V2Client) -> None:
    assert await v2.delete({"session_id": str(uuid4())}) == 204
    assert await v2.delete({"session_id": "00000000-0000-0000-0000-000000000000"}) == 204


# -- turns ------------------------------------------------------------------------------------------------------------


async def test_switch_passes_the_turn_in_order_and_begins_again(v2: V2Client) -> None:
    session = await v2.create(MIN, MIN, MIN)
    await v2.command(session, "start")
    turns = [(await v2.command(session, "switch"))["active_participant_id"] for _ in range(5)]
    first, second, third = ids(session)
    assert turns == [second, third, first, second, third]


async def test_switch_passes_the_turn_to_the_named_participant(v2: V2Client) -> None:
    session = await v2.create(MIN, MIN, MIN)
    await v2.command(session, "start")
    third = ids(session)[2]
    assert (await v2.command(session, "switch", {"next_participant_id": third}))["active_participant_id"] == third
    assert (await v2.command(session, "switch", {}))["active_participant_id"] == ids(session)[0]


async def test_switch_with_one_participant_begins_its_next_turn(v2: V2Client) -> None:
    session = await v2.create(MIN)
    await v2.command(session, "start")
    switched = await v2.command(session, "switch")
    assert (switched["active_participant_id"], switched["participants"][0]["cycle_count"]) == (ids(session)[0], 1)


async def test_increment_is_added_after_a_turn(v2: V2Client) -> None:
    session = await v2.create(MIN, MIN, increment_ms=5_000)
    assert session["increment_ms"] == 5_000
    await v2.command(session, "start")
    first = (await v2.command(session, "switch"))["participants"][0]
    assert first["time_remaining_ms"] == MIN + 5_000 - first["time_used_ms"]


async def test_pause_does_not_charge_time(server: RestServer, v2: V2Client) -> None:
    session = await v2.create(5 * MIN, 5 * MIN)
    await v2.command(session, "start")
    await server.parts.rewind(session["session_id"], 2_000)
    paused = await v2.command(session, "pause")
    left_ms = paused["participants"][0]["time_remaining_ms"]
    assert 5 * MIN - 22_000 < left_ms <= 5 * MIN - 2_000
    assert paused["participants"][0]["is_active"]
    assert (await v2.command(session, "resume"))["participants"][0]["time_remaining_ms"] == left_ms


async def test_hundred_participants_and_a_day_are_accepted(v2: V2Client) -> None:
    session = await v2.create(*[MIN] * 100)
    assert len(session["participants"]) == 100
    await v2.command(session, "start")
    for at in range(1, 6):
        assert (await v2.command(session, "switch"))["active_participant_id"] == ids(session)[at]
    assert (await v2.create(DAY))["participants"][0]["total_time_ms"] == DAY


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        ("per_participant", {"time_per_cycle_ms": 30_000, "increment_ms": 1_000, "max_time_ms": 180_000}),
        ("per_cycle", {"time_per_cycle_ms": 30_000}),
        ("per_cycle", {}),
        ("global", {}),
        ("count_up", {"increment_ms": 1_000, "max_time_ms": HOUR}),
        ("count_up", {}),
    ],
)
async def test_body_that_v2_accepts_is_accepted_in_each_mode(v2: V2Client, mode: str, fields: dict[str, Any]) -> None:
    metadata = {"custom": "value", "nested": {"deep": "object"}, "list": [1, 2, None]}
    session = await v2.create(MIN, 2 * MIN, sync_mode=mode, metadata=metadata, **fields)
    assert session["sync_mode"] == mode
    for verb in ("start", "switch", "pause", "resume", "complete"):
        await v2.command(session, verb)


async def test_groups_of_v2_are_accepted(v2: V2Client) -> None:
    body = creation_of_v2(MIN, 2 * MIN, sync_mode="per_group")
    groups = [str(uuid4()), str(uuid4())]
    for group_id, each in zip(groups, body["participants"], strict=True):
        each["group_id"] = group_id
    answer = await v2.http.post("/v1/sessions", json=body)
    assert answer.status_code == 201
    session = check_session(answer.json()["data"])
    assert [each["group_id"] for each in session["participants"]] == groups


# -- expiry -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_found_by_the_timekeeper", [True, False])
async def test_switch_after_the_time_ran_out_names_the_participant(
    server: RestServer, v2: V2Client, is_found_by_the_timekeeper: bool
) -> None:
    session = await v2.create(1_000, MIN, increment_ms=5_000)
    await v2.command(session, "start")
    await server.parts.rewind(session["session_id"], 1_200)
    if is_found_by_the_timekeeper:
        await server.parts.sessions.commit_overdue(session["session_id"])
    first = ids(session)[0]
    for _ in range(2):
        switched = await v2.command(session, "switch")
        assert (switched["expired_participant_id"], switched["status"]) == (first, "expired")
        assert switched["participants"][0]["has_expired"] is True
        assert switched["participants"][0]["time_remaining_ms"] == 0
    expired = await v2.read(session)
    assert (expired["status"], expired["version"], expired["active_participant_id"]) == ("expired", 3, None)
    status, error = await v2.refused(session, "complete")
    assert (status, error["code"]) == (400, "INVALID_STATE_TRANSITION")


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"session_id": "not-a-uuid"},
        {"session_id": None},
        {"sync_mode": "invalid_mode"},
        {"participants": []},
        {"participants": None},
        {"total_time_ms": -1_000},
        {"total_time_ms": 500},
        {"total_time_ms": LONGEST + 1},
        {"total_time_ms": "60000"},
        {"time_per_cycle_ms": 500},
        {"time_per_cycle_ms": None},
        {"increment_ms": -100},
        {"increment_ms": LONGEST + 1},
        {"max_time_ms": 999},
        {"metadata": "text"},
    ],
)
async def test_creation_that_v2_refuses_is_refused(v2: V2Client, wrong: dict[str, Any]) -> None:
    answer = await v2.http.post("/v1/sessions", json=creation_of_v2(MIN, MIN, **wrong))
    error = check_error(answer.json())
    assert (answer.status_code, error["code"]) == (400, "VALIDATION_ERROR")
    assert error["message"] == "Request validation failed"
    assert error["details"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"participant_id": "user@example.com"},
        {"participant_id": "ユーザー1"},
        {"participant_index": -1},
        {"total_time_ms": 500},
        {"total_time_ms": -1_000},
        {"total_time_ms": LONGEST + 1},
        {"total_time_ms": 60_000.5},
        {"group_id": "not-a-uuid"},
    ],
)
async def test_participant_that_v2_refuses_is_refused(v2: V2Client, wrong: dict[str, Any]) -> None:
    body = creation_of_v2(MIN, MIN)
    body["participants"][1] |= wrong
    answer = await v2.http.post("/v1/sessions", json=body)
    assert (answer.status_code, check_error(answer.json())["code"]) == (400, "VALIDATION_ERROR")


async def test_participant_twice_and_too_many_participants_are_refused(v2: V2Client) -> None:
    twice = creation_of_v2(MIN, MIN)
    twice["participants"][1]["participant_id"] = twice["participants"][0]["participant_id"]
    for body in (twice, creation_of_v2(*[MIN] * 1_001), {"invalid": "data"}, {"session_id": "invalid"}):
        answer = await v2.http.post("/v1/sessions", json=body)
        assert (answer.status_code, check_error(answer.json())["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("verbs", "refused", "text"),
    [
        ((), "switch", "not running"),
        ((), "switch", "pending"),
        ((), "pause", "cannot be paused"),
        ((), "resume", "cannot be resumed"),
        (("start",), "start", "cannot be started"),
        (("start",), "resume", "cannot be resumed"),
        (("start", "pause"), "switch", "not running"),
        (("start", "pause"), "pause", "cannot be paused"),
        (("start", "pause"), "start", "cannot be started"),
        (("start", "complete"), "start", "cannot be started"),
        (("start", "complete"), "pause", "cannot be paused"),
        (("start", "complete"), "resume", "cannot be resumed"),
        (("start", "complete"), "switch", "not running"),
    ],
)
async def test_command_in_a_wrong_status_is_refused_with_the_text_of_v2(
    v2: V2Client, verbs: tuple[str, ...], refused: str, text: str
) -> None:
    session = await v2.create(MIN, MIN)
    for verb in verbs:
        await v2.command(session, verb)
    before = await v2.read(session)
    status, error = await v2.refused(session, refused)
    assert (status, error["code"]) == (400, "INVALID_STATE_TRANSITION")
    assert text in error["message"]
    assert await v2.read(session) == before


async def test_missing_session_is_refused_with_its_id(v2: V2Client) -> None:
    session = {"session_id": str(uuid4())}
    answer = await v2.http.get(f"/v1/sessions/{session['session_id']}")
    errors = [(answer.status_code, check_error(answer.json()))]
    errors += [await v2.refused(session, verb) for verb in ("start", "switch", "pause", "resume", "complete")]
    for status, error in errors:
        assert (status, error["code"]) == (404, "SESSION_NOT_FOUND")
        assert session["session_id"] in error["message"]


@pytest.mark.parametrize("path", ["not-a-uuid", "not-a-uuid/start", "not-a-uuid/switch"])
async def test_id_that_is_no_uuid_is_refused(v2: V2Client, path: str) -> None:
    answer = await v2.http.request("POST" if "/" in path else "GET", f"/v1/sessions/{path}")
    assert (answer.status_code, check_error(answer.json())["code"]) == (400, "VALIDATION_ERROR")


async def test_switch_to_an_id_that_is_no_uuid_is_refused(v2: V2Client) -> None:
    session = await v2.create(MIN)
    await v2.command(session, "start")
    status, error = await v2.refused(session, "switch", {"next_participant_id": "not-a-uuid"})
    assert (status, error["code"], error["message"]) == (400, "VALIDATION_ERROR", "Request validation failed")


# -- races and instances ----------------------------------------------------------------------------------------------


def statuses(answers: Sequence[httpx.Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


async def test_switches_at_the_same_time_all_pass_the_turn(v2: V2Client, other_v2: V2Client) -> None:
    session = await v2.create(10 * MIN, 10 * MIN, 10 * MIN)
    await v2.command(session, "start")
    path = f"/v1/sessions/{session['session_id']}/switch"
    clients = [v2.http, other_v2.http] * 5
    answers = await asyncio.gather(*(client.post(path) for client in clients))
    assert statuses(answers) == [200] * 10
    last = await v2.read(session)
    assert last == await other_v2.read(session)
    assert (last["version"], last["active_participant_id"]) == (12, ids(session)[1])
    assert sum(each["cycle_count"] for each in last["participants"]) == 10


async def test_the_same_creation_at_the_same_time_is_done_once(v2: V2Client, other_v2: V2Client) -> None:
    body = creation_of_v2(MIN, MIN)
    answers = await asyncio.gather(*(each.http.post("/v1/sessions", json=body) for each in (v2, other_v2)))
    assert statuses(answers) == [201, 409]
    assert (await v2.read(body))["session_id"] == body["session_id"]


@pytest.mark.parametrize(("before", "verb"), [((), "start"), (("start", "pause"), "resume")])
async def test_the_same_command_at_the_same_time_is_done_once(
    v2: V2Client, other_v2: V2Client, before: tuple[str, ...], verb: str
) -> None:
    session = await v2.create(MIN)
    for each in before:
        await v2.command(session, each)
    path = f"/v1/sessions/{session['session_id']}/{verb}"
    assert statuses(await asyncio.gather(v2.http.post(path), other_v2.http.post(path))) == [200, 400]
    assert (await v2.read(session))["status"] == "running"


async def test_instances_share_sessions(v2: V2Client, other_v2: V2Client) -> None:
    session = await v2.create(MIN, MIN)
    assert await other_v2.read(session) == session
    assert (await other_v2.command(session, "start"))["active_participant_id"] == ids(session)[0]
    assert (await v2.read(session))["status"] == "running"
    assert (await v2.command(session, "switch"))["active_participant_id"] == ids(session)[1]
    assert (await other_v2.command(session, "pause"))["status"] == "paused"
    assert (await v2.command(session, "resume"))["status"] == "running"
    assert (await other_v2.command(session, "complete"))["status"] == "completed"
    assert await v2.delete(session) == 204
    assert (await other_v2.http.get(f"/v1/sessions/{session['session_id']}")).status_code == 404
