"""A switch after the clock ended the session: 200 with the participant whose time ran out, however late it comes."""

from typing import Any
from uuid import uuid4

import pytest

from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from synckairos.wire.instants import parse_instant_ms
from tests.integration.audit_parts import AuditParts
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, open_rest_server, session_url
from tests.waiting import eventually

SECOND = 1_000

MODES: dict[str, dict[str, Any]] = {
    "per_participant": {},
    "per_group": {"sync_mode": "per_group"},
    "per_cycle": {"sync_mode": "per_cycle", "on_timeout": "expire"},
    "last cycle": {"sync_mode": "per_cycle", "max_cycles": 2},
    "global": {"sync_mode": "global"},
    "count_up": {"sync_mode": "count_up"},
}


def body_of(mode: str, budget_ms: int) -> dict[str, Any]:
    """Return the body of a session whose turns end at `budget_ms`, with both participants in one group."""
    group_id = str(uuid4())
    participants = [{"participant_id": str(uuid4()), "group_id": group_id} for _ in range(2)]
    budgets: dict[str, Any] = {
        "per_group": {"groups": [{"group_id": group_id, "total_time_ms": budget_ms}]},
        "per_cycle": {"time_per_cycle_ms": budget_ms},
        "count_up": {"max_time_ms": budget_ms},
    }
    fields = MODES[mode]
    sync_mode = fields.get("sync_mode", "per_participant")
    budget: dict[str, Any] = budgets.get(sync_mode, {"total_time_ms": budget_ms})
    members: dict[str, Any] = {"session_id": str(uuid4()), "sync_mode": sync_mode, "participants": participants}
    return members | fields | budget


async def create_second_turn(
    server: RestServer, mode: str, budget_ms: int = 60 * SECOND
) -> tuple[dict[str, Any], str, str]:
    """Create a running session in its second turn; return it, the active participant and the other one."""
    body = body_of(mode, budget_ms)
    first, second = (each["participant_id"] for each in body["participants"])
    assert (await server.client.post("/v1/sessions", json=body)).status_code == 201
    for verb in ("start", "switch"):
        answer = await server.client.post(session_url(body, verb))
    assert answer.json()["data"]["active_participant_id"] == second
    return body, second, first


@pytest.mark.parametrize("is_found_by_the_timekeeper", [True, False])
@pytest.mark.parametrize("mode", MODES)
async def test_switch_names_the_participant_of_the_last_turn(
    server: RestServer, mode: str, is_found_by_the_timekeeper: bool
) -> None:
    session, last, other = await create_second_turn(server, mode)
    await server.parts.rewind(session["session_id"], 3_600 * SECOND)
    if is_found_by_the_timekeeper:
        await server.parts.sessions.commit_overdue(session["session_id"])
    url = session_url(session, "switch")
    for body in (
        {},
        {"current_participant_id": last},
        {"next_participant_id": other},
        {"current_participant_id": last},
    ):
        answer = await server.client.post(url, json=body)
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        assert (data["status"], data["expired_participant_id"]) == ("expired", last)
        assert (data["active_participant_id"], data["cycle_started_at"]) == (None, None)
        expired = (await server.client.get(session_url(session))).json()["data"]
        assert (data["version"], data["participants"]) == (expired["version"], expired["participants"])
        assert answer.headers["etag"] == f'"{expired["version"]}-{expired["epoch"]}"'
    assert expired["version"] == 4
    other_one = await server.client.post(url, json={"current_participant_id": other})
    assert problem_of(other_one) == (400, "INVALID_STATE_TRANSITION")
    for verb in ("complete", "cancel", "start", "pause", "resume"):
        refused = await server.client.post(session_url(session, verb))
        assert problem_of(refused) == (400, "INVALID_STATE_TRANSITION")


async def evict(server: RestServer, session_id: str) -> None:
    """Remove a session from Redis, as Redis does after its TTL."""
    await server.drain()
    keys = server.parts.store.keys
    for key in (keys.session, keys.history, keys.idempotency_records):
        await server.parts.pipe.call("DEL", key(session_id))


async def wait_until_expired(server: RestServer, *sessions: dict[str, Any]) -> None:
    """Wait for the deadlines of sessions. They must be real, because history is read by the instants of versions."""

    async def is_expired() -> bool:
        states = [(await server.client.get(session_url(each))).json()["data"]["status"] for each in sessions]
        return set(states) == {"expired"}

    await eventually(is_expired)


async def test_switch_after_the_eviction_names_the_participant_too(server: RestServer) -> None:
    turns = [await create_second_turn(server, mode, SECOND) for mode in MODES]
    await wait_until_expired(server, *(session for session, _, _ in turns))
    for session, last, other in turns:
        await evict(server, session["session_id"])
        for body in ({}, {"current_participant_id": last}):
            answer = await server.client.post(session_url(session, "switch"), json=body)
            assert (answer.status_code, answer.json()["data"]["expired_participant_id"]) == (200, last)
        refused = await server.client.post(session_url(session, "switch"), json={"current_participant_id": other})
        assert problem_of(refused) == (400, "INVALID_STATE_TRANSITION")


async def test_switch_after_the_expiry_left_the_history_names_the_participant(settings: Settings) -> None:
    short = settings.model_copy(update={"history_length": 2})
    async with open_rest_server(short) as server:
        session, last, _ = await create_second_turn(server, "global", SECOND)
        await wait_until_expired(server, session)
        for at in range(6):
            patch = {"metadata": {"at": at}}
            assert (await server.client.patch(session_url(session), json=patch)).status_code == 200
            if at == 3:
                await server.drain()
        answer = await server.client.post(session_url(session, "switch"))
        assert (answer.status_code, answer.json()["data"]["expired_participant_id"]) == (200, last)
        assert answer.json()["data"]["version"] == 10


async def test_replay_is_the_same_answer(server: RestServer) -> None:
    session, last, other = await create_second_turn(server, "per_participant")
    await server.parts.rewind(session["session_id"], 3_600 * SECOND)
    url = session_url(session, "switch")
    first = await server.client.post(url, headers={"idempotency-key": "found"})
    late = await server.client.post(url, headers={"idempotency-key": "late"})
    wrong: dict[str, Any] = {"json": {"current_participant_id": other}, "headers": {"idempotency-key": "wrong"}}
    refused = await server.client.post(url, **wrong)
    assert (first.status_code, late.status_code, refused.status_code) == (200, 200, 400)
    await server.client.patch(session_url(session), json={"metadata": {"a": 1}})
    for key, before in (("found", first), ("late", late)):
        replayed = await server.client.post(url, headers={"idempotency-key": key})
        assert (replayed.status_code, replayed.content) == (200, before.content)
        assert replayed.headers["idempotency-replayed"] == "true"
        assert replayed.json()["data"]["expired_participant_id"] == last
    assert (await server.client.post(url, **wrong)).content == refused.content


async def test_switch_with_a_stale_version_is_refused(server: RestServer) -> None:
    session, _, _ = await create_second_turn(server, "per_participant")
    before = (await server.client.get(session_url(session))).headers["etag"]
    await server.parts.rewind(session["session_id"], 3_600 * SECOND)
    url = session_url(session, "switch")
    stale: list[dict[str, Any]] = [{"json": {"expected_version": 3}}, {"headers": {"if-match": before}}]
    for fields in stale:
        assert problem_of(await server.client.post(url, **fields)) == (400, "INVALID_STATE_TRANSITION")
    expired = await server.client.get(session_url(session))
    current: list[dict[str, Any]] = [
        {"json": {"expected_version": 4}},
        {"headers": {"if-match": expired.headers["etag"]}},
    ]
    for fields in current:
        assert (await server.client.post(url, **fields)).status_code == 200


async def test_late_switch_that_finds_the_expiry_is_replayed_from_the_audit(
    server: RestServer, audit: AuditParts
) -> None:
    session, last, _ = await create_second_turn(server, "per_participant", SECOND)
    state = (await server.client.get(session_url(session))).json()["data"]
    deadline_ms = parse_instant_ms(state["deadline_at"])

    async def is_due() -> bool:
        return await server.parts.sessions.now_ms() >= deadline_ms

    await eventually(is_due)
    for key in ("one", "two"):
        headers = {"idempotency-key": key}
        assert (await server.client.post(session_url(session, "switch"), headers=headers)).status_code == 200
    await server.drain()
    rows = await audit.rows(
        "SELECT event_type, command, actor, command_id FROM sync_events WHERE session_id = %s ORDER BY version",
        session["session_id"],
    )
    assert rows[3:] == [("session_expired", "expire", "timekeeper", "one")]
    await evict(server, session["session_id"])
    replayed = await server.client.post(session_url(session, "switch"), headers={"idempotency-key": "one"})
    assert replayed.headers["idempotency-replayed"] == "true"
    assert replayed.json()["data"]["expired_participant_id"] == last


async def test_audit_with_late_switches_has_no_findings(server: RestServer, audit: AuditParts) -> None:
    session, _, _ = await create_second_turn(server, "global", SECOND)
    await wait_until_expired(server, session)
    for key in ("one", "two"):
        headers = {"idempotency-key": key}
        assert (await server.client.post(session_url(session, "switch"), headers=headers)).status_code == 200
    await server.drain()
    async with open_verifier(audit.settings.database_url, OutageChargePolicy()) as verifier:
        verified = await verifier.verify_session(session["session_id"])
    assert verified is not None
    assert (verified.versions, verified.findings) == (4, ())


async def test_deleted_session_is_not_found(server: RestServer) -> None:
    session, _, _ = await create_second_turn(server, "per_participant")
    await server.parts.rewind(session["session_id"], 3_600 * SECOND)
    assert (await server.client.delete(session_url(session))).status_code == 204
    assert problem_of(await server.client.post(session_url(session, "switch"))) == (404, "SESSION_NOT_FOUND")


@pytest.mark.parametrize("at_ms", [2_000, 2_001, 500_000])
async def test_simulated_switch_after_the_end_is_not_refused(server: RestServer, at_ms: int) -> None:
    first, second = (str(uuid4()) for _ in range(2))
    body = {
        "session": {
            "sync_mode": "per_participant",
            "participants": [{"participant_id": each, "total_time_ms": 2_000} for each in (first, second)],
        },
        "commands": [
            {"at_ms": 0, "command": "start"},
            {"at_ms": at_ms, "command": "switch"},
            {"at_ms": at_ms, "command": "switch", "args": {"current_participant_id": first}},
            {"at_ms": at_ms, "command": "switch", "args": {"current_participant_id": second, "x": 1}},
            {"at_ms": at_ms, "command": "complete"},
        ],
        "until_ms": 600_000,
    }
    answer = await server.client.post("/v1/simulate", json=body)
    assert answer.status_code == 200
    rows = answer.json()["data"]["timeline"]
    assert [row.get("event_type", row.get("refused")) for row in rows] == [
        "session_created", "session_started", "session_expired", "INVALID_STATE_TRANSITION",
        "INVALID_STATE_TRANSITION",
    ]  # fmt: skip
    assert [each["path"] for each in answer.json()["warnings"]] == ["commands.3.args.x"]
