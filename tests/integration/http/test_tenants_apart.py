"""REST with two tenants that use the same session ids, participants, labels and Idempotency-Keys: nothing crosses."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.config import Settings
from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import session_name
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import RestServer, chess_body, open_rest_server

pytestmark = pytest.mark.serving_login

OTHER = "acme"
TENANTS = (DEFAULT_TENANT, OTHER)
PERSON = str(uuid4())


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, caller_identity=NamedCallers()) as opened:
        yield opened


def of(tenant: str, **headers: str) -> dict[str, str]:
    """Return the headers of the admin of a tenant. All admins have the same subject."""
    return as_caller("admin", tenant=tenant) | headers


def count_up_body(session_id: str) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "sync_mode": "count_up",
        "labels": {"team": "red"},
        "participants": [{"participant_id": PERSON, "participant_index": 0}],
    }


async def create(server: RestServer, tenant: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    answer = await server.client.post("/v1/sessions", json=body, headers=of(tenant, **headers))
    assert answer.status_code == 201, answer.text
    return answer


async def data(server: RestServer, tenant: str, path: str) -> Any:
    answer = await server.client.get(path, headers=of(tenant))
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_equal_creations_with_one_key_make_a_session_in_each_tenant(server: RestServer) -> None:
    body = chess_body()
    for tenant in TENANTS:
        first = await create(server, tenant, body, **{"idempotency-key": "create-1"})
        assert "idempotency-replayed" not in first.headers
    again = await create(server, OTHER, body, **{"idempotency-key": "create-1"})
    assert again.headers["idempotency-replayed"] == "true"
    path = f"/v1/sessions/{body['session_id']}"
    assert (await server.client.post(f"{path}/start", headers=of(OTHER))).status_code == 200
    assert [(await data(server, tenant, path))["status"] for tenant in TENANTS] == ["pending", "running"]


async def test_session_of_another_tenant_answers_like_a_missing_session(server: RestServer) -> None:
    body = chess_body()
    await create(server, OTHER, body)
    for end in ("", "/events", "/archive"):
        answers = [
            await server.client.get(f"/v1/sessions/{session_id}{end}", headers=of(DEFAULT_TENANT))
            for session_id in (body["session_id"], str(uuid4()))
        ]
        known, missing = (
            (answer.status_code, answer.text.replace(id_, "id"))
            for answer, id_ in zip(answers, (body["session_id"], answers[1].url.path.split("/")[3]), strict=True)
        )
        assert known[0] == missing[0] == 404
    deleted = await server.client.delete(f"/v1/sessions/{body['session_id']}", headers=of(DEFAULT_TENANT))
    assert deleted.status_code == 204  # as for each missing session
    assert (await data(server, OTHER, f"/v1/sessions/{body['session_id']}"))["status"] == "pending"


async def test_lists_events_and_hours_show_the_own_tenant(server: RestServer) -> None:
    shared, only_other = str(uuid4()), str(uuid4())
    for tenant in TENANTS:
        await create(server, tenant, count_up_body(shared))
    await create(server, OTHER, count_up_body(only_other))
    for session_id in (shared, only_other):
        started = await server.client.post(f"/v1/sessions/{session_id}/start", headers=of(OTHER))
        assert started.status_code == 200
    expected = {DEFAULT_TENANT: {shared}, OTHER: {shared, only_other}}
    for tenant, ids in expected.items():
        for path in ("/v1/sessions", "/v1/sessions?label=team=red", f"/v1/participants/{PERSON}/sessions"):
            assert {each["session_id"] for each in await data(server, tenant, path)} == ids, path
    events = [
        [each["event_type"] for each in await data(server, tenant, f"/v1/sessions/{shared}/events")]
        for tenant in TENANTS
    ]
    assert events == [["session_created"], ["session_created", "session_started"]]
    for path in ("/v1/hours?label=team=red&bucket=session", f"/v1/participants/{PERSON}/time?bucket=session"):
        reported = [{each["bucket"] for each in await data(server, tenant, path)} for tenant in TENANTS]
        assert reported == [set(), {shared, only_other}], path


async def test_command_by_label_reaches_sessions_of_the_own_tenant(server: RestServer) -> None:
    session_id = str(uuid4())
    for tenant in TENANTS:
        await create(server, tenant, count_up_body(session_id))
    body = {"command": "start", "label": ["team=red"], "command_id": "all-1"}
    answer = await server.client.post("/v1/sessions/commands", json=body, headers=of(OTHER))
    assert answer.json()["data"]["results"] == [{"session_id": session_id, "version": 2}]
    path = f"/v1/sessions/{session_id}"
    assert [(await data(server, tenant, path))["version"] for tenant in TENANTS] == [1, 2]


async def test_exclusive_start_completes_sessions_of_the_own_tenant(server: RestServer) -> None:
    first, second = str(uuid4()), str(uuid4())
    for tenant in TENANTS:
        await create(server, tenant, count_up_body(first))
        assert (await server.client.post(f"/v1/sessions/{first}/start", headers=of(tenant))).status_code == 200
    await create(server, OTHER, count_up_body(second))
    answer = await server.client.post(f"/v1/sessions/{second}/start", json={"exclusive": True}, headers=of(OTHER))
    assert answer.json()["data"]["status"] == "running", answer.text
    statuses = [(await data(server, tenant, f"/v1/sessions/{first}"))["status"] for tenant in TENANTS]
    assert statuses == ["running", "completed"]


async def test_postgres_has_the_rows_of_each_tenant(server: RestServer) -> None:
    """After the drain and the eviction, lists, events, hours and restored sessions are still those of one tenant."""
    session_id, keys = str(uuid4()), server.parts.store.keys
    for tenant in TENANTS:
        await create(server, tenant, count_up_body(session_id))
    assert (await server.client.post(f"/v1/sessions/{session_id}/start", headers=of(OTHER))).status_code == 200
    assert (await server.client.post(f"/v1/sessions/{session_id}/complete", headers=of(OTHER))).status_code == 200
    await server.drain()
    names = [session_name(tenant, session_id) for tenant in TENANTS]
    assert await server.parts.pipe.call("DEL", *map(keys.session, names), *map(keys.history, names)) == 4
    expected = {DEFAULT_TENANT: ("pending", 1), OTHER: ("completed", 3)}
    for tenant, state in expected.items():
        (row,) = await data(server, tenant, f"/v1/participants/{PERSON}/sessions")
        assert (row["session_id"], row["status"]) == (session_id, state[0])
        (listed,) = await data(server, tenant, "/v1/sessions?label=team=red")
        assert (listed["status"], listed["version"]) == state
        assert len(await data(server, tenant, f"/v1/sessions/{session_id}/events")) == state[1]
    for path in ("/v1/hours?label=team=red&bucket=session", f"/v1/participants/{PERSON}/time?bucket=session"):
        reported = [{each["bucket"] for each in await data(server, tenant, path)} for tenant in TENANTS]
        assert reported == [set(), {session_id}], path
    for tenant, state in expected.items():
        restored = await data(server, tenant, f"/v1/sessions/{session_id}")
        assert (restored["status"], restored["version"]) == state


async def test_webhooks_with_one_url_belong_to_one_tenant(server: RestServer) -> None:
    made = {
        tenant: (
            await server.client.post(
                "/v1/webhooks",
                json={"url": "https://example.org/hook"},
                headers=of(tenant, **{"idempotency-key": "hook-1"}),
            )
        ).json()["data"]
        for tenant in TENANTS
    }
    ids = {tenant: endpoint["webhook_id"] for tenant, endpoint in made.items()}
    assert len({*ids.values()}) == 2
    for tenant, webhook_id in ids.items():
        assert [each["webhook_id"] for each in await data(server, tenant, "/v1/webhooks")] == [webhook_id]
    (foreign,) = (webhook_id for tenant, webhook_id in ids.items() if tenant != OTHER)
    for webhook_id in (foreign, str(uuid4())):
        for method, status in (("GET", 404), ("DELETE", 204)):
            answer = await server.client.request(method, f"/v1/webhooks/{webhook_id}", headers=of(OTHER))
            assert answer.status_code == status
    assert (await data(server, DEFAULT_TENANT, f"/v1/webhooks/{foreign}"))["enabled"]
    await create(server, OTHER, chess_body())
    await server.drain()
    deliveries = [await data(server, tenant, f"/v1/webhooks/{ids[tenant]}/deliveries") for tenant in TENANTS]
    assert [len(each) for each in deliveries] == [0, 1]
