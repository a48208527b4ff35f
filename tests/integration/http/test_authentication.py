"""Authentication of REST requests: credentials, public paths, refused tokens, plain HTTP, and the limits of callers."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from synckairos.config import Settings
from synckairos.errors import Unauthorized
from synckairos.principal import Principal
from synckairos.revocations.credential_ends import CredentialEnds
from synckairos.telemetry import log
from synckairos.tenants.active_tenants import NOT_FENCED
from tests.integration.authentication import bearer, make_authenticator, make_token, now_ms
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.integration.tenants.fence import lower_fence
from tests.integration.tenants.tenant_nodes import open_tenant_node
from tests.tokens import claims_at, sign_with_secret

SESSIONS = "/v1/sessions"


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings, authenticator=make_authenticator(settings)) as opened:
        yield opened


def admin(**changes: Any) -> dict[str, str]:
    return bearer(make_token(role="admin", **changes))


def refusal_of(answer: httpx.Response) -> tuple[int, str, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"], answer.headers.get("www-authenticate")


INVALID = 'Bearer realm="synckairos", error="invalid_token"'


async def test_valid_token_is_accepted_and_names_the_actor(server: RestServer) -> None:
    created = await server.client.post(SESSIONS, json=chess_body(), headers=admin(sub="alice@example.org"))
    assert created.status_code == 201
    await server.drain()
    session_id = created.json()["data"]["session_id"]
    events = await server.client.get(f"{SESSIONS}/{session_id}/events", headers=admin())
    assert [each["actor"] for each in events.json()["data"]] == ["user:alice@example.org"]


async def test_missing_token_is_401_and_changes_nothing(server: RestServer) -> None:
    answer = await server.client.post(SESSIONS, json=chess_body())
    assert refusal_of(answer) == (
        401, "UNAUTHORIZED", "This request needs a token", 'Bearer realm="synckairos"'
    )  # fmt: skip
    assert (await server.client.get(SESSIONS, headers=admin())).json()["data"] == []


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Basic YWxpY2U6cGFzc3dvcmQ=", "The header Authorization is not `Bearer <token>`"),
        ("Bearer", "The header Authorization is not `Bearer <token>`"),
        ("Bearer ", "The header Authorization is not `Bearer <token>`"),
        ("Bearer a b", "The header Authorization is not `Bearer <token>`"),
        ("Bearer a.b.c", "The token is not a JSON Web Token"),
        ("Bearer " + "a" * 7_901, "The token is longer than 7,900 bytes"),
    ],
)
async def test_bad_credential_is_401_with_a_challenge(server: RestServer, header: str, message: str) -> None:
    answer = await server.client.get(SESSIONS, headers={"authorization": header})
    assert refusal_of(answer) == (401, "UNAUTHORIZED", message, INVALID)


async def test_two_different_tokens_are_401_and_equal_tokens_are_one(server: RestServer) -> None:
    first, second = make_token(role="admin"), make_token(role="admin", jti="other")
    for tokens, status in (((first, second), 401), ((first, first), 200)):
        headers = [("authorization", f"Bearer {each}") for each in tokens]
        answer = await server.client.get(SESSIONS, headers=headers)
        assert answer.status_code == status
    both = await server.client.get(SESSIONS, headers=[("authorization", f"Bearer {t}") for t in (first, second)])
    assert refusal_of(both) == (401, "UNAUTHORIZED", "The request has two different credentials", INVALID)


async def test_expired_token_is_401(server: RestServer) -> None:
    answer = await server.client.get(SESSIONS, headers=admin(exp=now_ms() // 1000 - 31))
    assert refusal_of(answer) == (401, "UNAUTHORIZED", "The token has expired", INVALID)


async def test_another_tenant_is_403_with_the_reason_while_the_database_does_not_separate_tenants(
    settings: Settings,
) -> None:
    await lower_fence(settings)
    async with open_tenant_node(settings) as tenants:
        ends = CredentialEnds(now_ms, tenants.node.channel, tenants=tenants.tenants)
        guard = make_authenticator(settings, refuse_ended=ends.require_not_revoked)
        async with open_rest_server(settings, authenticator=guard) as server:
            answer = await server.client.get(SESSIONS, headers=admin(tenant="school-b"))
            message = f"Tenant school-b does not exist: {NOT_FENCED}"
            assert refusal_of(answer) == (403, "TENANT_UNKNOWN", message, None)
            assert (await server.client.get(SESSIONS, headers=admin())).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/time", "/openapi.json", "/asyncapi.json", "/docs", "/demo"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}])
async def test_public_path_needs_no_token_and_ignores_a_bad_token(
    server: RestServer, path: str, headers: dict[str, str]
) -> None:
    assert (await server.client.get(path, headers=headers)).status_code == 200


async def test_readiness_has_no_reason(settings: Settings) -> None:
    guard = make_authenticator(settings)
    async with open_rest_server(settings, authenticator=guard, is_draining=lambda: True) as server:
        answer = await server.client.get("/ready", headers=admin())
        assert (answer.status_code, answer.json()) == (503, {"status": "not_ready"})


async def test_preflight_needs_no_token(server: RestServer) -> None:
    asked = {"origin": "http://127.0.0.1:3000", "access-control-request-method": "POST"}
    answer = await server.client.options(SESSIONS, headers=asked)
    assert (answer.status_code, "Authorization" in answer.headers["access-control-allow-headers"]) == (204, True)


@pytest.mark.parametrize("path", ["/metrics", "/v1/webhooks", "/v1/participants/x/time", "/v1/access"])
async def test_other_path_needs_a_token(server: RestServer, path: str) -> None:
    assert (await server.client.get(path)).status_code == 401


async def test_no_answer_sets_a_cookie_or_allows_credentials(server: RestServer) -> None:
    for headers in ({}, admin(), {"origin": "http://127.0.0.1:3000"} | admin()):
        answer = await server.client.get(SESSIONS, headers=headers)
        assert not {"set-cookie", "access-control-allow-credentials"} & set(answer.headers)


async def test_no_cache_may_keep_an_answer_for_another_caller(server: RestServer) -> None:
    created = await server.client.post(SESSIONS, json=chess_body(), headers=admin())
    path = f"{SESSIONS}/{created.json()['data']['session_id']}"
    expected = {
        path: "private, no-cache",
        f"{path}/events": "no-store",
        SESSIONS: "no-store",
        f"{SESSIONS}/00000000-0000-4000-8000-000000000000": "no-store",
        "/v1/access": "no-store",
        "/v1/me": "no-store",
        "/metrics": "no-store",
    }
    found = {each: (await server.client.get(each, headers=admin())).headers["cache-control"] for each in expected}
    assert found == expected
    assert created.headers["cache-control"] == "no-store"
    etag = (await server.client.get(path, headers=admin())).headers["etag"]
    stranger = bearer(make_token(role="viewer", grants=[]))
    answer = await server.client.get(path, headers=stranger | {"if-none-match": etag})
    assert answer.status_code == 404, "a kept copy is not confirmed to a caller that cannot reach the session"


async def test_refused_tokens_of_one_address_are_limited_and_accepted_tokens_pass(settings: Settings) -> None:
    settings = settings.model_copy(update={"trusted_proxies": ["127.0.0.1"]})
    async with open_rest_server(settings, authenticator=make_authenticator(settings)) as server:
        https = {"x-forwarded-proto": "https"}
        school, home = https | {"x-forwarded-for": "2001:db8::1"}, https | {"x-forwarded-for": "192.0.2.7"}
        known = make_token(role="admin")
        assert (await server.client.get(SESSIONS, headers=school | bearer(known))).status_code == 200
        answers = [await server.client.get(SESSIONS, headers=school | bearer(f"a.{n}.c")) for n in range(62)]
        assert [each.status_code for each in answers[:60]] == [401] * 60
        assert answers[61].status_code == 429
        message = answers[61].json()["error"]["message"]
        assert message.startswith(
            "Too many requests for the limit of 1 tokens that are refused a second and client, 60 at"
        )
        assert 1 <= int(answers[61].headers["retry-after"]) <= 2
        neighbour = https | {"x-forwarded-for": "2001:db8::2"}
        assert (await server.client.get(SESSIONS, headers=neighbour | admin(jti="new"))).status_code == 429
        assert (await server.client.get(SESSIONS, headers=neighbour | bearer(known))).status_code == 200
        assert (await server.client.get(SESSIONS, headers=home | admin(jti="new"))).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-forwarded-for": "192.0.2.7"}, 400),
        ({"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "http"}, 400),
        ({"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https, http"}, 400),
        ({"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "HTTPS"}, 200),
        ({"x-forwarded-for": "127.0.0.1"}, 200),
        ({"forwarded": 'for=192.0.2.7;proto="https"'}, 200),
        ({"forwarded": "for=192.0.2.7;proto=http"}, 400),
    ],
)
async def test_token_over_plain_http_of_a_proxy_is_400(
    settings: Settings, headers: dict[str, str], status: int
) -> None:
    settings = settings.model_copy(update={"trusted_proxies": ["127.0.0.1"]})
    async with open_rest_server(settings, authenticator=make_authenticator(settings)) as server:
        answer = await server.client.get(SESSIONS, headers=headers | admin())
        assert answer.status_code == status
        if status == 400:
            code, message = refusal_of(answer)[1:3]
            assert (code, "SYNCKAIROS_TRUSTED_PROXIES" in message) == ("INSECURE_TRANSPORT", True)
        assert (await server.client.get(SESSIONS, headers=headers)).status_code == 401


async def test_callers_behind_one_address_have_separate_rate_limits(settings: Settings) -> None:
    settings = settings.model_copy(update={"rate_limit_general": 60})
    async with open_rest_server(settings, authenticator=make_authenticator(settings)) as server:
        alice, bob = admin(sub="alice"), admin(sub="bob")
        statuses = [(await server.client.get(SESSIONS, headers=alice)).status_code for _ in range(70)]
        assert (statuses[0], statuses[-1]) == (200, 429)
        assert (await server.client.get(SESSIONS, headers=admin(sub="alice", jti="2"))).status_code == 429
        assert (await server.client.get(SESSIONS, headers=bob)).status_code == 200


async def test_ended_credential_is_refused_although_its_token_is_cached(settings: Settings) -> None:
    ended: set[str] = set()

    def refuse_ended(principal: Principal) -> None:
        if principal.subject in ended:
            raise Unauthorized("The token was revoked")

    authenticator = make_authenticator(settings, refuse_ended=refuse_ended)
    async with open_rest_server(settings, authenticator=authenticator) as server:
        headers = admin()
        assert (await server.client.get(SESSIONS, headers=headers)).status_code == 200
        ended.add("alice")
        answer = await server.client.get(SESSIONS, headers=headers)
        assert refusal_of(answer) == (401, "UNAUTHORIZED", "The token was revoked", INVALID)


async def test_token_is_in_no_log_line_and_in_no_metric(server: RestServer) -> None:
    stream = io.StringIO()
    log.configure_logging("debug", stream=stream)
    good = make_token(role="admin", jti="t-17")
    bad = sign_with_secret(claims_at(now_ms()), "another secret, with 32 bytes or more")
    for token in (good, bad):
        await server.client.get(f"{SESSIONS}?ticket={token}", headers=bearer(token))
    metrics = (await server.client.get("/metrics", headers=bearer(good))).text
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (accepted,) = (each for each in lines if each["event"] == "authenticated")
    assert (accepted["kind"], accepted["sub"], accepted["jti"]) == ("user", "alice", "t-17")
    for token in (good, bad):
        for part in token.split(".")[1:]:
            assert part not in stream.getvalue() + metrics


async def test_credentials_are_ignored_with_one_warning_while_authentication_is_off(settings: Settings) -> None:
    stream = io.StringIO()
    log.configure_logging("info", stream=stream)
    async with open_rest_server(settings) as server:
        for _ in range(3):
            assert (await server.client.get(SESSIONS, headers=bearer("x"))).status_code == 200
    assert stream.getvalue().count("credentials are ignored because SYNCKAIROS_AUTH is none") == 1
