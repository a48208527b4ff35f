"""Free first turns over REST: the limit cancels the session by time, and the audit replays."""

from typing import Any

from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import CHARGE
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, chess_body, session_url

LIMIT: dict[str, Any] = {"limit_ms": 30_000}


async def test_limit_of_a_free_first_turn_cancels_the_session_by_time(server: RestServer) -> None:
    session = await server.create_started(free_first_turn=LIMIT)
    assert session["free_first_turn"] == LIMIT
    await server.parts.rewind(session["session_id"], 10_000)
    switched = (await server.client.post(session_url(session, "switch"))).json()["data"]
    assert [each["time_remaining_ms"] for each in switched["participants"]] == [600_000, 600_000]
    await server.parts.rewind(session["session_id"], 30_000)
    ended = (await server.client.get(session_url(session))).json()["data"]
    assert (ended["status"], ended["version"]) == ("cancelled", 4)
    assert [each["time_remaining_ms"] for each in ended["participants"]] == [600_000, 600_000]
    refused = await server.client.post(session_url(session, "reopen"), json={"delta_ms": 1_000})
    assert problem_of(refused) == (400, "INVALID_STATE_TRANSITION")
    await server.drain()
    trail = (await server.client.get(session_url(session, "events"))).json()["data"]
    assert (trail[-1]["event_type"], trail[-1]["actor"]) == ("session_cancelled", "timekeeper")


async def test_free_first_turns_replay_without_findings(server: RestServer) -> None:
    session = await server.create_started(free_first_turn=LIMIT, increment_ms=1_000)
    for verb in ("switch", "pause", "resume", "switch", "undo", "switch", "complete"):
        assert (await server.client.post(session_url(session, verb))).is_success
    await server.drain()
    async with open_verifier(server.settings.database_url, CHARGE) as verifier:
        verified = await verifier.verify_session(session["session_id"])
    assert verified is not None
    assert (verified.versions, verified.findings) == (9, ())


async def test_free_first_turn_is_refused_where_it_has_no_effect(server: RestServer) -> None:
    fields: dict[str, Any]
    for fields in (
        {"free_first_turn": {"limit_ms": 0}},
        {"free_first_turn": {}},
        {"free_first_turn": LIMIT, "clock": {"hourglass": {}}},
        {"free_first_turn": LIMIT, "sync_mode": "global"},
    ):
        answer = await server.client.post("/v1/sessions", json=chess_body(**fields))
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"][0]["path"].startswith("free_first_turn")
