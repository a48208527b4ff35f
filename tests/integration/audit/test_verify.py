"""Verification of the audit: a replay gives the same bytes, and finds every later change of a row."""

import asyncio
from uuid import uuid4

import pytest

from synckairos.audit.replay_check import ReplayFinding
from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.principal import TIMEKEEPER
from tests.integration.audit_parts import AuditParts
from tests.integration.audited_service import (
    CHARGE,
    AuditedService,
    create_short_session,
    delete_all_redis_keys,
    send_command,
)
from tests.integration.random_player import T0, RandomPlayer
from tests.integration.rest_server import open_rest_server
from tests.processes import Process


@pytest.fixture
def service(audit: AuditParts) -> AuditedService:
    return AuditedService(audit)


async def test_random_sessions_replay_without_findings(service: AuditedService) -> None:
    outcomes: set[str] = set()
    versions = 0
    for seed in range(80):
        player = await service.play(seed)
        outcomes |= player.outcomes
    await service.audit.drain()
    async with open_verifier(service.audit.settings.database_url, CHARGE) as verifier:
        async for verified in verifier.verify_each_session():
            assert verified.findings == ()
            versions += verified.versions
    assert versions > 1_000
    assert outcomes >= {
        *("start", "switch", "pause", "resume", "adjust", "add_participant", "remove_participant"),
        *(
            "update_metadata",
            "update_session",
            "reopen",
            "amend",
            "undo",
            "done",
            "set_plan",
            "announce",
            "screen",
            "update_participant",
            "PLAN_ITEM_NOT_FOUND",
            "complete",
            "cancel",
            "delete",
            "INVALID_STATE_TRANSITION",
            "CANNOT_UNDO",
        ),
    }
    happened = await service.audit.rows("SELECT DISTINCT event_type FROM sync_events")
    assert {kind for (kind,) in happened} >= {
        *("time_warning", "participant_expired", "group_expired", "cycle_expired", "session_expired"),
    }


async def test_a_session_changed_over_rest_replays_without_findings(audit: AuditParts) -> None:
    async with open_rest_server(audit.settings) as server:
        session = await server.create_started(metadata={"z": {"é": 1}, "a": 2.0}, increment_ms=1000)
        path = f"/v1/sessions/{session['session_id']}"
        one = session["participants"][0]["participant_id"]
        newcomer = str(uuid4())
        for method, below, body in (
            ("POST", "/switch", {"current_participant_id": one, "expected_version": 2}),
            ("POST", "/participants", {"participant_id": newcomer.upper(), "total_time_ms": 5000}),
            ("POST", "/adjust", {"delta_ms": -5, "participant_ids": [one]}),
            ("POST", "/pause", {"reason": "tea", "max_ms": 60_000}),
            ("POST", "/resume", None),
            ("PATCH", "", {"metadata": {"z": None, "b": [1, {"y": 1, "x": 2}]}}),
            ("DELETE", f"/participants/{newcomer}", None),
            ("POST", "/complete", {}),
            ("DELETE", "", None),
        ):
            answer = await server.client.request(method, path + below, json=body)
            assert answer.is_success, answer.text
        await server.drain()
        verified = await AuditedService(audit).verify(session["session_id"])
        assert (verified.versions, verified.epochs, verified.findings) == (11, 1, ())


TAMPERED: list[tuple[str, str, str]] = [
    ("time_used_ms = time_used_ms + 1", "mismatch", "time_used_ms is "),
    ("actor = 'intruder', occurred_at = occurred_at + interval '1 ms'", "mismatch", "snapshot.updated_at is "),
    ("snapshot = convert_to(convert_from(snapshot, 'UTF8') || ' ', 'UTF8')", "hash", "payload_hash"),
    ("status = 'paused'", "mismatch", 'status is "paused", not "running"'),
    ("event_type = 'time_adjusted'", "mismatch", 'event_type is "time_adjusted", not "cycle_switched"'),
    ("command = 'pause'", "mismatch", "snapshot.status"),
    ("command = 'dance'", "unplayable", "command: should be one of"),
    ("command = 'expire'", "unplayable", "nothing was due at this instant"),
    ("command = NULL", "unplayable", "the row has no command"),
    ("command = 'start'", "unplayable", "the engine refuses it: Session cannot be started"),
    ("args = '{\"x\": 1}'", "unplayable", "x: unknown field"),
]


@pytest.mark.parametrize(("assignment", "kind", "text"), TAMPERED)
async def test_a_changed_column_is_a_finding(service: AuditedService, assignment: str, kind: str, text: str) -> None:
    session_id = await create_short_session(service)
    assert (await service.verify(session_id)).findings == ()
    await service.change_row(assignment, session_id, 4)
    findings = await service.findings(session_id)
    first = findings[0]
    assert first[:2] == (kind, 4)
    assert text in first[2]
    assert {version for _, version, _ in findings} <= {4, 5}


async def test_a_changed_document_with_a_matching_hash_is_a_finding(service: AuditedService) -> None:
    session_id = await create_short_session(service)
    swapped = (
        "convert_to(replace(convert_from(snapshot, 'UTF8'), '\"metadata\":{}', '\"metadata\":{\"won\":1}'), 'UTF8')"
    )
    await service.change_row(f"snapshot = {swapped}", session_id, 4)
    await service.change_row("payload_hash = sha256(snapshot)", session_id, 4)
    assert await service.findings(session_id) == [
        ("mismatch", 4, 'snapshot.metadata is {"won":1}, not {}'),
        # A change of one document must be followed by changes of all later ones.
        ("mismatch", 5, 'snapshot.metadata is {}, not {"won":1}'),
    ]


async def test_missing_versions_are_gaps(service: AuditedService) -> None:
    session_id = await create_short_session(service)
    delete = b"DELETE FROM sync_events WHERE session_id = %s AND version = ANY(%s)"
    await service.audit.database.execute(delete, [session_id, [3]])
    assert await service.findings(session_id) == [("gap", 4, "the preceding version 3: missing")]
    await service.audit.database.execute(delete, [session_id, [1, 2]])
    assert [(kind, version) for kind, version, _ in await service.findings(session_id)] == [("gap", 4)]
    await service.audit.database.execute(delete, [session_id, [5]])
    assert [(kind, version) for kind, version, _ in await service.findings(session_id)] == [("gap", 4), ("gap", 5)]


@pytest.mark.pooler
async def test_conflicts_and_wrong_projections_are_findings(service: AuditedService) -> None:
    session_id = await create_short_session(service)
    database = service.audit.database
    await database.execute(b"INSERT INTO sync_conflicts SELECT session_id, epoch, 2, 'x', 'x', 'x' FROM sync_sessions")
    await database.execute(b"UPDATE sync_sessions SET status = 'paused'")
    assert [(kind, version) for kind, version, _ in await service.findings(session_id)] == [
        ("conflict", 2),
        ("projection", 5),
    ]
    await database.execute(b"DELETE FROM sync_sessions")
    assert (await service.findings(session_id))[-1] == ("projection", 5, "sync_sessions has no row")


@pytest.mark.parametrize("declared", ["charge", "freeze", "credit:2000"])
async def test_a_recovered_session_replays_from_the_preceding_version(audit: AuditParts, declared: str) -> None:
    service = AuditedService(audit, OutageChargePolicy.parse(declared))
    session_id = await create_short_session(service)
    await delete_all_redis_keys(audit)
    service.store.at_ms += 3_000
    await send_command(service, session_id, "switch")
    await audit.drain()
    verified = await service.verify(session_id)
    assert (verified.versions, verified.epochs, verified.findings) == (7, 2, ())
    # Another policy than the configured one: charge and freeze are always tried.
    other = await AuditedService(audit, OutageChargePolicy.parse("credit:7")).verify(session_id)
    assert not any(finding.contradicts_audit for finding in other.findings)
    recovered = other.findings[0] if declared.startswith("credit") else None
    assert other.findings == (() if recovered is None else (recovered,))
    if recovered is not None:
        assert isinstance(recovered, ReplayFinding)
        assert (recovered.kind, recovered.version) == ("taken", 6)


async def test_verify_audit_prints_findings_and_exits_1_on_a_fault(service: AuditedService) -> None:
    session_id = await create_short_session(service)
    settings = service.audit.settings

    async def verify_audit(*args: str) -> tuple[int, list[str]]:
        process = Process("verify-audit", *args, env=settings.to_environment_variables())
        return await asyncio.to_thread(process.wait_end), process.output.splitlines()

    assert await verify_audit(session_id) == (0, ["1 session, 5 versions, 0 faults"])
    assert (await verify_audit(str(uuid4())))[0] == 1
    assert (await verify_audit())[0] == 2
    await service.change_row("time_used_ms = 7", session_id, 4)
    code, (finding, total, last) = await verify_audit("--all")
    assert code == 1
    assert finding.startswith(f"{session_id}  version 4 of epoch ")
    assert finding.endswith(": mismatch: time_used_ms is 7, not 1000")
    assert total == "1 session, 5 versions, 1 fault"
    assert "docs/operate/verify-audit.md" in last


@pytest.mark.parametrize(("lag_ms", "counts"), [(1_170, True), (900, False)])
async def test_press_within_the_grace_at_the_flag_replays_without_findings(
    service: AuditedService, lag_ms: int, counts: bool
) -> None:
    player, store = RandomPlayer(service.sessions, service.store, seed=1), service.store
    store.at_ms = T0
    people = [{"participant_id": str(uuid4()), "total_time_ms": 60_000} for _ in range(2)]
    await player.create({"sync_mode": "per_participant", "participants": people, "lag_compensation": True})
    await player.send("start", {})
    store.at_ms = T0 + 61_000
    # A read within the grace does not commit the zero.
    assert (await service.sessions.read(TIMEKEEPER, player.session_id)).snapshot.version == 2
    await player.send("switch", {"lag_ms": lag_ms, "measured_lag_ms": 1_100})
    switched = (await service.sessions.read(TIMEKEEPER, player.session_id)).session
    assert switched.status == ("running" if counts else "expired")
    store.at_ms += 90_000
    ended = (await service.sessions.read(TIMEKEEPER, player.session_id)).session
    assert ended.completed_at_ms == (T0 + 121_000 if counts else T0 + 60_000)
    await service.audit.drain()
    assert (await service.verify(player.session_id)).findings == ()
