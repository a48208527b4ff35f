"""The other routes of v2, headers and rate limits."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from synckairos.config import Settings
from tests.integration.rest_server import open_rest_server
from tests.integration.v2.v2_client import V2Client
from tests.integration.v2.v2_schemas import check_error

MIN = 60_000


async def test_health_and_readiness_have_the_form_of_v2(client: httpx.AsyncClient) -> None:
    health, ready = await client.get("/health"), await client.get("/ready")
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    for answer in (health, ready):
        assert "ratelimit-limit" not in answer.headers


async def test_time_has_the_form_of_v2_and_never_goes_back(client: httpx.AsyncClient) -> None:
    answers = [(await client.get("/v1/time")).json() for _ in range(5)]
    for answer in answers:
        assert isinstance(answer["timestamp_ms"], int)
        assert isinstance(answer["server_version"], str)
        assert answer["drift_tolerance_ms"] == 50
    times = [answer["timestamp_ms"] for answer in answers]
    assert times == sorted(times)


async def test_metrics_are_text_of_prometheus(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert "text/plain" in answer.headers["content-type"]
    for text in ("# HELP", "# TYPE", "synckairos_http_requests_total", "synckairos_websocket_connections"):
        assert text in answer.text


@pytest.mark.parametrize("path", ["/api-docs", "/api-docs/"])
async def test_page_of_the_description_is_at_the_address_of_v2(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]
    assert answer.content == (await client.get("/docs/api")).content


async def test_description_is_at_the_address_of_v2(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api-docs.json")
    assert answer.status_code == 200
    assert "application/json" in answer.headers["content-type"]
    paths = answer.json()["paths"]
    assert "/v1/sessions/{session_id}/switch" in paths
    assert "/api-docs" not in paths
    assert answer.content == (await client.get("/openapi.json")).content


async def test_answers_have_the_rate_limit_headers_of_v2(client: httpx.AsyncClient) -> None:
    v2 = V2Client(client)
    session = await v2.create(MIN, MIN)
    await v2.command(session, "start")
    path = f"/v1/sessions/{session['session_id']}/switch"
    for answer in (await client.post(path), await client.get(path.removesuffix("/switch"))):
        for name in ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"):
            assert int(answer.headers[name]) >= 0


@pytest.fixture
async def limited(settings: Settings) -> AsyncIterator[V2Client]:
    """A client of a server with v2's limit for switches, ten a second, and a low general limit."""
    limits = {"rate_limit_switch": 10, "rate_limit_general": 60}
    async with open_rest_server(settings.model_copy(update=limits)) as server:
        yield V2Client(server.client)


async def test_too_many_switches_of_a_session_are_refused_as_in_v2(limited: V2Client) -> None:
    session, other = await limited.create(MIN, MIN), await limited.create(MIN, MIN)
    for each in (session, other):
        await limited.command(each, "start")
    path = f"/v1/sessions/{session['session_id']}/switch"
    answers = await asyncio.gather(*(limited.http.post(path) for _ in range(25)))
    refused = [answer for answer in answers if answer.status_code == 429]
    # A second can end in between, so up to two windows of ten requests are counted.
    assert 5 <= len(refused) <= 15
    assert len(refused) + sum(answer.status_code == 200 for answer in answers) == 25
    for answer in refused:
        error = check_error(answer.json())
        assert error["code"] == "RATE_LIMIT_EXCEEDED"
        assert error["retry_after_seconds"] == 1
        assert int(answer.headers["retry-after"]) == 1
        assert "ratelimit-limit" in answer.headers
    await limited.command(other, "switch")


async def test_too_many_requests_of_an_address_are_refused_as_in_v2(limited: V2Client) -> None:
    session = await limited.create(MIN)
    answers = [await limited.http.get(f"/v1/sessions/{session['session_id']}") for _ in range(70)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    error = check_error(refused[0].json())
    assert (error["code"], 1 <= error["retry_after_seconds"] <= 60) == ("RATE_LIMIT_EXCEEDED", True)
    for free in ("/health", "/ready", "/metrics", "/api-docs", "/api-docs.json"):
        assert (await limited.http.get(free)).status_code == 200
