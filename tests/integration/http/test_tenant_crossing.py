"""A caller of one tenant with the ids of another tenant, in each REST operation.

Each answer, and the number of round trips to Redis, is that for ids that do not exist. The cases are those of the
access matrix, which has each operation.
"""

import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from synckairos.config import Settings
from synckairos.principal import Role
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.http.test_access_rules import (
    CREDENTIAL_CASES,
    MISSING,
    PARTICIPANT_CASES,
    SESSION_CASES,
    TENANT_CASES,
    Case,
    send,
)
from tests.integration.members.member_nodes import make_member_changes
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.integration.round_trips import RoundTrips
from tests.integration.signing_keys.key_nodes import open_key_node
from tests.tokens import signing_key

pytestmark = pytest.mark.serving_login

OWNER, STRANGER = as_caller("root"), as_caller("root", tenant="acme")
ROLES: tuple[Role, ...] = ("viewer", "participant", "controller", "admin")
SECRET = "secret-of-the-default-tenant"


class Owned(NamedTuple):
    """Ids of objects of the default tenant."""

    session_id: str
    participant_id: str
    webhook_id: str
    signing_key_id: str


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with (
        open_key_node(settings) as keys,
        open_rest_server(
            settings,
            caller_identity=NamedCallers(),
            control_channel=keys.node.channel,
            verifier=keys.verifier,
            signing_keys=keys.keys,
            member_changes=make_member_changes(keys.node),
        ) as opened,
    ):
        yield opened


@pytest.fixture
async def owned(server: RestServer) -> Owned:
    """Create objects in the default tenant: a started session that Postgres has, a webhook, a key and a revocation."""
    server.client.headers.update(OWNER)
    session = await server.create_started(metadata={"note": SECRET}, labels={"room": SECRET})
    webhook = await server.client.post("/v1/webhooks", json={"url": "https://example.org/", "description": SECRET})
    key = {"kid": SECRET, "pem": signing_key("ES256").pem}
    made = await server.client.post("/v1/signing-keys", json=key)
    await server.client.post("/v1/revocations", json={"jti": SECRET})
    member = {"subject": SECRET, "resource": session["session_id"], "role": "viewer"}
    assert (await server.client.put("/v1/members", json=member)).status_code == 200
    await server.drain()
    server.client.headers.update(STRANGER)
    return Owned(
        session["session_id"],
        session["participants"][0]["participant_id"],
        webhook.json()["data"]["webhook_id"],
        made.json()["data"]["signing_key_id"],
    )


def comparable(answer: httpx.Response, *ids: str) -> tuple[int, str, list[tuple[str, str]]]:
    """Return status, body and headers of an answer, without times, rate limits and the requested ids."""

    def strip(text: str) -> str:
        for each in ids:
            text = text.replace(each, "ID")
        return re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "INSTANT", text)

    kept = [(name, strip(value)) for name, value in answer.headers.multi_items() if not name.startswith("ratelimit")]
    return answer.status_code, strip(answer.text), [each for each in kept if each[0] not in ("x-request-id", "date")]


@pytest.mark.parametrize("case", SESSION_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_session_of_another_tenant_answers_and_costs_the_same_as_a_missing_session(
    server: RestServer, owned: Owned, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (await server.client.get(f"/v1/sessions/{owned.session_id}", headers=OWNER)).content
    missing = str(uuid4())
    for role in ROLES:
        caller = as_caller("x", role, participant_id=owned.participant_id, tenant="acme")
        await send(server, case, caller, str(uuid4()), owned.participant_id)  # Redis then has all scripts
        answers = []
        for requested in (owned.session_id, missing):
            with monkeypatch.context() as patch:
                trips = RoundTrips(patch, server.parts.pipe, requested)
                answer = await send(server, case, caller, requested, owned.participant_id)
            answers.append((comparable(answer, requested), trips.count))
            assert SECRET not in answer.text
        assert answers[0] == answers[1], role
    assert (await server.client.get(f"/v1/sessions/{owned.session_id}", headers=OWNER)).content == before


@pytest.mark.parametrize("case", PARTICIPANT_CASES, ids=lambda case: f"{case.method} {case.path}")
async def test_participant_of_another_tenant_answers_like_an_unknown_participant(
    server: RestServer, owned: Owned, case: Case
) -> None:
    for role in ROLES:
        answers = []
        for requested in (owned.participant_id, str(uuid4())):
            caller = as_caller("x", role, participant_id=requested, tenant="acme")
            answer = await send(server, case, caller, person=requested)
            answers.append(comparable(answer, requested))
            assert SECRET not in answer.text
        assert answers[0] == answers[1], role


@pytest.mark.parametrize(
    "case",
    [each for each in (*TENANT_CASES, *CREDENTIAL_CASES) if each.path != "/metrics"],
    ids=lambda case: f"{case.method} {case.path}",
)
async def test_operation_with_the_ids_of_another_tenant_answers_like_one_with_unknown_ids(
    server: RestServer, owned: Owned, case: Case
) -> None:
    answers = []
    for ids in (owned, Owned(*(str(uuid4()) for _ in Owned._fields))):
        named = _with_ids(case, ids)
        answer = await send(server, named, STRANGER)
        assert SECRET not in answer.text
        answers.append((answer.status_code, _code(answer)))
    assert answers[0] == answers[1]
    for path in (f"/v1/webhooks/{owned.webhook_id}", f"/v1/sessions/{owned.session_id}"):
        assert (await server.client.get(path, headers=OWNER)).status_code == 200
    keys = (await server.client.get("/v1/signing-keys", headers=OWNER)).json()["data"]
    assert [each["signing_key_id"] for each in keys] == [owned.signing_key_id]
    members = (await server.client.get("/v1/members", headers=OWNER)).json()["data"]
    assert [each["subject"] for each in members] == [SECRET]


def _code(answer: httpx.Response) -> str:
    return "" if answer.is_success else answer.json()["error"]["code"]


def _with_ids(case: Case, ids: Owned) -> Case:
    """Return a case whose path and body name these ids in place of missing ids."""
    webhook = "webhooks" in case.path
    key = "signing-keys" in case.path
    first = ids.webhook_id if webhook else ids.signing_key_id if key else ids.participant_id
    path = case.path.replace(MISSING, first, 1)

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fill(each) for name, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        # Names of new objects must differ, or the second request meets the object of the first.
        return ids.session_id if value == MISSING else str(uuid4()) if value in ("k1", "c") else value

    return case._replace(path=path, body=None if case.body is None else fill(case.body))


async def test_two_tenants_use_the_same_ids_without_a_common_object(server: RestServer, owned: Owned) -> None:
    people = [{"participant_id": owned.participant_id, "participant_index": 0, "total_time_ms": 60_000}]
    body = chess_body(session_id=owned.session_id, participants=people, total_time_ms=60_000, metadata={"note": "own"})
    key = {"idempotency-key": "same"}
    mine = await server.client.post("/v1/sessions", json=body, headers=key)
    assert mine.status_code == 201
    listed = (await server.client.get("/v1/sessions")).json()["data"]
    assert [(each["session_id"], each["metadata"]) for each in listed] == [(owned.session_id, {"note": "own"})]
    again = await server.client.post("/v1/sessions", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "SESSION_EXISTS")
    theirs = (await server.client.get("/v1/sessions", headers=OWNER)).json()["data"]
    assert [(each["session_id"], each["metadata"]) for each in theirs] == [(owned.session_id, {"note": SECRET})]
    started = await server.client.post(f"/v1/sessions/{owned.session_id}/start", headers={"idempotency-key": "own"})
    assert (started.status_code, started.json()["data"]["version"]) == (200, 2)
    sessions = (await server.client.get(f"/v1/participants/{owned.participant_id}/sessions")).json()["data"]
    assert [each["metadata"] for each in sessions] == [{"note": "own"}]
