"""Sessions with a plan over REST: creation, items, changes of the plan, deltas and v2 clients."""

import secrets
from typing import Any

import pytest

from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer
from tests.integration.v2.v2_client import V2Client
from tests.integration.v2.v2_schemas import check_session

ADA, BEN = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"
PEOPLE = [{"participant_id": ADA}, {"participant_id": BEN}]
PLAN: list[dict[str, Any]] = [
    {"item_id": "opening", "title": 'Opening, "part 1"', "time_ms": 300_000, "participant_id": ADA},
    {"time_ms": 600_000, "warnings_ms": [10_000, 60_000]},
    {"item_id": "end", "time_ms": 60_000, "participant_id": BEN},
]


async def create(server: RestServer, **members: Any) -> Any:
    body = {"sync_mode": "per_cycle", "participants": PEOPLE, "plan": PLAN} | members
    return await server.client.post("/v1/sessions", json=body)


async def started(server: RestServer, **members: Any) -> dict[str, Any]:
    session = (await create(server, **members)).json()["data"]
    return await command(server, session, "start", {})


async def command(server: RestServer, session: dict[str, Any], verb: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a command and return the session after it."""
    path = f"/v1/sessions/{session['session_id']}"
    answer = await server.client.post(f"{path}/{verb}", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = (await server.client.get(path)).json()["data"]
    return data


async def test_items_of_a_plan_are_in_the_document(server: RestServer) -> None:
    pending = (await create(server)).json()["data"]
    assert pending["plan"] == [
        {
            "item_id": "opening",
            "index": 0,
            "title": 'Opening, "part 1"',
            "time_ms": 300_000,
            "participant_id": ADA,
            "status": "pending",
            "time_used_ms": 0,
        },
        {
            "item_id": "2",
            "index": 1,
            "time_ms": 600_000,
            "warnings_ms": [60_000, 10_000],
            "status": "pending",
            "time_used_ms": 0,
        },
        {
            "item_id": "end",
            "index": 2,
            "time_ms": 60_000,
            "participant_id": BEN,
            "status": "pending",
            "time_used_ms": 0,
        },
    ]
    assert (pending["time_remaining_ms"], pending["time_per_cycle_ms"], pending["max_cycles"]) == (300_000, None, None)
    assert not {"current_item_id", "next_item_id", "schedule_offset_ms"} & pending.keys()
    session = await command(server, pending, "start", {})
    assert (session["current_item_id"], session["schedule_offset_ms"]) == ("opening", 0)
    assert session["active_participant_id"] == ADA
    assert session["plan"][0]["planned_start_at"] == session["session_started_at"]


async def test_switch_begins_the_next_or_a_named_item(server: RestServer) -> None:
    session = await started(server)
    session = await command(server, session, "switch", {"expected_turn": 1})
    assert [item["status"] for item in session["plan"]] == ["done", "running", "pending"]
    assert (session["active_participant_id"], session["time_remaining_ms"]) == (None, 600_000)
    session = await command(server, session, "switch", {"item_id": "opening", "hold": True})
    assert (session["status"], session["next_item_id"], session["current_item_id"]) == ("paused", "opening", "2")
    assert [item["status"] for item in session["plan"]] == ["done", "done", "pending"]
    session = await command(server, session, "switch", {"item_id": "end"})
    assert (session["next_item_id"], session["active_participant_id"]) == ("end", BEN)
    session = await command(server, session, "resume", {})
    session = await command(server, session, "switch", {"current_participant_id": BEN})
    assert session["status"] == "completed"
    path = f"/v1/sessions/{(await started(server))['session_id']}/switch"
    missing = await server.client.post(path, json={"item_id": "x"})
    assert problem_of(missing) == (404, "PLAN_ITEM_NOT_FOUND")


async def test_plan_is_replaced_once_for_each_idempotency_key(server: RestServer) -> None:
    session = await started(server)
    path = f"/v1/sessions/{session['session_id']}/plan"
    body = {"plan": [*PLAN, {"item_id": "late", "time_ms": 1_000}], "expected_version": session["version"]}
    key = {"Idempotency-Key": secrets.token_hex(8)}
    first = await server.client.put(path, json=body, headers=key)
    assert (first.status_code, first.json()["data"]["version"]) == (200, session["version"] + 1)
    assert [item["item_id"] for item in first.json()["data"]["plan"]] == ["opening", "2", "end", "late"]
    again = await server.client.put(path, json=body, headers=key)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    other = await server.client.put(path, json=body | {"plan": PLAN}, headers=key)
    assert problem_of(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert problem_of(await server.client.put(path, json=body)) == (409, "CONFLICT")
    stale = await server.client.put(path, json={"plan": PLAN}, headers={"If-Match": '"1-x"'})
    assert problem_of(stale) == (412, "PRECONDITION_FAILED")
    tagged = await server.client.put(path, json={"plan": PLAN}, headers={"If-Match": first.headers["etag"]})
    assert tagged.status_code == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"plan": PLAN}, "expected_version"),
        ({"expected_version": 2}, "plan"),
        ({"plan": [], "expected_version": 2}, "plan"),
        ({"plan": [{"time_ms": 1_000}] * 1_001, "expected_version": 2}, "plan"),
        ({"plan": [*PLAN, {"item_id": "end", "time_ms": 1_000}], "expected_version": 2}, "plan.3.item_id"),
        ({"plan": [*PLAN, {"item_id": "2", "time_ms": 1_000}], "expected_version": 2}, "plan.3.item_id"),
        ({"plan": [{**PLAN[0], "time_ms": 1_000}, *PLAN[1:]], "expected_version": 2}, "plan.0"),
        ({"plan": PLAN[1:], "expected_version": 2}, "plan"),
        ({"plan": [*PLAN, {"time_ms": 1_000, "status": "done"}], "expected_version": 2}, "plan.3.status"),
        ({"plan": [*PLAN, {"item_id": "x" * 65, "time_ms": 1_000}], "expected_version": 2}, "plan.3.item_id"),
        ({"plan": [*PLAN, {"time_ms": 0}], "expected_version": 2}, "plan.3.time_ms"),
    ],
)
async def test_change_of_a_plan_with_a_fault_is_refused_whole(
    server: RestServer, body: dict[str, Any], path: str
) -> None:
    session = await started(server)
    url = f"/v1/sessions/{session['session_id']}"
    answer = await server.client.put(f"{url}/plan", json=body)
    assert problem_of(answer) == (400, "VALIDATION_ERROR")
    assert path in [fault["path"] for fault in answer.json()["error"]["details"]]
    assert (await server.client.get(url)).json()["data"] == session


async def test_session_without_a_plan_gets_none(server: RestServer) -> None:
    created = await server.client.post(
        "/v1/sessions", json={"sync_mode": "per_cycle", "participants": PEOPLE, "time_per_cycle_ms": 1_000}
    )
    session = created.json()["data"]
    answer = await server.client.put(
        f"/v1/sessions/{session['session_id']}/plan", json={"plan": PLAN, "expected_version": 1}
    )
    assert problem_of(answer) == (400, "VALIDATION_ERROR")


async def test_largest_plan_is_accepted_and_switched(server: RestServer) -> None:
    plan = [{"item_id": f"{at:064}", "title": "\N{HOT BEVERAGE}" * 200, "time_ms": 1_000_000} for at in range(1_000)]
    session = await started(server, plan=plan)
    session = await command(server, session, "switch", {"item_id": plan[999]["item_id"]})
    assert session["current_item_id"] == plan[999]["item_id"]
    assert session["plan"][0]["time_used_ms"] == session["time_used_ms"]


async def test_plan_is_simulated_with_its_changes(server: RestServer) -> None:
    body = {
        "session": {"sync_mode": "per_cycle", "participants": PEOPLE, "plan": PLAN},
        "commands": [
            {"at_ms": 0, "command": "start"},
            {"at_ms": 1_000, "command": "set_plan", "args": {"plan": PLAN[:2]}},
            {"at_ms": 2_000, "command": "switch", "args": {"item_id": "end"}},
            {"at_ms": 3_000, "command": "switch"},
        ],
        "until_ms": 603_000,
    }
    answer = (await server.client.post("/v1/simulate", json=body)).json()["data"]
    rows = [(row["at_ms"], row.get("event_type", row.get("refused"))) for row in answer["timeline"]]
    assert rows[1:] == [
        (0, "session_started"),
        (1_000, "plan_updated"),
        (2_000, "PLAN_ITEM_NOT_FOUND"),
        (3_000, "cycle_switched"),
        (543_000, "time_warning"),
        (593_000, "time_warning"),
        (603_000, "session_completed"),
    ]


@pytest.mark.parametrize("is_found_by_the_timekeeper", [True, False])
async def test_switch_after_the_time_of_the_last_item_names_its_participant(
    server: RestServer, is_found_by_the_timekeeper: bool
) -> None:
    session = await started(server)
    session = await command(server, session, "switch", {"item_id": "end"})
    await server.parts.rewind(session["session_id"], 60_000)
    if is_found_by_the_timekeeper:
        await server.parts.sessions.commit_overdue(session["session_id"])
    for body in ({}, {"current_participant_id": BEN}, {"expected_turn": 2}):
        answer = await server.client.post(f"/v1/sessions/{session['session_id']}/switch", json=body)
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert (data["status"], data["expired_participant_id"]) == ("completed", BEN)
    other = await server.client.post(
        f"/v1/sessions/{session['session_id']}/switch", json={"current_participant_id": ADA}
    )
    assert problem_of(other) == (400, "INVALID_STATE_TRANSITION")


async def test_documents_of_a_plan_fit_the_schemas_of_v2(server: RestServer) -> None:
    v2 = V2Client(server.client)
    session = check_session((await create(server, plan=[{"time_ms": 60_000}] * 3)).json()["data"])
    await v2.command(session, "start")
    assert (await v2.command(session, "switch"))["active_participant_id"] == BEN
    for verb in ("pause", "resume", "complete"):
        await v2.command(session, verb)
    nobodys = await command(server, await started(server), "switch", {"expected_turn": 1})
    assert check_session(nobodys)["active_participant_id"] is None
