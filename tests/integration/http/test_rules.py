"""Rules that are agreed at creation, over REST: soft close, budgets of pauses."""

from typing import Any

from tests.integration.rest_server import RestServer, chess_body


async def test_a_pause_keeps_who_took_it_and_counts_against_the_budget(server: RestServer) -> None:
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


async def test_a_soft_close_extends_on_an_accepted_switch_alone(server: RestServer) -> None:
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


async def test_a_switch_in_a_compensated_session_brings_its_receipt_again_and_again(server: RestServer) -> None:
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


async def test_lag_is_compensated_where_budgets_are_ones_own(server: RestServer) -> None:
    unfit: list[dict[str, Any]] = [{"sync_mode": "count_up"}, {"clock": {"hourglass": {}}}]
    for fields in unfit:
        refused = await server.client.post("/v1/sessions", json=chess_body(lag_compensation=True, **fields))
        assert refused.status_code == 400
        assert [fault["path"] for fault in refused.json()["error"]["details"]] == ["lag_compensation"]
