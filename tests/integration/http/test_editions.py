"""The turn guard over REST, and new sessions of the first edition during an upgrade."""

from typing import Any

import httpx

from synckairos.config import Settings
from tests.integration.problems import problem_of
from tests.integration.rest_server import chess_body, open_rest_server, session_url


async def test_command_for_another_turn_is_refused_and_its_refusal_is_replayed(client: httpx.AsyncClient) -> None:
    session = (await client.post("/v1/sessions", json=chess_body())).json()["data"]
    assert session["turn_number"] == 0
    await client.post(session_url(session, "start"), json={"expected_turn": 0})
    press: dict[str, Any] = {"json": {"expected_turn": 1}, "headers": {"idempotency-key": "press"}}
    switched = await client.post(session_url(session, "switch"), **press)
    assert switched.status_code == 200
    late: dict[str, Any] = {"json": {"expected_turn": 1}, "headers": {"idempotency-key": "late"}}
    for is_replayed in (False, True):
        answer = await client.post(session_url(session, "switch"), **late)
        assert problem_of(answer) == (409, "TURN_OVER")
        assert answer.json()["error"]["details"] == {"expected_turn": 1, "turn_number": 2}
        assert ("idempotency-replayed" in answer.headers) == is_replayed
    again = await client.post(session_url(session, "switch"), **press)
    assert again.content == switched.content
    assert (await client.get(session_url(session))).json()["data"]["turn_number"] == 2


async def test_new_sessions_during_an_upgrade_are_of_the_first_edition(settings: Settings) -> None:
    async with open_rest_server(settings.model_copy(update={"clock_edition": 1})) as server:
        session = (await server.client.post("/v1/sessions", json=chess_body())).json()["data"]
        assert "turn_number" not in session
        await server.client.post(session_url(session, "start"))
        refused = await server.client.post(session_url(session, "pause"), json={"expected_turn": 2})
        assert problem_of(refused) == (409, "TURN_OVER")
        assert refused.json()["error"]["details"] == {"expected_turn": 2, "turn_number": 1}
        needs_second = chess_body(on_timeout="overtime", warnings_ms=[0])
        refused = await server.client.post("/v1/sessions", json=needs_second)
        assert problem_of(refused) == (400, "VALIDATION_ERROR")
        (fault,) = refused.json()["error"]["details"]
        assert fault["path"] == "warnings_ms"
        assert "SYNCKAIROS_CLOCK_EDITION" in fault["message"]
    async with open_rest_server(settings) as server:
        switched = await server.client.post(session_url(session, "switch"), json={"expected_turn": 1})
        assert switched.status_code == 200
        assert "turn_number" not in (await server.client.get(session_url(session))).json()["data"]
