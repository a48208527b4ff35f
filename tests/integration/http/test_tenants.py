"""REST routes of tenants, and the keys of operators that open them."""

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from synckairos.access_log.recorder import AccessRecorder
from synckairos.access_log.table import AccessTable
from synckairos.config import Settings
from synckairos.http.allowed_origins import AllowedOrigins
from synckairos.identity.secret_text import make_secret_text
from synckairos.limits import processor_time
from synckairos.limits.tenant_limits import DEFAULT_LIMITS
from synckairos.limits.work_limits import BYTES, FREE_BYTES, TENANT_BYTES
from synckairos.postgres.pool import PostgresPool
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.stored_credentials.verifier import REFUSED
from tests.integration.authentication import bearer, make_authenticator, make_token, now_ms
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.integration.tenants.tenant_nodes import TenantNode, open_tenant_node
from tests.principals import make_principal

pytestmark = pytest.mark.serving_login

PATH = "/v1/tenants"


@pytest.fixture
async def tenants(settings: Settings) -> AsyncIterator[TenantNode]:
    async with open_tenant_node(settings) as opened:
        yield opened


@pytest.fixture
async def server(settings: Settings, tenants: TenantNode) -> AsyncIterator[RestServer]:
    ends = CredentialEnds(now_ms, tenants.node.channel, tenants=tenants.tenants)
    authenticator = make_authenticator(
        settings, stored_credentials=tenants.verifier, refuse_ended=ends.require_not_revoked
    )
    async with open_rest_server(
        settings,
        authenticator=authenticator,
        tenants=tenants.tenants,
        operator_networks=tenants.networks,
    ) as opened:
        opened.client.headers.update(bearer(await tenants.make_operator_key("tests", None)))
        yield opened


@pytest.fixture
def client(server: RestServer) -> httpx.AsyncClient:
    return server.client


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def admin_of(tenant: str) -> dict[str, str]:
    return bearer(make_token(role="admin", tenant=tenant))


async def create(client: httpx.AsyncClient, tenant: str = "acme", **body: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"tenant": tenant, **body})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{PATH}/{tenant}"
    found: dict[str, Any] = answer.json()["data"]
    return found


async def test_tenant_is_created_listed_read_and_changed(client: httpx.AsyncClient) -> None:
    made = await create(client, limits={"sockets": 5}, origins=["https://a.example", "https://a.example"])
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made[name])
    assert made["created_by"].startswith("key:")
    assert made["limits"]["sockets"] == 5
    assert made["limits"]["presses_per_s"] == DEFAULT_LIMITS.presses_per_s
    assert (made["origins"], made["status"], made["description"]) == (["https://a.example"], "active", "")
    assert (await client.get(f"{PATH}/acme")).json()["data"] == made
    body = {"description": "x", "limits": {"sockets": None}}
    changed = (await client.patch(f"{PATH}/acme", json=body)).json()["data"]
    assert (changed["description"], changed["limits"]["sockets"]) == ("x", DEFAULT_LIMITS.sockets)
    assert changed["origins"] == ["https://a.example"]
    changed = (await client.patch(f"{PATH}/acme", json={"origins": None})).json()["data"]
    assert (changed["description"], changed["origins"]) == ("x", None)
    for name in ("b", "c"):
        await create(client, name)
    first = (await client.get(f"{PATH}?limit=2")).json()
    second = (await client.get(f"{PATH}?limit=2&cursor={first['next_cursor']}")).json()
    assert [each["tenant"] for each in (*first["data"], *second["data"])] == ["c", "b", "acme"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("method", "path", "body", "fault"),
    [
        ("POST", PATH, {"tenant": "Acme"}, "tenant"),
        ("POST", PATH, {"tenant": "a/b"}, "tenant"),
        ("POST", PATH, {"tenant": "a\n"}, "tenant"),
        ("POST", PATH, {"tenant": "a" * 64}, "tenant"),
        ("POST", PATH, {"tenant": "a", "limits": {"sockets": -1}}, "limits.sockets"),
        ("POST", PATH, {"tenant": "a", "limits": {"live_sessions": 1.5}}, "limits.live_sessions"),
        ("POST", PATH, {"tenant": "a", "limits": {"unknown": 1}}, "limits.unknown"),
        ("POST", PATH, {"tenant": "a", "origins": ["https://a.example/path"]}, "origins[0]"),
        ("POST", PATH, {"tenant": "a", "limits": {"outbox_share": 101}}, "limits.outbox_share"),
        ("POST", PATH, {"tenant": "default", "limits": {"outbox_share": 50}}, "limits.outbox_share"),
        ("PATCH", f"{PATH}/default", {"limits": {"outbox_share": 50}}, "limits.outbox_share"),
        ("PATCH", f"{PATH}/a", {"origins": ["x"]}, "origins[0]"),
        ("PATCH", f"{PATH}/A", {}, "tenant"),
        ("GET", f"{PATH}/-", None, "tenant"),
    ],
    ids=lambda value: value.replace("\n", "newline") if isinstance(value, str) else "",
)
async def test_wrong_name_limit_or_origin_is_400(
    client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None, fault: str
) -> None:
    answer = await client.request(method, path, json=body)
    assert code_of(answer) == (400, "VALIDATION_ERROR")
    assert [each["path"] for each in answer.json()["error"]["details"]] == [fault]


async def test_unknown_tenant_is_404_and_a_known_name_is_409(client: httpx.AsyncClient) -> None:
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/suspend"), ("POST", "/activate"), ("DELETE", "")):
        body: dict[str, Any] | None = None if method in ("GET", "DELETE") else {}
        assert code_of(await client.request(method, f"{PATH}/nobody{path}", json=body)) == (404, "NOT_FOUND")
    await create(client)
    assert code_of(await client.post(PATH, json={"tenant": "acme"})) == (409, "TENANT_EXISTS")


async def test_repeated_creation_is_answered_byte_for_byte(client: httpx.AsyncClient) -> None:
    key = {"idempotency-key": "r1"}
    answers = [await client.post(PATH, json={"tenant": "acme"}, headers=key) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert [each.headers.get("idempotency-replayed") for each in answers] == [None, "true"]
    assert code_of(await client.post(PATH, json={"tenant": "b"}, headers=key)) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_credentials_of_a_suspended_tenant_are_403_until_it_is_active(client: httpx.AsyncClient) -> None:
    await create(client)
    caller = admin_of("acme")
    assert (await client.get("/v1/me", headers=caller)).json()["data"]["tenant"] == "acme"
    suspended = await client.post(f"{PATH}/acme/suspend")
    assert (suspended.status_code, suspended.json()["data"]["status"]) == (200, "suspended")
    refused = await client.get("/v1/me", headers=caller)
    assert code_of(refused) == (403, "TENANT_SUSPENDED")
    assert refused.json()["error"]["message"] == "Tenant acme is suspended"
    assert (await client.get("/v1/me", headers=admin_of("default"))).status_code == 200
    active = await client.post(f"{PATH}/acme/activate")
    assert (active.status_code, active.json()["data"]["status"]) == (200, "active")
    assert (await client.get("/v1/me", headers=caller)).status_code == 200


async def test_credentials_of_a_deleted_tenant_are_403_and_its_name_stays_refused(client: httpx.AsyncClient) -> None:
    await create(client)
    caller = admin_of("acme")
    assert (await client.get("/v1/me", headers=caller)).status_code == 200
    for _ in range(2):
        answer = await client.delete(f"{PATH}/acme")
        assert (answer.status_code, answer.json()["data"]["status"]) == (202, "deleting")
    assert code_of(await client.get("/v1/me", headers=caller)) == (403, "TENANT_SUSPENDED")
    assert code_of(await client.post(PATH, json={"tenant": "acme"})) == (409, "TENANT_EXISTS")
    for path in ("/suspend", "/activate"):
        assert code_of(await client.post(f"{PATH}/acme{path}")) == (409, "TENANT_DELETED")
    assert code_of(await client.patch(f"{PATH}/acme", json={"description": "x"})) == (409, "TENANT_DELETED")
    assert (await client.get(f"{PATH}/acme")).json()["data"]["status"] == "deleting"


async def test_default_tenant_cannot_be_deleted(client: httpx.AsyncClient) -> None:
    refused = await client.delete(f"{PATH}/default")
    assert code_of(refused) == (403, "FORBIDDEN")
    assert refused.json()["error"]["message"] == "The default tenant cannot be suspended or deleted"


async def test_default_tenant_cannot_be_suspended(client: httpx.AsyncClient) -> None:
    await create(client, "default", limits={"sockets": 100})
    refused = await client.post(f"{PATH}/default/suspend")
    assert code_of(refused) == (403, "FORBIDDEN")
    assert refused.json()["error"]["message"] == "The default tenant cannot be suspended or deleted"


@pytest.mark.parametrize("path", [PATH, f"{PATH}/acme"])
async def test_token_of_an_admin_opens_no_operation_on_tenants(client: httpx.AsyncClient, path: str) -> None:
    for tenant in ("default", "acme"):
        refused = await client.get(path, headers=admin_of(tenant))
        assert code_of(refused) == (403, "FORBIDDEN")
        assert "requires the key of an operator" in refused.json()["error"]["message"]
    del client.headers["authorization"]
    assert code_of(await client.get(path)) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/sessions"),
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions/5f0c954b-8d0a-4f4e-b1a5-7f7d3a0f0d11"),
        ("POST", "/v1/tickets"),
        ("GET", "/v1/me"),
        ("GET", "/v1/access"),
        ("POST", "/v1/simulate"),
    ],
)
async def test_key_of_an_operator_opens_nothing_of_a_tenant(client: httpx.AsyncClient, method: str, path: str) -> None:
    body = None if method == "GET" else chess_body() if path == "/v1/sessions" else {}
    answer = await client.request(method, path, json=body)
    assert code_of(answer) == (403, "FORBIDDEN")
    assert "An operator has no rights in tenants" in answer.json()["error"]["message"]


async def test_key_of_an_operator_opens_the_metrics_and_its_answers_are_not_stored(client: httpx.AsyncClient) -> None:
    assert (await client.get("/metrics")).status_code == 200
    assert (await client.get(PATH)).headers["cache-control"] == "no-store"


async def test_revoked_expired_unknown_and_malformed_keys_are_401(
    client: httpx.AsyncClient, tenants: TenantNode
) -> None:
    revoked, expired = await tenants.make_operator_key("", None), await tenants.make_operator_key("", 0)
    assert (await client.get(PATH, headers=bearer(revoked))).status_code == 200
    assert await tenants.operator_keys.revoke(revoked.split("_")[1], now_ms())
    assert not await tenants.operator_keys.revoke("000000000000", now_ms())
    for key in (revoked, expired, make_secret_text().text, revoked[:-1], "synckairos_x"):
        answer = await client.get(PATH, headers=bearer(key))
        assert code_of(answer) == (401, "UNAUTHORIZED")
        assert answer.json()["error"]["message"] == REFUSED
    assert len(await tenants.operator_keys.list(now_ms())) == 1


async def test_keys_of_operators_are_accepted_only_from_their_networks(settings: Settings) -> None:
    for networks, status in ((["10.0.0.0/8"], 403), (["10.0.0.0/8", "127.0.0.1"], 200)):
        confined = settings.model_copy(update={"operator_networks": networks})
        async with (
            open_tenant_node(confined) as tenants,
            open_rest_server(
                confined,
                authenticator=make_authenticator(confined, stored_credentials=tenants.verifier),
                tenants=tenants.tenants,
                operator_networks=tenants.networks,
            ) as server,
        ):
            key = await tenants.make_operator_key("", None)
            answer = await server.client.get(PATH, headers=bearer(key))
            assert answer.status_code == status
            if status == 403:
                assert "SYNCKAIROS_OPERATOR_NETWORKS" in answer.json()["error"]["message"]


async def test_without_authentication_the_operations_answer_403_and_name_the_setting(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        for method, path, body in (
            ("GET", PATH, None),
            ("POST", PATH, {"tenant": "acme"}),
            ("GET", f"{PATH}/acme", None),
            ("PATCH", f"{PATH}/acme", {}),
            ("POST", f"{PATH}/acme/suspend", {}),
            ("POST", f"{PATH}/acme/activate", {}),
            ("DELETE", f"{PATH}/acme", None),
        ):
            answer = await server.client.request(method, path, json=body)
            assert code_of(answer) == (403, "FORBIDDEN")
            assert "SYNCKAIROS_AUTH=required" in answer.json()["error"]["message"]


async def test_acts_of_operators_are_in_the_access_log(settings: Settings, tenants: TenantNode) -> None:
    async with PostgresPool(settings.database_url, "test", max_connections=2) as pool:
        recorder = AccessRecorder(AccessTable(pool), now_ms)
        async with open_rest_server(
            settings,
            authenticator=make_authenticator(settings, stored_credentials=tenants.verifier),
            tenants=tenants.tenants,
            operator_networks=tenants.networks,
            access_recorder=recorder,
        ) as server:
            key = bearer(await tenants.make_operator_key("", None))
            await server.client.post(PATH, json={"tenant": "acme"}, headers=key)
            await server.client.post(f"{PATH}/acme/suspend", headers=key)
            await recorder.flush()
            acts = (await server.client.get("/v1/access?entry=act", headers=admin_of("default"))).json()["data"]
    assert [(each["action"], each["target"], each["role"], each["kind"]) for each in acts] == [
        ("POST /v1/tenants/:tenant/suspend", "acme", "operator", "key"),
        ("POST /v1/tenants", "acme", "operator", "key"),
    ]


async def test_requests_and_simulations_over_the_limit_of_their_tenant_are_429(
    settings: Settings, server: RestServer, tenants: TenantNode
) -> None:
    server.parts.work.tenants.use_limits(tenants.tenants.limits_of)
    await create(server.client, limits={"requests_per_min": 3, "simulations_per_min": 1})
    caller, simulation = admin_of("acme"), {"session": chess_body(session_id=None), "commands": [], "until_ms": 1}
    answers = [await server.client.post("/v1/simulate", json=simulation, headers=caller) for _ in range(2)]
    assert answers[0].status_code == 200
    assert code_of(answers[1]) == (429, "RATE_LIMIT_EXCEEDED")
    assert "1 simulations in a minute of the tenant" in answers[1].json()["error"]["message"]
    answers = [await server.client.get("/v1/me", headers=caller) for _ in range(2)]
    assert answers[0].status_code == 200
    assert code_of(answers[1]) == (429, "RATE_LIMIT_EXCEEDED")
    assert answers[1].json()["error"]["details"]["setting"] == "requests_per_min"
    assert (await server.client.get("/v1/time", headers=caller)).status_code == 200
    assert (await server.client.get("/v1/me", headers=admin_of("default"))).status_code == 200
    await server.client.patch(f"{PATH}/acme", json={"limits": {"requests_per_min": 100}})
    assert (await server.client.get("/v1/me", headers=caller)).status_code == 200


async def test_creations_over_the_limit_of_live_sessions_are_429_until_a_session_ends(
    server: RestServer, tenants: TenantNode
) -> None:
    server.parts.work.tenants.use_limits(tenants.tenants.limits_of)
    await create(server.client, limits={"live_sessions": 1})
    caller = admin_of("acme")

    async def create_session() -> httpx.Response:
        return await server.client.post("/v1/sessions", json=chess_body(), headers=caller)

    first = await create_session()
    assert first.status_code == 201
    assert code_of(await create_session()) == (429, "RATE_LIMIT_EXCEEDED")
    others = await server.client.post("/v1/sessions", json=chess_body(), headers=admin_of("default"))
    assert others.status_code == 201
    cancelled = await server.client.post(f"{first.headers['location']}/cancel", headers=caller)
    assert cancelled.status_code == 200
    assert (await create_session()).status_code == 201


async def test_metrics_of_several_tenants_need_the_metrics_token_or_an_operator(client: httpx.AsyncClient) -> None:
    admin = admin_of("default")
    assert (await client.get("/metrics", headers=admin)).status_code == 200
    assert (await client.get("/v1/me", headers=admin_of("acme"))).status_code == 200
    for caller in (admin, admin_of("acme")):
        refused = await client.get("/metrics", headers=caller)
        assert code_of(refused) == (403, "FORBIDDEN")
        assert "SYNCKAIROS_METRICS_TOKEN" in refused.json()["error"]["message"]
    assert (await client.get("/metrics")).status_code == 200


async def test_page_of_another_tenant_is_refused_and_pages_of_the_own_tenant_are_allowed(
    settings: Settings, tenants: TenantNode
) -> None:
    ends = CredentialEnds(now_ms, tenants.node.channel, tenants=tenants.tenants)
    origins = AllowedOrigins(["https://common.example"])
    origins.use_tenants(tenants.tenants)
    async with open_rest_server(
        settings,
        authenticator=make_authenticator(settings, refuse_ended=ends.require_not_revoked),
        tenants=tenants.tenants,
        origins=origins,
    ) as server:
        await tenants.add("acme", origins=("https://acme.example",))

        async def ask(tenant: str, origin: str) -> tuple[int, str | None]:
            answer = await server.client.get("/v1/me", headers=admin_of(tenant) | {"origin": origin})
            return answer.status_code, answer.headers.get("access-control-allow-origin")

        assert await ask("acme", "https://acme.example") == (200, "https://acme.example")
        assert await ask("acme", "https://common.example") == (403, "https://common.example")
        assert await ask("default", "https://common.example") == (200, "https://common.example")
        assert await ask("default", "https://acme.example") == (403, "https://acme.example")
        assert await ask("acme", "http://127.0.0.1:3000") == (200, "http://127.0.0.1:3000")
        assert await ask("other", "https://common.example") == (200, "https://common.example")
        assert await ask("acme", "https://nobody.example") == (200, None)
        preflight = {"origin": "https://acme.example", "access-control-request-method": "POST"}
        assert (await server.client.options("/v1/sessions", headers=preflight)).status_code == 204
        await tenants.set_status("acme", "suspended")
        assert (await server.client.options("/v1/sessions", headers=preflight)).status_code == 403


async def test_large_bodies_of_a_tenant_above_its_budget_are_refused_beside_another_tenant(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor_time, "ACTIVE_S", 60)
    with_limits = settings.model_copy(update={"client_work_factor": 1})
    async with open_rest_server(with_limits, caller_identity=NamedCallers()) as server:
        work, now_s = server.parts.work, time.monotonic()
        monkeypatch.setattr(work, "_clock", lambda: now_s)  # the budget of a tenant is full again after a millisecond
        for tenant in ("default", "acme"):
            work.processor_time.note_activity(make_principal("admin", tenant=tenant).limited_client_id)
        for number in range(TENANT_BYTES.burst // BYTES.burst):
            pupil = make_principal("admin", f"pupil-{number}", tenant="acme").limited_client_id
            work.charge(pupil, BYTES, BYTES.burst)
        body = chess_body(metadata={"note": "x" * FREE_BYTES * 10})
        for tenant, status in (("acme", 429), ("default", 201)):
            answer = await server.client.post("/v1/sessions", json=body, headers=as_caller("late", tenant=tenant))
            assert answer.status_code == status
            if status == 429:
                assert TENANT_BYTES.name in answer.json()["error"]["message"]
