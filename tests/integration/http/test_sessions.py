"""One session over REST: its life, its answers to the letter, who wins, and what comes again."""

import asyncio
from dataclasses import replace
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.response_models import Problem, SessionAnswer, SwitchAnswer
from tests.integration.rest_server import RestServer, chess_body
from tests.integration.round_trips import RoundTrips


def code_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    assert problem.detail == problem.error.message
    return problem.error.code


def url(session: dict[str, Any], verb: str = "") -> str:
    return f"/v1/sessions/{session['session_id']}" + (f"/{verb}" if verb else "")


# -- creating ---------------------------------------------------------------------------------------------------------


async def test_a_session_is_created_once(client: httpx.AsyncClient) -> None:
    body = chess_body(metadata={"room": "é"}, increment_ms=2_000)
    answer = await client.post("/v1/sessions", json=body)
    assert answer.status_code == 201
    session = SessionAnswer.model_validate_json(answer.content).data
    assert answer.headers["location"] == f"/v1/sessions/{body['session_id']}"
    assert answer.headers["etag"] == f'"1-{session.epoch}"'
    assert answer.headers["content-type"] == "application/json"
    data = answer.json()["data"]
    assert (data["status"], data["version"], data["metadata"]) == ("pending", 1, {"room": "é"})
    assert data["clock"] == {"fischer": {"increment_ms": 2_000}}
    for unset in ("active_participant_id", "cycle_started_at", "session_started_at", "session_completed_at"):
        assert data[unset] is None
    assert "max_time_ms" not in data
    assert "group_id" not in data["participants"][0]
    again = await client.post("/v1/sessions", json=body)
    assert (again.status_code, code_of(again)) == (409, "SESSION_EXISTS")


async def test_an_id_is_made_where_none_is_given(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/sessions", json=chess_body(session_id=None))
    session_id = answer.json()["data"]["session_id"]
    assert session_id[14] == "7"
    assert (await client.get(answer.headers["location"])).json()["data"]["session_id"] == session_id


async def test_ids_are_lowered_on_every_way_in(server: RestServer) -> None:
    body = chess_body(session_id=str(uuid4()).upper())
    answer = await server.client.post("/v1/sessions", json=body)
    assert answer.json()["data"]["session_id"] == body["session_id"].lower()
    assert (await server.client.get(f"/v1/sessions/{body['session_id']}")).status_code == 200


# -- a life -----------------------------------------------------------------------------------------------------------


async def test_a_v2_client_plays_a_game_without_bodies(server: RestServer) -> None:
    session = await server.create()
    white, black = (each["participant_id"] for each in session["participants"])
    headers = {"content-type": "application/json"}
    started = await server.client.post(url(session, "start"), headers=headers)
    assert started.json()["data"]["active_participant_id"] == white
    switched = await server.client.post(url(session, "switch"), headers=headers)
    view = SwitchAnswer.model_validate_json(switched.content).data
    assert (view.active_participant_id, view.status, view.version) == (black, "running", 3)
    assert set(switched.json()["data"]) == {
        "session_id", "active_participant_id", "cycle_started_at", "participants", "status", "version",
    }  # fmt: skip
    assert switched.headers["etag"].startswith('"3-')
    for verb, status in (("pause", "paused"), ("resume", "running"), ("complete", "completed")):
        answer = await server.client.post(url(session, verb))
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, status)
    assert answer.json()["data"]["active_participant_id"] is None


async def test_the_wrong_status_is_named(server: RestServer) -> None:
    session = await server.create()
    for verb in ("switch", "pause", "resume"):
        answer = await server.client.post(url(session, verb))
        assert (answer.status_code, code_of(answer)) == (400, "INVALID_STATE_TRANSITION")
        assert "pending" in answer.json()["error"]["message"]
    await server.client.post(url(session, "cancel"))
    for verb, body in (("start", None), ("switch", None), ("complete", None), ("adjust", {"delta_ms": 1})):
        answer = await server.client.post(url(session, verb), json=body)
        assert (answer.status_code, code_of(answer)) == (400, "INVALID_STATE_TRANSITION")
        assert "cancelled" in answer.json()["error"]["message"]


async def test_a_late_second_press_passes_nobodys_turn(server: RestServer) -> None:
    session = await server.create_started()
    white = session["participants"][0]["participant_id"]
    press = {"current_participant_id": white}
    assert (await server.client.post(url(session, "switch"), json=press)).status_code == 200
    late = await server.client.post(url(session, "switch"), json=press)
    assert (late.status_code, code_of(late)) == (409, "NOT_ACTIVE_PARTICIPANT")
    stranger = await server.client.post(url(session, "switch"), json={"next_participant_id": str(uuid4())})
    assert (stranger.status_code, code_of(stranger)) == (404, "PARTICIPANT_NOT_FOUND")


async def test_a_press_after_the_flag_fell_says_whose(server: RestServer) -> None:
    session = await server.create_started(on_timeout="advance")
    white, black = (each["participant_id"] for each in session["participants"])
    await server.parts.rewind(session["session_id"], 600_000)
    answer = await server.client.post(url(session, "switch"))
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["expired_participant_id"], data["active_participant_id"]) == (white, black)
    assert data["participants"][0]["has_expired"] is True
    await server.parts.rewind(session["session_id"], 600_000)
    ended = await server.client.post(url(session, "switch"))
    assert (ended.status_code, code_of(ended)) == (400, "INVALID_STATE_TRANSITION")
    assert "expired" in ended.json()["error"]["message"]


async def test_nobody_is_shown_a_clock_past_its_zero(server: RestServer) -> None:
    session = await server.create_started()
    await server.parts.rewind(session["session_id"], 700_000)
    data = (await server.client.get(url(session))).json()["data"]
    assert data["status"] == "expired"
    assert data["session_completed_at"] == data["deadline_at"]


async def test_people_join_and_leave_and_get_time(server: RestServer) -> None:
    session = await server.create_started()
    newcomer: dict[str, Any] = {"participant_id": str(uuid4()), "total_time_ms": 60_000, "display_name": "Ada"}
    joined = await server.client.post(url(session, "participants"), json=newcomer)
    assert joined.status_code == 200
    assert joined.json()["data"]["participants"][2]["display_name"] == "Ada"
    again = await server.client.post(url(session, "participants"), json=newcomer)
    assert (again.status_code, code_of(again)) == (409, "PARTICIPANT_EXISTS")
    adjusted = await server.client.post(
        url(session, "adjust"), json={"delta_ms": 5_000, "participant_ids": [newcomer["participant_id"]]}
    )
    assert adjusted.json()["data"]["participants"][2]["time_remaining_ms"] == 65_000
    left = await server.client.delete(url(session, f"participants/{newcomer['participant_id'].upper()}"))
    assert (left.status_code, len(left.json()["data"]["participants"])) == (200, 2)
    gone = await server.client.delete(url(session, f"participants/{newcomer['participant_id']}"))
    assert (gone.status_code, code_of(gone)) == (404, "PARTICIPANT_NOT_FOUND")


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
async def test_metadata_is_merged(server: RestServer, media_type: str) -> None:
    session = await server.create(metadata={"a": {"b": 1, "c": 2}, "d": [1]})
    patch = orjson.dumps({"metadata": {"a": {"b": None}, "d": {"e": None, "f": 1}}})
    answer = await server.client.patch(url(session), content=patch, headers={"content-type": media_type})
    data = answer.json()["data"]
    assert (answer.status_code, data["version"], data["metadata"]) == (200, 2, {"a": {"c": 2}, "d": {"f": 1}})
    unchanged = await server.client.patch(url(session), content=patch, headers={"content-type": media_type})
    assert (unchanged.status_code, unchanged.json()["data"]["version"]) == (200, 2)
    await server.client.post(url(session, "cancel"))
    final = await server.client.patch(url(session), json={"metadata": {"rated": True}})
    assert (final.status_code, final.json()["data"]["metadata"]["rated"]) == (200, True)


async def test_metadata_can_not_grow_beyond_its_bounds(server: RestServer) -> None:
    session = await server.create(metadata={"a": "x" * 20_000})
    answer = await server.client.patch(url(session), json={"metadata": {"b": "x" * 20_000}})
    assert (answer.status_code, code_of(answer)) == (400, "VALIDATION_ERROR")
    assert (await server.client.get(url(session))).json()["data"]["version"] == 1


async def test_a_deleted_session_is_gone_and_can_be_made_again(server: RestServer) -> None:
    session = await server.create_started()
    assert (await server.client.delete(url(session))).status_code == 204
    again = await server.client.delete(url(session))
    assert (again.status_code, again.content) == (204, b"")
    assert (await server.client.delete(f"/v1/sessions/{uuid4()}")).status_code == 204
    for method, path in (("GET", url(session)), ("POST", url(session, "start")), ("POST", url(session, "switch"))):
        answer = await server.client.request(method, path)
        assert (answer.status_code, code_of(answer)) == (404, "SESSION_NOT_FOUND")
    made = await server.create(session_id=session["session_id"])
    assert made["version"] == 1
    assert made["epoch"] != session["epoch"]


async def test_a_session_is_shown_as_it_was(server: RestServer) -> None:
    session = await server.create()
    created_ms = (await server.client.get("/v1/time")).json()["timestamp_ms"]
    while (await server.parts.sessions.now_ms()) <= created_ms + 1:
        pass
    await server.client.post(url(session, "start"))
    then = await server.client.get(url(session), params={"at": created_ms})
    assert (then.json()["data"]["status"], then.headers["etag"][:3]) == ("pending", '"1-')
    future = await server.client.get(url(session), params={"at": created_ms + 10_000_000})
    assert future.json()["data"]["status"] == "running"
    before = await server.client.get(url(session), params={"at": created_ms - 3_600_000})
    assert (before.status_code, code_of(before)) == (404, "SESSION_NOT_FOUND")


# -- conditions -------------------------------------------------------------------------------------------------------


async def test_what_is_known_is_not_sent_again(server: RestServer) -> None:
    session = await server.create()
    tag = f'"1-{session["epoch"]}"'
    for known in (tag, f'W/{tag}, "9-x"', "*"):
        answer = await server.client.get(url(session), headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert "ratelimit-remaining" in answer.headers
    await server.client.post(url(session, "start"))
    assert (await server.client.get(url(session), headers={"if-none-match": tag})).status_code == 200
    stale = await server.client.get(url(session), headers={"if-match": tag})
    assert (stale.status_code, code_of(stale)) == (412, "PRECONDITION_FAILED")


async def test_one_of_several_etags_may_be_right(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await server.create_started()
    path = url(session, "pause")

    async def explode(*_: Any) -> None:
        raise AssertionError("what the tags mean is decided with the command, not before it")

    monkeypatch.setattr(type(server.parts.sessions), "read", explode)
    stale = {"if-match": f'"1-{session["epoch"]}", "2-other", W/"2-{session["epoch"]}"', "idempotency-key": "a"}
    refused = await server.client.post(path, headers=stale)
    assert (refused.status_code, refused.json()["error"]["code"]) == (412, "PRECONDITION_FAILED")
    right = {"if-match": f'"1-{session["epoch"]}", "2-{session["epoch"]}"', "idempotency-key": "b"}
    paused = await server.client.post(path, headers=right)
    assert paused.status_code == 200
    for headers, first in ((stale, refused), (right, paused)):
        again = await server.client.post(path, headers=headers)
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


async def test_an_old_etag_changes_nothing(server: RestServer) -> None:
    session = await server.create()
    tag = f'"1-{session["epoch"]}"'
    for wrong in (f"W/{tag}", '"1-other"', '"x"', "1"):
        answer = await server.client.post(url(session, "start"), headers={"if-match": wrong})
        assert (answer.status_code, code_of(answer)) == (412, "PRECONDITION_FAILED")
    for right in (f'"7-x", {tag}', "*"):
        answer = await server.client.post(
            url(session, "pause" if right == "*" else "start"), headers={"if-match": right}
        )
        assert answer.status_code == 200
    for method, path, body in (
        ("POST", url(session, "resume"), None),
        ("PATCH", url(session), {"metadata": {"a": 1}}),
        ("DELETE", url(session), None),
    ):
        answer = await server.client.request(method, path, json=body, headers={"if-match": tag})
        assert (answer.status_code, code_of(answer)) == (412, "PRECONDITION_FAILED")
    assert (await server.client.get(url(session))).json()["data"]["version"] == 3
    missing = await server.client.post(f"/v1/sessions/{uuid4()}/start", headers={"if-match": "*"})
    assert missing.status_code == 404


async def test_a_stale_version_learns_what_won(server: RestServer) -> None:
    session = await server.create_started()
    for verb, body in (("switch", {}), ("pause", {}), ("adjust", {"delta_ms": 1}), ("complete", {})):
        answer = await server.client.post(url(session, verb), json=body | {"expected_version": 1})
        assert (answer.status_code, code_of(answer)) == (409, "CONFLICT")
        details = answer.json()["error"]["details"]
        assert (details["expected_version"], details["actual_version"]) == (1, 2)
        assert details["state"] == session
    assert (await server.client.post(url(session, "switch"), json={"expected_version": 2})).status_code == 200


async def test_checks_come_in_their_order(server: RestServer) -> None:
    session = await server.create_started()
    stranger = {"current_participant_id": str(uuid4())}
    version_first = await server.client.post(url(session, "switch"), json=stranger | {"expected_version": 1})
    assert code_of(version_first) == "CONFLICT"
    shape_first = await server.client.post(url(session, "switch"), json=stranger | {"expected_version": "1"})
    assert code_of(shape_first) == "VALIDATION_ERROR"
    await server.client.post(url(session, "complete"))
    status_first = await server.client.post(url(session, "switch"), json=stranger | {"expected_version": 1})
    assert code_of(status_first) == "INVALID_STATE_TRANSITION"


# -- again ------------------------------------------------------------------------------------------------------------


async def test_the_same_key_gets_the_same_answer(server: RestServer) -> None:
    session = await server.create_started()
    key = {"idempotency-key": "press-1"}
    first = await server.client.post(url(session, "switch"), headers=key)
    await server.client.post(url(session, "switch"))
    second = await server.client.post(
        url(session, "switch"), content=b" {} ", headers=key | {"content-type": "application/json"}
    )
    slashed = await server.client.post(url(session, "switch/"), headers=key)
    assert (second.status_code, second.content) == (slashed.status_code, slashed.content) == (200, first.content)
    assert second.headers["etag"] == first.headers["etag"]
    assert (first.headers.get("idempotency-replayed"), second.headers["idempotency-replayed"]) == (None, "true")
    other = await server.client.post(url(session, "switch"), json={"expected_version": 1}, headers=key)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")
    elsewhere = await server.client.post(url(session, "pause"), headers=key)
    assert elsewhere.status_code == 422
    assert (await server.client.get(url(session))).json()["data"]["version"] == 4


async def test_a_refusal_is_replayed_too(server: RestServer) -> None:
    session = await server.create()
    key = {"idempotency-key": "too-early"}
    first = await server.client.post(url(session, "switch"), headers=key)
    await server.client.post(url(session, "start"))
    second = await server.client.post(url(session, "switch"), headers=key)
    assert (first.status_code, second.status_code, second.content) == (400, 400, first.content)
    assert second.headers["idempotency-replayed"] == "true"
    stale = {"idempotency-key": "stale"}
    conflict = await server.client.post(url(session, "pause"), json={"expected_version": 1}, headers=stale)
    await server.client.post(url(session, "pause"))
    again = await server.client.post(url(session, "pause"), json={"expected_version": 1}, headers=stale)
    assert (conflict.status_code, again.content) == (409, conflict.content)


async def test_a_refused_command_with_a_key_takes_two_round_trips(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await server.create()
    await server.client.post(url(session, "pause"), headers={"idempotency-key": "first"})  # loads the scripts
    trips = RoundTrips(monkeypatch, server.parts.pipe, session["session_id"])
    refused = await server.client.post(url(session, "switch"), headers={"idempotency-key": "early"})
    assert (refused.status_code, code_of(refused)) == (400, "INVALID_STATE_TRANSITION")
    assert trips.count == 2


async def test_a_record_with_the_first_editions_fingerprint_is_replayed(server: RestServer) -> None:
    session = await server.create_started()
    key = {"idempotency-key": "press-1"}
    first = await server.client.post(url(session, "switch"), headers=key)
    records = server.parts.store.keys.idempotency_records(session["session_id"])
    record = IdempotencyRecord.parse(await server.parts.pipe.call("HGET", records, "press-1"))
    digest = blake2b(f"POST {url(session, 'switch')}\n{{}}".encode(), digest_size=16).hexdigest()
    assert record.fingerprint != digest
    await server.parts.pipe.call("HSET", records, "press-1", replace(record, fingerprint=digest).render())
    again = await server.client.post(url(session, "switch"), headers=key)
    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (200, first.content, "true")
    other = await server.client.post(url(session, "switch"), json={"expected_version": 1}, headers=key)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("named", [True, False])
async def test_a_creation_is_replayed_with_its_id(client: httpx.AsyncClient, named: bool) -> None:
    body = chess_body() if named else chess_body(session_id=None)
    key = {"idempotency-key": str(uuid4())}
    first, second = [await client.post("/v1/sessions", json=body, headers=key) for _ in range(2)]
    assert (first.status_code, second.status_code, second.content) == (201, 201, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    other = await client.post("/v1/sessions", json=body | {"metadata": {"a": 1}}, headers=key)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_hundred_tries_at_once_are_one(server: RestServer) -> None:
    session = await server.create_started()
    answers = await asyncio.gather(
        *(server.client.post(url(session, "switch"), headers={"idempotency-key": "once"}) for _ in range(100))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (await server.client.get(url(session))).json()["data"]["version"] == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
async def test_a_key_has_bounds(server: RestServer, key: str) -> None:
    session = await server.create()
    answer = await server.client.post(url(session, "start"), headers=[(b"idempotency-key", key.encode())])
    assert (answer.status_code, code_of(answer)) == (400, "VALIDATION_ERROR")
    assert (await server.client.get(url(session))).json()["data"]["version"] == 1
