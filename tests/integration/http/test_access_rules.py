"""Each REST operation with each role: allowed, 403, or the answer for a session that does not exist."""

import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from synckairos.config import Settings
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.table import JobTable
from synckairos.members.requested_reconciliations import RequestedReconciliations
from synckairos.principal import Role
from synckairos.service.access_rules import ACCESS_RULES
from synckairos.store.tickets import TicketStore
from synckairos.tenants.active_tenants import ActiveTenants
from synckairos.tenants.table import TenantTable
from tests.integration.callers import NamedCallers, as_caller, as_operator
from tests.integration.members.member_nodes import make_member_changes
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.integration.round_trips import RoundTrips
from tests.integration.signing_keys.key_nodes import open_key_node
from tests.tokens import signing_key

ROLES: tuple[Role, ...] = ("viewer", "participant", "controller", "admin")
MISSING = "00000000-0000-4000-8000-000000000000"


class Case(NamedTuple):
    """One operation. `{id}` and `{pid}` are the ids of a session and of its active participant."""

    method: str
    path: str
    least: Role
    body: dict[str, Any] | None = None


SESSION_CASES = (
    Case("GET", "/v1/sessions/{id}", "viewer"),
    Case("GET", "/v1/sessions/{id}?at=9999999999999", "viewer"),
    Case("GET", "/v1/sessions/{id}/archive", "viewer"),
    Case("GET", "/v1/sessions/{id}/events", "controller"),
    Case("GET", "/v1/sessions/{id}/events?snapshots=1", "controller"),
    Case("POST", "/v1/sessions/{id}/switch", "participant", {"current_participant_id": "{pid}"}),
    Case("POST", "/v1/sessions/{id}/pause", "participant", {}),
    Case("POST", "/v1/sessions/{id}/resume", "participant", {}),
    Case("POST", "/v1/sessions/{id}/done", "participant", {"participant_id": "{pid}"}),
    Case("POST", "/v1/sessions/{id}/finish", "participant", {}),
    Case("POST", "/v1/sessions/{id}/start", "controller", {}),
    Case("POST", "/v1/sessions/{id}/adjust", "controller", {"delta_ms": 1}),
    Case("POST", "/v1/sessions/{id}/complete", "controller", {}),
    Case("POST", "/v1/sessions/{id}/cancel", "controller", {}),
    Case("POST", "/v1/sessions/{id}/undo", "controller", {}),
    Case("POST", "/v1/sessions/{id}/reopen", "controller", {}),
    Case("POST", "/v1/sessions/{id}/amend", "controller", {"breaks": []}),
    Case("POST", "/v1/sessions/{id}/announce", "controller", {"text": "Tea"}),
    Case("POST", "/v1/sessions/{id}/screen", "controller", {"mode": "focus"}),
    Case("POST", "/v1/sessions/{id}/participants", "controller", {"participant_id": MISSING, "total_time_ms": 60_000}),
    Case("PATCH", "/v1/sessions/{id}/participants/{pid}", "controller", {"display_name": "Anna"}),
    Case("DELETE", "/v1/sessions/{id}/participants/{pid}", "controller"),
    Case("PATCH", "/v1/sessions/{id}", "controller", {"metadata": {"a": 1}}),
    Case("PATCH", "/v1/sessions/{id}", "controller", {"starts_at": None}),
    Case("PUT", "/v1/sessions/{id}/plan", "controller", {"plan": [{"time_ms": 1_000}], "expected_version": 1}),
    Case("POST", "/v1/links", "controller", {"session_id": "{id}", "role": "viewer"}),
    Case("GET", "/v1/links?session_id={id}", "controller"),
    Case("DELETE", "/v1/sessions/{id}", "admin"),
)
TENANT_CASES = (
    Case("GET", "/v1/revocations", "admin"),
    Case("POST", "/v1/revocations", "admin", {"jti": "t1"}),
    Case("POST", "/v1/disconnect", "admin", {"subject": "alice"}),
    Case("GET", "/v1/keys", "admin"),
    Case("POST", "/v1/keys", "admin", {"role": "viewer"}),
    Case("POST", "/v1/keys/000000000000/rotate", "admin"),
    Case("DELETE", "/v1/keys/000000000000", "admin"),
    Case("DELETE", "/v1/links/000000000000", "controller"),
    Case("GET", "/v1/links", "admin"),
    Case("GET", "/v1/members/reconciliations", "admin"),
    Case("POST", "/v1/members/reconciliations", "admin", {}),
    Case("GET", "/v1/members/reconciliations/1", "admin"),
    Case("PUT", "/v1/members", "admin", {"subject": "alice", "resource": MISSING, "role": "viewer"}),
    Case("GET", "/v1/members", "admin"),
    Case("DELETE", f"/v1/members?subject=alice&resource={MISSING}", "admin"),
    Case("GET", "/v1/signing-keys", "admin"),
    Case("POST", "/v1/signing-keys", "admin", {"kid": "k1", "pem": signing_key("ES256").pem}),
    Case("DELETE", f"/v1/signing-keys/{MISSING}", "admin"),
    Case("GET", "/v1/sessions", "admin"),
    Case("POST", "/v1/sessions", "admin", chess_body(session_id=None)),
    Case("GET", "/v1/access", "admin"),
    Case("GET", f"/v1/hours?participants={MISSING}", "controller"),
    Case("GET", "/metrics", "admin"),
    Case("GET", "/v1/webhooks", "admin"),
    Case("POST", "/v1/webhooks", "admin", {"url": "https://example.org/"}),
    Case("GET", f"/v1/webhooks/{MISSING}", "admin"),
    Case("PATCH", f"/v1/webhooks/{MISSING}", "admin", {"enabled": True}),
    Case("DELETE", f"/v1/webhooks/{MISSING}", "admin"),
    Case("POST", f"/v1/webhooks/{MISSING}/rotate", "admin", {}),
    Case("POST", f"/v1/webhooks/{MISSING}/test", "admin", {}),
    Case("GET", f"/v1/webhooks/{MISSING}/deliveries", "admin"),
    Case("POST", f"/v1/webhooks/{MISSING}/deliveries/{MISSING}/resend", "admin", {}),
)
OPERATOR_CASES = (
    Case("GET", "/v1/tenants", "admin"),
    Case("POST", "/v1/tenants", "admin", {"tenant": "acme"}),
    Case("GET", "/v1/tenants/acme", "admin"),
    Case("PATCH", "/v1/tenants/acme", "admin", {}),
    Case("POST", "/v1/tenants/acme/suspend", "admin", {}),
    Case("POST", "/v1/tenants/acme/activate", "admin", {}),
    Case("DELETE", "/v1/tenants/acme", "admin"),
    Case("GET", "/v1/jobs", "admin"),
    Case("GET", "/v1/jobs/1", "admin"),
    Case("POST", "/v1/jobs/1/retry", "admin", {}),
    Case("GET", "/v1/failed-entries", "admin"),
    Case("POST", "/v1/failed-entries/retry", "admin", {}),
)
PARTICIPANT_CASES = (
    Case("GET", "/v1/participants/{pid}/sessions", "participant"),
    Case("GET", "/v1/participants/{pid}/time", "participant"),
)
MANY = {"session_ids": [MISSING], "command": "pause", "args": {}, "command_id": "c"}
CREDENTIAL_CASES = (
    Case("POST", "/v1/sessions/commands", "viewer", MANY),
    Case("GET", "/v1/me", "viewer"),
    Case("GET", "/v1/me/sessions", "viewer"),
    Case("POST", "/v1/tickets", "viewer", {}),
    Case("POST", "/v1/simulate", "viewer", {"session": chess_body(session_id=None), "commands": [], "until_ms": 1}),
)
PUBLIC_PATHS = (
    *("/health", "/ready", "/v1/time", "/openapi.json", "/asyncapi.json"),
    *("/v1/presets", "/v1/presets/chess/fide-blitz"),
    *("/docs", "/docs/docs.js", "/api-docs", "/api-docs.json"),
)

STREAM_OPERATIONS = {("GET", "/v3/stream"), ("POST", "/v3/frames")}
"""Operations whose messages have the rules. `realtime/test_event_stream_credentials.py` tests their credentials."""

LINK_OPERATIONS = {("POST", "/v1/links/redeem"), ("POST", "/v1/tokens"), ("DELETE", "/v1/tokens")}
"""Operations that depend on the kind of the credential. `http/test_links.py` tests their credentials."""


@pytest.fixture
async def server(settings: Settings, job_table: JobTable, job_queue: JobQueue) -> AsyncIterator[RestServer]:
    async with (
        open_key_node(settings) as keys,
        open_rest_server(
            settings,
            caller_identity=NamedCallers(),
            control_channel=keys.node.channel,
            verifier=keys.verifier,
            signing_keys=keys.keys,
            tenants=ActiveTenants(TenantTable(keys.node.pool), keys.node.channel, requires_registration=False),
            reconciliations=RequestedReconciliations(job_table, job_queue),
            tickets=TicketStore(keys.node.pipe, keys.node.keys),
            member_changes=make_member_changes(keys.node),
        ) as opened,
    ):
        yield opened


async def test_each_operation_has_a_case(server: RestServer) -> None:
    cases = (*SESSION_CASES, *TENANT_CASES, *OPERATOR_CASES, *PARTICIPANT_CASES, *CREDENTIAL_CASES)
    tested = {(case.method, case.path.partition("?")[0]) for case in cases}
    tested |= {("GET", path) for path in PUBLIC_PATHS} | STREAM_OPERATIONS | LINK_OPERATIONS
    paths = (await server.client.get("/openapi.json")).json()["paths"]
    operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    patterns = {each: re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(each[1]))) for each in operations}
    missing = {
        operation
        for operation, pattern in patterns.items()
        if not any(method == operation[0] and pattern.fullmatch(path) for method, path in tested)
    }
    assert missing == set()


async def send(
    server: RestServer, case: Case, headers: dict[str, str], session_id: str = MISSING, person: str = MISSING
) -> httpx.Response:
    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(each) for name, each in value.items()}
        return value.replace("{id}", session_id).replace("{pid}", person) if isinstance(value, str) else value

    options = {} if case.body is None else {"json": fill(case.body)}
    return await server.client.request(case.method, fill(case.path), headers=headers, **options)


def refusal_of(answer: httpx.Response) -> tuple[int, str] | None:
    """Return status and code if the answer is a refusal of authorisation, None for each other answer."""
    code = "" if answer.is_success else answer.json()["error"]["code"]
    is_refusal = answer.status_code in (401, 403) or code in ("SESSION_NOT_FOUND", "FORBIDDEN")
    return (answer.status_code, code) if is_refusal else None


async def created(server: RestServer) -> tuple[str, str]:
    """Create and start a session as an admin. Return its id and the id of its active participant."""
    admin = as_caller("root")
    made = (await server.client.post("/v1/sessions", json=chess_body(), headers=admin)).json()["data"]
    session_id: str = made["session_id"]
    assert (await server.client.post(f"/v1/sessions/{session_id}/start", headers=admin)).is_success
    person: str = made["participants"][0]["participant_id"]
    return session_id, person


@pytest.mark.parametrize("case", SESSION_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_role_on_the_session_decides(server: RestServer, case: Case) -> None:
    for role in ROLES:
        session_id, person = await created(server)
        caller = as_caller("x", role, reaches=session_id, participant_id=person)
        answer = await send(server, case, caller, session_id, person)
        expected = None if ROLES.index(role) >= ROLES.index(case.least) else (403, "FORBIDDEN")
        assert refusal_of(answer) == expected, role


@pytest.mark.parametrize("case", SESSION_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_session_out_of_reach_answers_and_costs_the_same_as_a_missing_session(
    server: RestServer, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, person = await created(server)
    for role in ("viewer", "participant", "controller"):
        answers = []
        for requested in (session_id, str(uuid4())):
            caller = as_caller(f"{role} of another", role, reaches=MISSING, participant_id=person)
            with monkeypatch.context() as patch:
                trips = RoundTrips(patch, server.parts.pipe, requested)
                answer = await send(server, case, caller | {"if-match": '"9-x"'}, requested, person)
            headers = [each for each in answer.headers.multi_items() if each[0] not in ("x-request-id", "date")]
            headers = [each for each in headers if not each[0].startswith("ratelimit")]
            answers.append((answer.status_code, answer.text.replace(requested, "ID"), headers, trips.count))
        assert answers[0] == answers[1]
        assert (answers[0][0], answers[0][3]) == (404, 0)


@pytest.mark.parametrize("case", TENANT_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_operation_of_the_tenant_needs_its_role(server: RestServer, case: Case) -> None:
    for role in ROLES:
        answer = await send(server, case, as_caller("x", role))
        expected = None if ROLES.index(role) >= ROLES.index(case.least) else (403, "FORBIDDEN")
        assert refusal_of(answer) == expected, role


@pytest.mark.parametrize("case", OPERATOR_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_operation_of_operators_is_refused_for_each_role(server: RestServer, case: Case) -> None:
    for role in ROLES:
        assert refusal_of(await send(server, case, as_caller("x", role))) == (403, "FORBIDDEN"), role
    assert refusal_of(await send(server, case, as_operator())) is None


@pytest.mark.parametrize("case", [*SESSION_CASES, *TENANT_CASES], ids=lambda case: f"{case.method} {case.path}")
async def test_operation_of_a_tenant_is_refused_for_operators(server: RestServer, case: Case) -> None:
    expected = None if case.path == "/metrics" else (403, "FORBIDDEN")
    assert refusal_of(await send(server, case, as_operator())) == expected


@pytest.mark.parametrize("case", CREDENTIAL_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_operation_of_any_credential_is_allowed_for_each_role(server: RestServer, case: Case) -> None:
    for role in ROLES:
        answer = await send(server, case, as_caller("x", role, reaches=MISSING))
        assert answer.is_success, (role, answer.text)


async def test_command_to_many_sessions_is_decided_by_the_role_on_each(server: RestServer) -> None:
    for role in ROLES:
        session_id, person = await created(server)
        foreign, _ = await created(server)
        caller = as_caller(f"x-{role}", role, reaches=session_id, participant_id=person)
        body = MANY | {"session_ids": [session_id, foreign, MISSING]}
        answer = await server.client.post("/v1/sessions/commands", json=body, headers=caller)
        codes = [each.get("error", {}).get("code") for each in answer.json()["data"]["results"]]
        own = None if ACCESS_RULES["pause"].allows(role) else "FORBIDDEN"
        assert codes == [own, None if role == "admin" else "SESSION_NOT_FOUND", "SESSION_NOT_FOUND"], role


@pytest.mark.parametrize("case", PARTICIPANT_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_participant_reads_its_own_sessions_and_times_only(server: RestServer, case: Case) -> None:
    own, other = str(uuid4()), str(uuid4())
    expectations: list[tuple[Role, str, str, tuple[int, str] | None]] = [
        ("participant", own, own, None),
        ("participant", own, own.upper(), None),
        ("participant", own, other, (403, "FORBIDDEN")),
        ("controller", own, own, None),
        ("controller", "-", own, (403, "FORBIDDEN")),
        ("viewer", own, own, (403, "FORBIDDEN")),
        ("admin", "-", own, None),
    ]
    for role, participant_id, requested, expected in expectations:
        caller = as_caller("x", role, participant_id=participant_id)
        assert refusal_of(await send(server, case, caller, person=requested)) == expected


async def test_lower_of_ceiling_and_grant_is_the_role(server: RestServer) -> None:
    session_id, person = await created(server)
    for role in ("viewer", "participant"):
        caller = as_caller("x", role, reaches=session_id, participant_id=person)
        assert (await send(server, Case("DELETE", "/v1/sessions/{id}", "admin"), caller, session_id)).status_code == 403


async def test_deletion_is_204_for_admins_and_404_or_403_for_others(server: RestServer) -> None:
    session_id, _ = await created(server)
    case = Case("DELETE", "/v1/sessions/{id}", "admin")
    assert (await send(server, case, as_caller("x", "controller", reaches="-"), session_id)).status_code == 404
    assert (await send(server, case, as_caller("x", "controller"), session_id)).status_code == 403
    assert (await send(server, case, as_caller("x", "controller"), MISSING)).status_code == 404
    for requested in (session_id, session_id, MISSING):
        assert (await send(server, case, as_caller("x"), requested)).status_code == 204


@pytest.mark.parametrize("path", PUBLIC_PATHS)
async def test_public_operation_needs_no_role(server: RestServer, path: str) -> None:
    assert (await server.client.get(path, headers=as_caller("x", "viewer", reaches="-"))).status_code == 200
