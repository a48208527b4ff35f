"""The REST routes of presets, and sessions that are created from presets."""

from typing import Any

import httpx
import pytest

from synckairos.presets.catalogue import load_presets
from synckairos.wire.preset_models import PresetAnswer, PresetList
from tests.integration.rest_server import RestServer

ADA, BEN = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"


async def test_list_and_preset_have_the_forms_of_the_description(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/presets")
    assert answer.headers["cache-control"] == "public, max-age=300"
    listed = PresetList.model_validate(answer.json(), strict=True).data
    assert [each.name for each in listed] == list(load_presets())
    for path in ("/v1/presets/chess/armageddon", "/v1/presets/chess%2Farmageddon"):
        found = PresetAnswer.model_validate((await client.get(path)).json(), strict=True).data
        assert (found.name, found.view.layout, found.has_fixed_roles) == ("chess/armageddon", "versus", True)
        assert [each["total_time_ms"] for each in found.session["participants"]] == [300_000, 240_000]


async def test_unknown_preset_is_refused_with_suggestions(client: httpx.AsyncClient) -> None:
    missing = await client.get("/v1/presets/chess/fide_blitz")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert "did you mean chess/fide-blitz" in missing.json()["error"]["message"]
    refused = await client.post("/v1/sessions", json={"preset": "debate/british"})
    assert refused.status_code == 400
    (fault,) = refused.json()["error"]["details"]
    assert (fault["path"], "debate/british-parliamentary" in fault["message"]) == ("preset", True)


@pytest.mark.parametrize("name", ["chess/lichess-blitz", "debate/karl-popper", "exam/extra-time", "exam/common-end"])
async def test_preset_alone_creates_a_session_that_starts(client: httpx.AsyncClient, name: str) -> None:
    created = await client.post("/v1/sessions", json={"preset": name})
    assert created.status_code == 201, created.text
    assert "warnings" not in created.json()
    session = created.json()["data"]
    assert session["metadata"] == {"preset": name}
    assert (await client.post(f"/v1/sessions/{session['session_id']}/start")).json()["data"]["status"] == "running"


async def test_members_of_the_request_change_the_preset_and_the_audit_has_the_result(server: RestServer) -> None:
    body: dict[str, Any] = {
        "preset": "chess/fide-blitz",
        "participants": [{"participant_id": ADA, "display_name": "Ada"}, {"participant_id": BEN}],
        "total_time_ms": 300_000,
        "clock": {"fischer": {"increment_ms": 3_000}},
        "metadata": {"round": 4},
    }
    session = (await server.client.post("/v1/sessions", json=body)).json()["data"]
    players = session["participants"]
    assert [(each["participant_id"], each["display_name"]) for each in players] == [(ADA, "Ada"), (BEN, "Black")]
    assert {each["total_time_ms"] for each in players} == {300_000}
    assert session["metadata"] == {"preset": "chess/fide-blitz", "round": 4}
    trail = (await server.client.get(f"/v1/sessions/{session['session_id']}/events")).json()["data"]
    assert [each["event_type"] for each in trail] == ["session_created"]


async def test_faults_of_the_result_are_reported_with_their_paths(client: httpx.AsyncClient) -> None:
    refused = await client.post("/v1/sessions", json={"preset": "meeting/agenda", "plan": [], "colour": 1})
    assert refused.status_code == 400
    assert {each["path"] for each in refused.json()["error"]["details"]} == {"plan", "colour"}


async def test_repeated_creation_from_a_preset_has_the_first_answer(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "once"}
    first, again = [await client.post("/v1/sessions", json={"preset": "go/byoyomi"}, headers=headers) for _ in range(2)]
    assert (first.status_code, again.content) == (201, first.content)
    other = await client.post("/v1/sessions", json={"preset": "go/canadian"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
