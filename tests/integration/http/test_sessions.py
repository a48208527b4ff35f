"""REST routes of sessions: creation, commands, conditional requests, idempotent repetition and options."""

import asyncio
from dataclasses import replace
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.service.requests import command_fingerprint
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.response_models import Problem, SessionAnswer, SwitchAnswer
from tests.integration.rest_server import RestServer, chess_body, session_url
from tests.integration.round_trips import RoundTrips


def code_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == answer.status_code
    faults = problem.error.details if problem.error.code == "VALIDATION_ERROR" else None
    assert problem.detail == (f"{faults[0]['path']}: {faults[0]['message']}" if faults else problem.error.message)
    return problem.error.code


# -- creating ---------------------------------------------------------------------------------------------------------


async def test_creation_returns_the_session_and_is_refused_for_an_existing_id(client: httpx.AsyncClient) -> None:
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


async def test_creation_without_an_id_gets_a_version_7_uuid(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/sessions", json=chess_body(session_id=None))
    session_id = answer.json()["data"]["session_id"]
    assert session_id[14] == "7"
    assert (await client.get(answer.headers["location"])).json()["data"]["session_id"] == session_id


async def test_ids_in_upper_case_are_the_same_as_in_lower_case(server: RestServer) -> None:
    body = chess_body(session_id=str(uuid4()).upper())
    answer = await server.client.post("/v1/sessions", json=body)
    assert answer.json()["data"]["session_id"] == body["session_id"].lower()
    assert (await server.client.get(f"/v1/sessions/{body['session_id']}")).status_code == 200


# -- commands ---------------------------------------------------------------------------------------------------------


async def test_commands_without_bodies_work_for_v2_clients(server: RestServer) -> None:
    session = await server.create()
    white, black = (each["participant_id"] for each in session["participants"])
    headers = {"content-type": "application/json"}
    started = await server.client.post(session_url(session, "start"), headers=headers)
    assert started.json()["data"]["active_participant_id"] == white
    switched = await server.client.post(session_url(session, "switch"), headers=headers)
    view = SwitchAnswer.model_validate_json(switched.content).data
    assert (view.active_participant_id, view.status, view.version) == (black, "running", 3)
    assert set(switched.json()["data"]) == {
        "session_id", "active_participant_id", "cycle_started_at", "participants", "status", "version",
    }  # fmt: skip
    assert switched.headers["etag"].startswith('"3-')
    for verb, status in (("pause", "paused"), ("resume", "running"), ("complete", "completed")):
        answer = await server.client.post(session_url(session, verb))
        assert (answer.status_code, answer.json()["data"]["status"]) == (200, status)
    assert answer.json()["data"]["active_participant_id"] is None


async def test_command_that_the_status_does_not_allow_is_refused(server: RestServer) -> None:
    session = await server.create()
    for verb in ("switch", "pause", "resume"):
        answer = await server.client.post(session_url(session, verb))
        assert (answer.status_code, code_of(answer)) == (400, "INVALID_STATE_TRANSITION")
        assert "pending" in answer.json()["error"]["message"]
    await server.client.post(session_url(session, "cancel"))
    for verb, body in (("start", None), ("switch", None), ("complete", None), ("adjust", {"delta_ms": 1})):
        answer = await server.client.post(session_url(session, verb), json=body)
        assert (answer.status_code, code_of(answer)) == (400, "INVALID_STATE_TRANSITION")
        assert "cancelled" in answer.json()["error"]["message"]


async def test_switch_that_names_another_participant_than_the_active_one_is_refused(server: RestServer) -> None:
    session = await server.create_started()
    white = session["participants"][0]["participant_id"]
    press = {"current_participant_id": white}
    assert (await server.client.post(session_url(session, "switch"), json=press)).status_code == 200
    late = await server.client.post(session_url(session, "switch"), json=press)
    assert (late.status_code, code_of(late)) == (409, "NOT_ACTIVE_PARTICIPANT")
    stranger = await server.client.post(session_url(session, "switch"), json={"next_participant_id": str(uuid4())})
    assert (stranger.status_code, code_of(stranger)) == (404, "PARTICIPANT_NOT_FOUND")


async def test_switch_after_an_expiry_names_the_expired_participant(server: RestServer) -> None:
    session = await server.create_started(on_timeout="advance")
    white, black = (each["participant_id"] for each in session["participants"])
    await server.parts.rewind(session["session_id"], 600_000)
    answer = await server.client.post(session_url(session, "switch"))
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["expired_participant_id"], data["active_participant_id"]) == (white, black)
    assert data["participants"][0]["has_expired"] is True
    await server.parts.rewind(session["session_id"], 600_000)
    ended = await server.client.post(session_url(session, "complete"))
    assert (ended.status_code, code_of(ended)) == (400, "INVALID_STATE_TRANSITION")
    assert "expired" in ended.json()["error"]["message"]
    late = await server.client.post(session_url(session, "switch"))
    assert late.status_code == 200
    assert late.json()["data"]["status"] == "expired"
    assert late.json()["data"]["expired_participant_id"] == black


async def test_read_after_the_deadline_returns_the_expired_session(server: RestServer) -> None:
    session = await server.create_started()
    await server.parts.rewind(session["session_id"], 700_000)
    data = (await server.client.get(session_url(session))).json()["data"]
    assert data["status"] == "expired"
    assert data["session_completed_at"] == data["deadline_at"]


async def test_participants_are_added_adjusted_and_removed(server: RestServer) -> None:
    session = await server.create_started()
    newcomer: dict[str, Any] = {"participant_id": str(uuid4()), "total_time_ms": 60_000, "display_name": "Ada"}
    joined = await server.client.post(session_url(session, "participants"), json=newcomer)
    assert joined.status_code == 200
    assert joined.json()["data"]["participants"][2]["display_name"] == "Ada"
    again = await server.client.post(session_url(session, "participants"), json=newcomer)
    assert (again.status_code, code_of(again)) == (409, "PARTICIPANT_EXISTS")
    adjusted = await server.client.post(
        session_url(session, "adjust"), json={"delta_ms": 5_000, "participant_ids": [newcomer["participant_id"]]}
    )
    assert adjusted.json()["data"]["participants"][2]["time_remaining_ms"] == 65_000
    left = await server.client.delete(session_url(session, f"participants/{newcomer['participant_id'].upper()}"))
    assert (left.status_code, len(left.json()["data"]["participants"])) == (200, 2)
    gone = await server.client.delete(session_url(session, f"participants/{newcomer['participant_id']}"))
    assert (gone.status_code, code_of(gone)) == (404, "PARTICIPANT_NOT_FOUND")


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
async def test_metadata_is_changed_by_a_merge_patch(server: RestServer, media_type: str) -> None:
    session = await server.create(metadata={"a": {"b": 1, "c": 2}, "d": [1]})
    patch = orjson.dumps({"metadata": {"a": {"b": None}, "d": {"e": None, "f": 1}}})
    answer = await server.client.patch(session_url(session), content=patch, headers={"content-type": media_type})
    data = answer.json()["data"]
    assert (answer.status_code, data["version"], data["metadata"]) == (200, 2, {"a": {"c": 2}, "d": {"f": 1}})
    unchanged = await server.client.patch(session_url(session), content=patch, headers={"content-type": media_type})
    assert (unchanged.status_code, unchanged.json()["data"]["version"]) == (200, 2)
    await server.client.post(session_url(session, "cancel"))
    final = await server.client.patch(session_url(session), json={"metadata": {"rated": True}})
    assert (final.status_code, final.json()["data"]["metadata"]["rated"]) == (200, True)


async def test_merge_patch_that_makes_metadata_too_large_is_refused(server: RestServer) -> None:
    session = await server.create(metadata={"a": "x" * 20_000})
    answer = await server.client.patch(session_url(session), json={"metadata": {"b": "x" * 20_000}})
    assert (answer.status_code, code_of(answer)) == (400, "VALIDATION_ERROR")
    assert (await server.client.get(session_url(session))).json()["data"]["version"] == 1


async def test_deleted_session_is_not_found_and_can_be_created_again(server: RestServer) -> None:
    session = await server.create_started()
    assert (await server.client.delete(session_url(session))).status_code == 204
    again = await server.client.delete(session_url(session))
    assert (again.status_code, again.content) == (204, b"")
    assert (await server.client.delete(f"/v1/sessions/{uuid4()}")).status_code == 204
    for method, path in (
        ("GET", session_url(session)),
        ("POST", session_url(session, "start")),
        ("POST", session_url(session, "switch")),
    ):
        answer = await server.client.request(method, path)
        assert (answer.status_code, code_of(answer)) == (404, "SESSION_NOT_FOUND")
    made = await server.create(session_id=session["session_id"])
    assert made["version"] == 1
    assert made["epoch"] != session["epoch"]


async def test_read_at_an_instant_returns_the_session_of_that_instant(server: RestServer) -> None:
    session = await server.create()
    created_ms = (await server.client.get("/v1/time")).json()["timestamp_ms"]
    while (await server.parts.sessions.now_ms()) <= created_ms + 1:
        pass
    await server.client.post(session_url(session, "start"))
    then = await server.client.get(session_url(session), params={"at": created_ms})
    assert (then.json()["data"]["status"], then.headers["etag"][:3]) == ("pending", '"1-')
    future = await server.client.get(session_url(session), params={"at": created_ms + 10_000_000})
    assert future.json()["data"]["status"] == "running"
    before = await server.client.get(session_url(session), params={"at": created_ms - 3_600_000})
    assert (before.status_code, code_of(before)) == (404, "SESSION_NOT_FOUND")


# -- conditional requests ---------------------------------------------------------------------------------------------


async def test_read_with_a_current_if_none_match_is_304(server: RestServer) -> None:
    session = await server.create()
    tag = f'"1-{session["epoch"]}"'
    for known in (tag, f'W/{tag}, "9-x"', "*"):
        answer = await server.client.get(session_url(session), headers={"if-none-match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert "ratelimit-remaining" in answer.headers
    await server.client.post(session_url(session, "start"))
    assert (await server.client.get(session_url(session), headers={"if-none-match": tag})).status_code == 200
    stale = await server.client.get(session_url(session), headers={"if-match": tag})
    assert (stale.status_code, code_of(stale)) == (412, "PRECONDITION_FAILED")


async def test_if_match_with_several_etags_is_decided_with_the_command(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await server.create_started()
    path = session_url(session, "pause")

    async def explode(*_: Any) -> None:
        raise AssertionError("If-Match is decided with the command, without a read before it")

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


async def test_command_with_an_old_if_match_is_refused(server: RestServer) -> None:
    session = await server.create()
    tag = f'"1-{session["epoch"]}"'
    for wrong in (f"W/{tag}", '"1-other"', '"x"', '"1"'):
        answer = await server.client.post(session_url(session, "start"), headers={"if-match": wrong})
        assert (answer.status_code, code_of(answer)) == (412, "PRECONDITION_FAILED")
    for right in (f'"7-x", {tag}', "*"):
        answer = await server.client.post(
            session_url(session, "pause" if right == "*" else "start"), headers={"if-match": right}
        )
        assert answer.status_code == 200
    for method, path, body in (
        ("POST", session_url(session, "resume"), None),
        ("PATCH", session_url(session), {"metadata": {"a": 1}}),
        ("DELETE", session_url(session), None),
    ):
        answer = await server.client.request(method, path, json=body, headers={"if-match": tag})
        assert (answer.status_code, code_of(answer)) == (412, "PRECONDITION_FAILED")
    assert (await server.client.get(session_url(session))).json()["data"]["version"] == 3
    missing = await server.client.post(f"/v1/sessions/{uuid4()}/start", headers={"if-match": "*"})
    assert missing.status_code == 404


async def test_conflict_returns_the_current_session(server: RestServer) -> None:
    session = await server.create_started()
    for verb, body in (("switch", {}), ("pause", {}), ("adjust", {"delta_ms": 1}), ("complete", {})):
        answer = await server.client.post(session_url(session, verb), json=body | {"expected_version": 1})
        assert (answer.status_code, code_of(answer)) == (409, "CONFLICT")
        details = answer.json()["error"]["details"]
        assert (details["expected_version"], details["actual_version"]) == (1, 2)
        assert details["state"] == session
    assert (await server.client.post(session_url(session, "switch"), json={"expected_version": 2})).status_code == 200


async def test_body_is_checked_first_then_status_then_version(server: RestServer) -> None:
    session = await server.create_started()
    stranger = {"current_participant_id": str(uuid4())}
    version_first = await server.client.post(session_url(session, "switch"), json=stranger | {"expected_version": 1})
    assert code_of(version_first) == "CONFLICT"
    shape_first = await server.client.post(session_url(session, "switch"), json=stranger | {"expected_version": "1"})
    assert code_of(shape_first) == "VALIDATION_ERROR"
    await server.client.post(session_url(session, "complete"))
    status_first = await server.client.post(session_url(session, "switch"), json=stranger | {"expected_version": 1})
    assert code_of(status_first) == "INVALID_STATE_TRANSITION"


# -- repeated requests ------------------------------------------------------------------------------------------------


async def test_repeated_key_returns_the_first_answer(server: RestServer) -> None:
    session = await server.create_started()
    key = {"idempotency-key": "press-1"}
    first = await server.client.post(session_url(session, "switch"), headers=key)
    await server.client.post(session_url(session, "switch"))
    second = await server.client.post(
        session_url(session, "switch"), content=b" {} ", headers=key | {"content-type": "application/json"}
    )
    slashed = await server.client.post(session_url(session, "switch/"), headers=key)
    assert (second.status_code, second.content) == (slashed.status_code, slashed.content) == (200, first.content)
    assert second.headers["etag"] == first.headers["etag"]
    assert (first.headers.get("idempotency-replayed"), second.headers["idempotency-replayed"]) == (None, "true")
    other = await server.client.post(session_url(session, "switch"), json={"expected_version": 1}, headers=key)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")
    elsewhere = await server.client.post(session_url(session, "pause"), headers=key)
    assert elsewhere.status_code == 422
    assert (await server.client.get(session_url(session))).json()["data"]["version"] == 4


async def test_refusal_is_replayed(server: RestServer) -> None:
    session = await server.create()
    key = {"idempotency-key": "too-early"}
    first = await server.client.post(session_url(session, "switch"), headers=key)
    await server.client.post(session_url(session, "start"))
    second = await server.client.post(session_url(session, "switch"), headers=key)
    assert (first.status_code, second.status_code, second.content) == (400, 400, first.content)
    assert second.headers["idempotency-replayed"] == "true"
    stale = {"idempotency-key": "stale"}
    conflict = await server.client.post(session_url(session, "pause"), json={"expected_version": 1}, headers=stale)
    await server.client.post(session_url(session, "pause"))
    again = await server.client.post(session_url(session, "pause"), json={"expected_version": 1}, headers=stale)
    assert (conflict.status_code, again.content) == (409, conflict.content)


async def test_refused_command_with_a_key_takes_two_round_trips(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await server.create()
    await server.client.post(session_url(session, "pause"), headers={"idempotency-key": "first"})  # loads the scripts
    trips = RoundTrips(monkeypatch, server.parts.pipe, session["session_id"])
    refused = await server.client.post(session_url(session, "switch"), headers={"idempotency-key": "early"})
    assert (refused.status_code, code_of(refused)) == (400, "INVALID_STATE_TRANSITION")
    assert trips.count == 2


async def test_idempotency_record_is_replayed_with_the_fingerprint_of_the_previous_or_the_next_release(
    server: RestServer,
) -> None:
    session = await server.create_started()
    key = {"idempotency-key": "press-1"}
    first = await server.client.post(session_url(session, "switch"), headers=key)
    records = server.parts.store.keys.idempotency_records(session["session_id"])
    record = IdempotencyRecord.parse(await server.parts.pipe.call("HGET", records, "press-1"))
    digest = blake2b(f"POST {session_url(session, 'switch')}\n{{}}".encode(), digest_size=16).hexdigest()
    assert record.fingerprint == digest, "an instance of the previous release could not replay it"
    following = command_fingerprint("switch", session["session_id"], {})
    await server.parts.pipe.call("HSET", records, "press-1", replace(record, fingerprint=following).render())
    again = await server.client.post(session_url(session, "switch"), headers=key)
    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (200, first.content, "true")
    other = await server.client.post(session_url(session, "switch"), json={"expected_version": 1}, headers=key)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("named", [True, False])
async def test_creation_is_replayed_with_its_id(client: httpx.AsyncClient, named: bool) -> None:
    body = chess_body() if named else chess_body(session_id=None)
    key = {"idempotency-key": str(uuid4())}
    first, second = [await client.post("/v1/sessions", json=body, headers=key) for _ in range(2)]
    assert (first.status_code, second.status_code, second.content) == (201, 201, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    other = await client.post("/v1/sessions", json=body | {"metadata": {"a": 1}}, headers=key)
    assert (other.status_code, code_of(other)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_hundred_concurrent_switches_with_one_key_take_effect_once(server: RestServer) -> None:
    session = await server.create_started()
    answers = await asyncio.gather(
        *(server.client.post(session_url(session, "switch"), headers={"idempotency-key": "once"}) for _ in range(100))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (await server.client.get(session_url(session))).json()["data"]["version"] == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
async def test_invalid_idempotency_key_is_refused(server: RestServer, key: str) -> None:
    session = await server.create()
    answer = await server.client.post(session_url(session, "start"), headers=[(b"idempotency-key", key.encode())])
    assert (answer.status_code, code_of(answer)) == (400, "VALIDATION_ERROR")
    assert (await server.client.get(session_url(session))).json()["data"]["version"] == 1


# -- options of a creation --------------------------------------------------------------------------------------------


async def test_pause_stores_its_principal_and_counts_against_the_pause_budget(server: RestServer) -> None:
    session = await server.create_started(pause_budget=1)
    path = f"/v1/sessions/{session['session_id']}"
    assert (session["pause_budget"], session["pauses_taken"]) == (1, {})
    paused = (await server.client.post(f"{path}/pause", json={"reason": "tea"})).json()["data"]
    assert [pause["paused_by"] for pause in paused["pauses"]] == ["anonymous"]
    assert paused["pauses_taken"] == {"anonymous": 1}
    await server.client.post(f"{path}/resume")
    refused = await server.client.post(f"{path}/pause")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_STATE_TRANSITION")
    assert "1 of 1 pauses" in refused.json()["error"]["message"]
    assert (await server.client.get(path)).json()["data"]["version"] == 4
    without = await server.create()
    assert "pause_budget" not in without


async def test_soft_close_is_extended_only_by_an_accepted_switch(server: RestServer) -> None:
    bidders = chess_body()["participants"]
    session = await server.create_started(
        sync_mode="global",
        participants=[{"participant_id": each["participant_id"]} for each in bidders],
        total_time_ms=30_000,
        extend_on_switch_ms=60_000,
        clock={"sudden_death": {}},
    )
    path = f"/v1/sessions/{session['session_id']}"
    before = (await server.client.get(path)).json()["data"]
    stale = {"expected_version": 1}
    late = {"current_participant_id": bidders[1]["participant_id"]}
    for body in (stale, late):
        assert (await server.client.post(f"{path}/switch", json=body)).status_code == 409
    same = (await server.client.get(path)).json()["data"]
    assert (same["version"], same["deadline_at"]) == (before["version"], before["deadline_at"])
    assert (await server.client.post(f"{path}/switch")).status_code == 200
    after = (await server.client.get(path)).json()["data"]
    assert (after["status"], after["time_remaining_ms"]) == ("running", 60_000)
    assert after["version"] == before["version"] + 1


async def test_switch_with_lag_compensation_returns_its_receipt_also_when_replayed(server: RestServer) -> None:
    session = await server.create_started(lag_compensation=True)
    path = f"/v1/sessions/{session['session_id']}/switch"
    key = {"idempotency-key": "one"}
    first = await server.client.post(path, json={"lag_ms": 86_400_000}, headers=key)
    receipt = first.json()["data"]["lag_receipt"]
    assert receipt["participant_id"] == session["active_participant_id"]
    assert receipt["elapsed_ms"] == receipt["compensated_ms"] + receipt["charged_ms"]
    assert receipt["quota_left_ms"] == 4_000 - receipt["compensated_ms"]
    await server.client.post(path)
    again = await server.client.post(path, json={"lag_ms": 86_400_000}, headers=key)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    plain = await server.create_started()
    answer = await server.client.post(f"/v1/sessions/{plain['session_id']}/switch", json={"lag_ms": 100})
    assert "lag_receipt" not in answer.json()["data"]


async def test_lag_compensation_without_own_budgets_is_refused(server: RestServer) -> None:
    unfit: list[dict[str, Any]] = [{"sync_mode": "count_up"}, {"clock": {"hourglass": {}}}]
    for fields in unfit:
        refused = await server.client.post("/v1/sessions", json=chess_body(lag_compensation=True, **fields))
        assert refused.status_code == 400
        assert [fault["path"] for fault in refused.json()["error"]["details"]] == ["lag_compensation"]
