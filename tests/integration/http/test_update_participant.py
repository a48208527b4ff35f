"""`PATCH /v1/sessions/{id}/participants/{participant_id}`, and `update_participant` by sockets and in simulations."""

from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import CHARGE
from synckairos.config import Settings
from tests.integration.problems import problem_of
from tests.integration.realtime.instances import serving
from tests.integration.realtime.v3_client import V3, V3Client
from tests.integration.rest_server import RestServer, open_rest_server, session_url

Json = dict[str, Any]
BERSERK: Json = {"total_time_ms": 150_000, "clock": {"sudden_death": {}}}
MISSING = "00000000-0000-4000-8000-00000000000a"


def ids(session: Json) -> tuple[str, str]:
    white, black = (each["participant_id"] for each in session["participants"])
    return white, black


async def patch(server: RestServer, session: Json, participant_id: str, body: Any, **options: Any) -> httpx.Response:
    path = session_url(session, f"participants/{participant_id}")
    return await server.client.patch(path, json=body, **options)


async def test_berserk_changes_the_clock_of_one_participant_and_is_in_the_trail(server: RestServer) -> None:
    session = await server.create_started(increment_ms=2_000, warnings_ms=[60_000])
    white, black = ids(session)
    for participant_id in (black, white):
        answer = await patch(server, session, participant_id, BERSERK)
        assert answer.status_code == 200, answer.text
    updated = answer.json()["data"]
    assert updated["version"] == session["version"] + 2
    assert [each["clock"] for each in updated["participants"]] == [{"sudden_death": {}}] * 2
    assert [each["total_time_ms"] for each in updated["participants"]] == [150_000] * 2
    assert updated["participants"][1]["time_remaining_ms"] == 150_000
    assert updated["participants"][0]["time_remaining_ms"] == 150_000 - updated["participants"][0]["time_used_ms"]
    named = await patch(server, session, black, {"display_name": "Ä"})
    assert named.json()["data"]["participants"][1]["display_name"] == "Ä"
    as_merge_patch = {"content-type": "application/merge-patch+json"}
    unnamed = await patch(server, session, black, {"display_name": None}, headers=as_merge_patch)
    assert unnamed.json()["data"]["participants"][1]["display_name"] is None
    await server.drain()
    trail = (await server.client.get(session_url(session, "events"))).json()["data"]
    changes = [each for each in trail if each["event_type"] == "participant_updated"]
    assert [each["participant_id"] for each in changes] == [black, white, black, black]
    rows = (await server.client.get(session_url(session, "events"), headers={"accept": "text/csv"})).text
    assert rows.count("participant_updated") == 4
    async with open_verifier(server.settings.database_url, CHARGE) as verifier:
        verified = [each async for each in verifier.verify_each_session()]
    assert [each.findings for each in verified] == [()]


async def test_a_deadline_of_the_new_budget_is_set(server: RestServer) -> None:
    session = await server.create_started()
    updated = (await patch(server, session, ids(session)[0], {"total_time_ms": 1_000_000})).json()["data"]
    keys = server.parts.store.keys
    score = await server.parts.pipe.call(
        "ZSCORE", keys.deadlines(keys.partition_of(session["session_id"])), session["session_id"]
    )
    assert score is not None
    assert updated["deadline_at"] > session["deadline_at"]


async def test_faults_and_conditions_are_refused_and_change_nothing(server: RestServer) -> None:
    session = await server.create_started()
    white, black = ids(session)
    faulty: tuple[Any, ...] = (
        *({}, [], {"expected_version": 2}, {"total_time_ms": None}, {"total_time_ms": 999}, {"total_time_ms": "9000"}),
        *({"clock": {}}, {"clock": {"stages": [{}, {}]}}, {"display_name": 7}, {"participant_id": white} | BERSERK),
        {"group_id": white},
    )
    for body in faulty:
        assert problem_of(await patch(server, session, black, body)) == (400, "VALIDATION_ERROR"), body
    assert problem_of(await patch(server, session, "x", BERSERK)) == (400, "VALIDATION_ERROR")
    assert problem_of(await patch(server, session, MISSING, BERSERK)) == (404, "PARTICIPANT_NOT_FOUND")
    gone = {"session_id": MISSING}
    assert problem_of(await patch(server, gone, black, BERSERK)) == (404, "SESSION_NOT_FOUND")
    assert problem_of(await patch(server, session, black, BERSERK | {"expected_version": 1})) == (409, "CONFLICT")
    assert problem_of(await patch(server, session, black, BERSERK | {"expected_turn": 2})) == (409, "TURN_OVER")
    stale = await patch(server, session, black, BERSERK, headers={"if-match": '"1-aaaaaaaaaaaaaaaa"'})
    assert stale.status_code == 412
    assert (await server.client.post(session_url(session, "switch"))).is_success
    late = await patch(server, session, white, BERSERK)
    assert problem_of(late) == (400, "INVALID_STATE_TRANSITION")
    assert (await server.client.get(session_url(session))).json()["data"]["version"] == 3


async def test_a_key_replays_the_change_of_one_participant_and_is_refused_for_another(server: RestServer) -> None:
    session = await server.create_started()
    white, black = ids(session)
    key = {"headers": {"idempotency-key": "k"}}
    answer = await patch(server, session, black, BERSERK, **key)
    again = await patch(server, session, black.upper(), BERSERK, **key)
    assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")
    assert problem_of(await patch(server, session, white, BERSERK, **key)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_names_change_after_the_end_and_in_cold_sessions(server: RestServer) -> None:
    session = await server.create_started()
    white, _ = ids(session)
    await server.client.post(session_url(session, "complete"))
    assert problem_of(await patch(server, session, white, BERSERK)) == (400, "INVALID_STATE_TRANSITION")
    await server.drain()
    keys = server.parts.store.keys
    for key in (keys.session, keys.history, keys.idempotency_records):
        await server.parts.pipe.call("DEL", key(session["session_id"]))
    answer = await patch(server, session, white, {"display_name": "Ä"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["participants"][0]["display_name"] == "Ä"


async def test_a_command_to_many_sessions_renames_the_participant_where_it_takes_part(server: RestServer) -> None:
    sessions = [await server.create_started() for _ in range(2)]
    white, _ = ids(sessions[0])
    body = {
        "command": "update_participant",
        "session_ids": [each["session_id"] for each in sessions],
        "args": {"participant_id": white, "display_name": "Ä"},
        "command_id": "k",
    }
    results = (await server.client.post("/v1/sessions/commands", json=body)).json()["data"]["results"]
    renamed, other = (next(each for each in results if each["session_id"] == s["session_id"]) for s in sessions)
    assert (renamed["version"], other["error"]["code"]) == (3, "PARTICIPANT_NOT_FOUND")


@pytest.mark.parametrize("mode", ["per_participant", "individual"])
async def test_a_simulation_has_the_command(server: RestServer, mode: str) -> None:
    people = [{"participant_id": f"0198c0de-0000-7000-8000-00000000000{at}"} for at in "ab"]
    change: Json = {"participant_id": people[1]["participant_id"], "total_time_ms": 5_000}
    body = {
        "session": {"sync_mode": mode, "participants": people, "total_time_ms": 60_000},
        "commands": [
            {"at_ms": 1_000, "command": "update_participant", "args": change},
            {"at_ms": 2_000, "command": "start"},
        ],
        "until_ms": 3_000,
    }
    answer = await server.client.post("/v1/simulate", json=body)
    assert answer.status_code == 200, answer.text
    timeline = answer.json()["data"]["timeline"]
    assert [each["event_type"] for each in timeline] == ["session_created", "participant_updated", "session_started"]
    change["clock"] = {"stages": [{}, {}]}
    refused = await server.client.post("/v1/simulate", json=body)
    paths = [each["path"] for each in refused.json()["error"]["details"]]
    assert paths == ["commands.0.args.clock.stages.0.moves"]


async def test_a_socket_sends_the_command_and_subscribers_get_the_change(settings: Settings) -> None:
    async with serving(settings) as instance, open_rest_server(settings) as server:
        session = await server.create_started()
        white, black = ids(session)
        async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
            client = V3Client(socket)
            await client.request("SUBSCRIBE", id="s", session_id=session["session_id"])
            members = {"session_id": session["session_id"], "command": "update_participant"}
            args = {"participant_id": black, "total_time_ms": 30_000, "display_name": "Ä"}
            ack = await client.request("COMMAND", id="c", args=args, **members)
            assert (ack["type"], ack["version"]) == ("ACK", 3)
            await client.receive_until(session["session_id"], 3)
            row = client.states[session["session_id"]]["participants"][black]
            assert (row["display_name"], row["time_remaining_ms"]) == ("Ä", 30_000)
            refused = await client.request("COMMAND", id="d", args={"participant_id": white}, **members)
            assert (refused["type"], refused["code"]) == ("ERROR", "VALIDATION_ERROR")
