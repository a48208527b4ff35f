"""The metrics token: what it opens with and without authentication, and what it does not open."""

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from synckairos.config import Settings
from tests.integration.authentication import bearer, make_authenticator, make_token
from tests.integration.rest_server import RestServer, open_rest_server

TOKEN = "scrape-0123456789-0123456789-0123456789"
LAST_CHARACTER_DIFFERS = TOKEN[:-1] + "8"


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.model_copy(update={"metrics_token": SecretStr(TOKEN), "trusted_proxies": ["127.0.0.1"]})


@pytest.fixture
async def server(guarded: Settings) -> AsyncIterator[RestServer]:
    """Return a server with authentication and a metrics token. It is not ready, because it drains."""
    async with open_rest_server(guarded, authenticator=make_authenticator(guarded), is_draining=lambda: True) as opened:
        yield opened


@pytest.fixture
async def open_server(guarded: Settings) -> AsyncIterator[RestServer]:
    """Return a server with a metrics token and without authentication."""
    async with open_rest_server(guarded) as opened:
        yield opened


async def statuses(client: httpx.AsyncClient, path: str, *headers: dict[str, str]) -> list[int]:
    return [(await client.get(path, headers=each)).status_code for each in headers]


async def test_metrics_accept_the_metrics_token_and_tokens_of_admins(server: RestServer) -> None:
    admin, viewer = (bearer(make_token(role=role)) for role in ("admin", "viewer"))
    sent: tuple[dict[str, str], ...] = (
        {},
        bearer(TOKEN),
        bearer(LAST_CHARACTER_DIFFERS),
        bearer(TOKEN + "="),
        admin,
        viewer,
    )
    assert await statuses(server.client, "/metrics", *sent) == [401, 200, 401, 401, 200, 403]
    answer = await server.client.get("/metrics", headers=bearer(TOKEN))
    assert "synckairos_http_requests_total" in answer.text
    assert TOKEN not in answer.text
    basic = {"authorization": f"Basic {TOKEN}"}
    both = [("authorization", f"Bearer {TOKEN}"), ("authorization", admin["authorization"])]
    assert (await server.client.get("/metrics", headers=basic)).status_code == 401
    assert (await server.client.get("/metrics", headers=both)).status_code == 401


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/webhooks", "/v1/access", "/v1/participants/x/time"])
async def test_metrics_token_opens_no_other_operation(server: RestServer, path: str) -> None:
    assert await statuses(server.client, path, bearer(TOKEN)) == [401]


async def test_only_the_metrics_token_shows_the_reason_of_readiness(server: RestServer) -> None:
    reason = {"status": "not_ready", "reason": "draining", "error": "draining"}
    for headers, expected in (
        ({}, {"status": "not_ready"}),
        (bearer(make_token(role="admin")), {"status": "not_ready"}),
        (bearer(LAST_CHARACTER_DIFFERS), {"status": "not_ready"}),
        (bearer(TOKEN), reason),
    ):
        answer = await server.client.get("/ready", headers=headers)
        assert (answer.status_code, answer.json()) == (503, expected)


async def test_metrics_token_over_plain_http_from_another_machine_is_refused(server: RestServer) -> None:
    far = bearer(TOKEN) | {"x-forwarded-for": "192.0.2.7"}
    answer = await server.client.get("/metrics", headers=far)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INSECURE_TRANSPORT")
    assert await statuses(server.client, "/metrics", far | {"x-forwarded-proto": "https"}) == [200]


async def test_without_authentication_only_the_metrics_need_the_metrics_token(open_server: RestServer) -> None:
    client = open_server.client
    assert await statuses(client, "/metrics", {}, bearer(TOKEN), bearer(make_token(role="admin"))) == [401, 200, 401]
    answer = await client.get("/metrics")
    assert answer.json()["error"]["message"] == "/metrics needs the token of SYNCKAIROS_METRICS_TOKEN"
    assert answer.headers["www-authenticate"] == 'Bearer realm="synckairos"'
    assert await statuses(client, "/v1/sessions", {}, bearer(TOKEN)) == [200, 200]
    assert await statuses(client, "/ready", {}) == [200]
