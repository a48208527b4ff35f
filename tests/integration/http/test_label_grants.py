"""Grants that name sessions by a label: what they reach, who creates such sessions, and who changes their labels."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from synckairos.config import Settings
from synckairos.history.records import AuditedVersion
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.http.test_access_rules import MISSING, ROLES, SESSION_CASES, Case, refusal_of, send
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.integration.revocations.nodes import open_node
from tests.integration.round_trips import RoundTrips

SPRING, AUTUMN = "label:cup=spring", "label:cup=autumn"


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with (
        open_node(settings) as node,
        open_rest_server(settings, caller_identity=NamedCallers(), control_channel=node.channel) as opened,
    ):
        yield opened


async def create_started(server: RestServer, **labels: str) -> tuple[str, str]:
    """Create and start a session with labels as an admin. Return its id and the id of its active participant."""
    admin = as_caller("root")
    answer = await server.client.post("/v1/sessions", json=chess_body(labels=labels), headers=admin)
    session_id: str = answer.json()["data"]["session_id"]
    started = await server.client.post(f"/v1/sessions/{session_id}/start", headers=admin)
    person: str = started.json()["data"]["active_participant_id"]
    return session_id, person


@pytest.mark.parametrize("case", SESSION_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_role_of_the_label_grant_decides(server: RestServer, case: Case) -> None:
    for role in ROLES:
        session_id, person = await create_started(server, cup="spring")
        caller = as_caller("x", role, reaches=SPRING, participant_id=person)
        answer = await send(server, case, caller, session_id, person)
        expected = None if ROLES.index(role) >= ROLES.index(case.least) else (403, "FORBIDDEN")
        assert refusal_of(answer) == expected, role


@pytest.mark.parametrize("case", SESSION_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_session_without_the_label_answers_and_costs_the_same_as_a_missing_session(
    server: RestServer, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, person = await create_started(server, cup="autumn")
    caller = as_caller("x", "controller", reaches=SPRING, participant_id=person)
    answers = []
    for requested in (session_id, str(uuid4())):
        reads: list[str] = []
        history = server.parts.history
        read = history.read_latest_version

        async def counted(wanted: str, reads: list[str] = reads, read: Any = read) -> AuditedVersion | None:
            reads.append(wanted)
            found: AuditedVersion | None = await read(wanted)
            return found

        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(history, "read_latest_version", counted)
                trips = RoundTrips(patch, server.parts.pipe, requested)
                answer = await send(server, case, caller, requested, person)
            headers = [each for each in answer.headers.multi_items() if each[0] not in ("x-request-id", "date")]
            headers = [each for each in headers if not each[0].startswith("ratelimit")]
            text = answer.text.replace(requested, "ID")
            answers.append((answer.status_code, text, headers, trips.count, len(reads)))
    assert answers[:2] == answers[2:]
    assert answers[0][0] == 404


async def test_change_of_a_label_changes_the_role_at_once(server: RestServer) -> None:
    session_id, _ = await create_started(server, cup="spring")
    path, caller = f"/v1/sessions/{session_id}", as_caller("x", "viewer", reaches=SPRING)
    assert (await server.client.get(path, headers=caller)).status_code == 200
    changed = await server.client.patch(path, json={"labels": {"cup": None}}, headers=as_caller("root"))
    assert changed.status_code == 200
    assert (await server.client.get(path, headers=caller)).status_code == 404


async def test_last_labels_of_a_deleted_session_decide_about_its_events(server: RestServer) -> None:
    session_id, _ = await create_started(server, cup="spring")
    await server.client.delete(f"/v1/sessions/{session_id}", headers=as_caller("root"))
    await server.drain()
    for grant, status in ((SPRING, 200), (AUTUMN, 404)):
        caller = as_caller("x", "controller", reaches=grant)
        assert (await server.client.get(f"/v1/sessions/{session_id}/events", headers=caller)).status_code == status
        assert (await server.client.get(f"/v1/sessions/{session_id}", headers=caller)).status_code == 404


@pytest.mark.parametrize(
    ("role", "labels", "status"),
    [
        ("controller", {"cup": "spring"}, 201),
        ("controller", {}, 403),
        ("controller", {"cup": "autumn"}, 403),
        ("controller", {"cup": "spring", "round": "1"}, 403),
        ("participant", {"cup": "spring"}, 403),
        ("viewer", {"cup": "spring"}, 403),
        ("admin", {"any": "label"}, 201),
    ],
)
async def test_creation_needs_a_grant_for_each_label(
    server: RestServer, role: Any, labels: dict[str, str], status: int
) -> None:
    caller = as_caller("x", role, reaches=SPRING, participant_id=MISSING)
    answer = await server.client.post("/v1/sessions", json=chess_body(labels=labels), headers=caller)
    assert answer.status_code == status
    if status == 201:
        own = await server.client.get(answer.headers["location"], headers=caller)
        assert own.status_code == 200


async def test_controller_without_a_label_grant_creates_no_session(server: RestServer) -> None:
    for reaches in ("*", MISSING, "-"):
        caller = as_caller("x", "controller", reaches=reaches)
        answer = await server.client.post("/v1/sessions", json=chess_body(labels={"cup": "spring"}), headers=caller)
        assert problem_of(answer) == (403, "FORBIDDEN")


async def test_only_admins_change_labels_that_a_grant_names(server: RestServer) -> None:
    session_id, _ = await create_started(server, cup="spring", hall="a")
    path, caller = f"/v1/sessions/{session_id}", as_caller("x", "controller", reaches=SPRING)
    for labels in ({"cup": None}, {"cup": "autumn"}, {"hall": "b", "cup": "autumn"}):
        refused = await server.client.patch(path, json={"labels": labels}, headers=caller)
        assert problem_of(refused) == (403, "FORBIDDEN")
    kept = await server.client.patch(
        path, json={"labels": {"hall": "b", "cup": "spring", "round": "2"}}, headers=caller
    )
    assert kept.json()["data"]["labels"] == {"cup": "spring", "hall": "b", "round": "2"}
    other = as_caller("y", "controller", reaches=session_id)
    allowed = await server.client.patch(path, json={"labels": {"cup": "autumn"}}, headers=other)
    assert allowed.status_code == 200, "the grant of this caller names no label"


async def test_replay_is_refused_after_the_label_is_gone(server: RestServer) -> None:
    session_id, _ = await create_started(server, cup="spring")
    caller = as_caller("x", "controller", reaches=SPRING) | {"idempotency-key": "k"}
    path = f"/v1/sessions/{session_id}/pause"
    first = await server.client.post(path, headers=caller)
    again = await server.client.post(path, headers=caller)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    without = {"labels": {"cup": None}}
    await server.client.patch(f"/v1/sessions/{session_id}", json=without, headers=as_caller("root"))
    assert problem_of(await server.client.post(path, headers=caller)) == (404, "SESSION_NOT_FOUND")
