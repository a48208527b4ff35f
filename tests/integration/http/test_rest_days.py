"""Rest days over REST: a session that starts in a rest pauses at once, and the audit replays."""

from datetime import UTC, datetime, timedelta
from typing import Any

from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import CHARGE
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, chess_body, session_url


def rest_now() -> dict[str, Any]:
    """Return rest days that contain the present, and at least the two days after it."""
    working_day = (datetime.now(UTC) + timedelta(days=4)).isoweekday()
    return {"weekdays": [day for day in range(1, 8) if day != working_day], "utc_offset_minutes": 0}


async def test_session_that_starts_in_a_rest_pauses_at_once_and_replays(server: RestServer) -> None:
    rest = rest_now()
    session = await server.create_started(rest=rest)
    assert session["rest"] == rest
    assert (session["status"], session["version"]) == ("paused", 3)
    (pause,) = session["pauses"]
    assert (pause["reason"], pause["paused_by"]) == ("rest", None)
    assert pause["lifts_at"].endswith("T00:00:00.000Z")
    for body in ({}, {"reason": "rest"}):
        refused = await server.client.post(session_url(session, "resume"), json=body)
        assert problem_of(refused) == (400, "INVALID_STATE_TRANSITION")
    refused = await server.client.post(session_url(session, "switch"))
    assert problem_of(refused) == (400, "INVALID_STATE_TRANSITION")
    keys = server.parts.store.keys
    deadlines = keys.deadlines(keys.partition_of(session["session_id"]))
    lifts_at_ms = datetime.fromisoformat(pause["lifts_at"]).timestamp() * 1_000
    assert float(await server.parts.pipe.call("ZSCORE", deadlines, session["session_id"])) == lifts_at_ms
    assert (await server.client.post(session_url(session, "complete"))).is_success
    await server.drain()
    async with open_verifier(server.settings.database_url, CHARGE) as verifier:
        verified = await verifier.verify_session(session["session_id"])
    assert verified is not None
    assert (verified.versions, verified.findings) == (4, ())


async def test_rest_days_that_are_not_possible_are_refused(server: RestServer) -> None:
    rest: dict[str, Any]
    for rest in (
        {"weekdays": []},
        {"weekdays": [1, 2, 3, 4, 5, 6, 7]},
        {"weekdays": [0]},
        {"weekdays": [8]},
        {"weekdays": [6, 6]},
        {"weekdays": [6], "utc_offset_minutes": 841},
        {"weekdays": [6], "utc_offset_minutes": -721},
        {"utc_offset_minutes": 0},
    ):
        answer = await server.client.post("/v1/sessions", json=chess_body(rest=rest))
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"][0]["path"].startswith("rest")
    ends_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"sync_mode": "global", "ends_at": ends_at, "rest": {"weekdays": [7]}}
    assert problem_of(await server.client.post("/v1/sessions", json=body)) == (400, "VALIDATION_ERROR")
