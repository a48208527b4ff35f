"""Who may come in and how often: origins, rate limits, and what the server says of itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos import __version__
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.http import request, rest_app
from synckairos.http.request import LARGE_BODY_BYTES
from synckairos.wire.response_models import Health, Readiness, TimeView
from tests.integration.rest_server import HOST, RestServer, chess_body, open_rest_server

EVIL = {"origin": "http://evil.example"}
OWN = {"origin": HOST}


# -- origins ----------------------------------------------------------------------------------------------------------


async def test_foreign_pages_change_nothing(server: RestServer) -> None:
    session = await server.create()
    path = f"/v1/sessions/{session['session_id']}"
    for method, where, body in (
        ("POST", "/v1/sessions", chess_body()),
        ("POST", f"{path}/start", None),
        ("PATCH", path, {"metadata": {"a": 1}}),
        ("DELETE", path, None),
    ):
        for origin in ("http://evil.example", "null", "http://127.0.0.1:4000"):
            answer = await server.client.request(method, where, json=body, headers={"origin": origin})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
            assert "access-control-allow-origin" not in answer.headers
            assert "ratelimit-remaining" in answer.headers
    assert (await server.client.get(path)).json()["data"]["version"] == 1
    assert await server.parts.store.count_live() == 1


async def test_our_own_page_may(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/sessions", json=chess_body(), headers=OWN)
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == HOST
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]


async def test_foreign_pages_read_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/time", headers=EVIL)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"
    rebound = await client.get("/v1/time", headers={"host": "rebound.example"})
    assert (rebound.status_code, rebound.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_listed_pages_may(settings: Settings) -> None:
    listed = {"origin": "https://app.example"}
    async with open_rest_server(settings.model_copy(update={"allowed_origins": ["https://app.example"]})) as server:
        answer = await server.client.post("/v1/sessions", json=chess_body(), headers=listed)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (201, "https://app.example")
        refused = await server.client.post("/v1/sessions", json=chess_body(), headers=EVIL)
        assert refused.status_code == 403


async def test_preflights_are_answered(client: httpx.AsyncClient) -> None:
    asks = {"access-control-request-method": "PATCH", "access-control-request-headers": "content-type,if-match"}
    path = f"/v1/sessions/{uuid4()}"
    fine = await client.options(path, headers=OWN | asks)
    assert fine.status_code == 204
    assert fine.headers["access-control-allow-origin"] == HOST
    assert "PATCH" in fine.headers["access-control-allow-methods"]
    assert "If-Match" in fine.headers["access-control-allow-headers"]
    assert "ratelimit-remaining" not in fine.headers
    refused = await client.options(path, headers=EVIL | asks)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


# -- rate limits ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def limited(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(
        settings.model_copy(update={"rate_limit_general": 12, "rate_limit_switch": 3})
    ) as opened:
        yield opened


async def test_requests_of_an_address_are_counted_together(limited: RestServer) -> None:
    client, session = limited.client, await limited.create()
    path = f"/v1/sessions/{session['session_id']}"
    asked = [
        await client.get(path),
        await client.get("/v1/sessions"),
        await client.post("/v1/sessions", json={}),
        await client.get("/v1/nope"),
        await client.put(path),
        await client.get("/v1/sessions/nope"),
        await client.post("/v1/sessions", json=chess_body(), headers=EVIL),
        await client.post("/v1/simulate", json={}),
        await client.get(f"/v1/sessions/{uuid4()}"),
    ]
    assert [answer.status_code for answer in asked] == [200, 200, 400, 404, 405, 400, 403, 400, 404]
    assert [int(answer.headers["ratelimit-remaining"]) for answer in asked] == list(range(10, 1, -1))
    assert {answer.headers["ratelimit-limit"] for answer in asked} == {"12"}
    for _ in range(2):
        await client.get(path)
    for over in (
        await client.get(path),
        await client.get("/v1/nope"),
        await client.post("/v1/sessions", json={}),
        await client.delete(path),
    ):
        assert (over.status_code, over.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert int(over.headers["retry-after"]) >= 1
        assert over.json()["error"]["retry_after_seconds"] == int(over.headers["retry-after"])
        assert over.headers["ratelimit-remaining"] == "0"
        assert 0 <= int(over.headers["ratelimit-reset"]) <= 60
    for free in ("/v1/time", "/health", "/ready", "/metrics", "/openapi.json", "/docs"):
        answer = await client.get(free)
        assert answer.status_code == 200
        assert "ratelimit-remaining" not in answer.headers


async def test_switches_of_a_session_are_counted_apart(settings: Settings) -> None:
    async with open_rest_server(settings.model_copy(update={"rate_limit_switch": 3})) as server:
        session = await server.create_started()
        other = await server.create_started()
        path = f"/v1/sessions/{session['session_id']}"
        key = {"idempotency-key": "one"}
        answers = [await server.client.post(f"{path}/switch", headers=key)]
        answers += [await server.client.post(f"{path}/switch") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
        assert answers[-1].headers["retry-after"] == "1"
        replayed = await server.client.post(f"{path}/switch", headers=key)
        assert (replayed.status_code, replayed.content) == (200, answers[0].content)
        assert (await server.client.get(path)).status_code == 200
        assert (await server.client.post(f"/v1/sessions/{other['session_id']}/switch")).status_code == 200


# -- the server itself ------------------------------------------------------------------------------------------------


async def test_the_time_is_the_stores(server: RestServer) -> None:
    before = await server.parts.sessions.now_ms()
    answer = await server.client.get("/v1/time")
    view = TimeView.model_validate_json(answer.content)
    assert before <= view.timestamp_ms <= await server.parts.sessions.now_ms()
    assert answer.json() == {
        "timestamp_ms": view.timestamp_ms, "server_version": __version__, "drift_tolerance_ms": 50,
    }  # fmt: skip


async def test_health_and_readiness(server: RestServer) -> None:
    health, ready = await server.client.get("/health"), await server.client.get("/ready")
    assert (Health.model_validate_json(health.content), health.json()) == (Health(status="ok"), {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_a_draining_server_is_not_ready(settings: Settings) -> None:
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        answer = await server.client.get("/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert Readiness.model_validate_json(answer.content).reason == "draining"
        assert (await server.client.get("/health")).status_code == 200


async def test_without_postgres_it_is_degraded_and_works(settings: Settings) -> None:
    async with open_rest_server(
        settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/none"})
    ) as server:
        answer = await server.client.get("/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        session = await server.create_started()
        path = f"/v1/sessions/{session['session_id']}"
        assert (await server.client.post(f"{path}/switch")).status_code == 200
        history = await server.client.get(f"{path}/events")
        assert (history.status_code, history.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
        assert history.headers["retry-after"] == "1"


async def test_without_redis_it_says_so_in_time(settings: Settings, data_dir: Path) -> None:
    with Valkey(data_dir / uuid4().hex) as own:
        async with open_rest_server(settings.model_copy(update={"redis_url": own.url, "redis_timeout_s": 1})) as server:
            session = await server.create_started()
            path = f"/v1/sessions/{session['session_id']}"
            own.stop()
            async with asyncio.timeout(3):
                answers = await asyncio.gather(
                    server.client.get(path),
                    server.client.post(f"{path}/switch"),
                    server.client.post("/v1/sessions", json=chess_body()),
                    server.client.get("/v1/sessions"),
                    server.client.get("/v1/time"),
                )
            for answer in answers:
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
                assert answer.headers["retry-after"] == "1"
            ready = await server.client.get("/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
            # What is wrong with a request can be told without a store.
            assert (await server.client.post("/v1/sessions", json={})).status_code == 400
            assert (await server.client.get("/v1/nope")).status_code == 404
            assert (await server.client.get("/metrics")).status_code == 200


async def test_metrics_name_routes_not_sessions(server: RestServer) -> None:
    session = await server.create_started()
    for _ in range(2):
        again = await server.client.post(
            f"/v1/sessions/{session['session_id']}/start", headers={"idempotency-key": "a"}
        )
        assert again.status_code == 400
    await server.client.get("/v1/nope")
    answer = await server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    for line in (
        'synckairos_http_requests_total{method="POST",route="/v1/sessions",status_code="201"}',
        'synckairos_http_requests_total{method="POST",route="/v1/sessions/:id/start",status_code="200"}',
        'synckairos_http_requests_total{method="GET",route="unmatched",status_code="404"}',
        'synckairos_commands_total{command="create",outcome="applied"}',
        'synckairos_commands_total{command="start",outcome="applied"}',
        'synckairos_commands_total{command="start",outcome="refused"}',
        'synckairos_commands_total{command="start",outcome="replayed"}',
        "synckairos_command_duration_seconds_count",
        "synckairos_active_sessions 1.0",
        "synckairos_websocket_connections",
    ):
        assert line in text
    assert session["session_id"] not in text


async def test_the_pages_need_nobody_else(client: httpx.AsyncClient) -> None:
    bare = await client.get("/")
    assert (bare.status_code, bare.headers["location"]) == (307, "/docs")
    page = await client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("docs.js", "docs.css"):
        assert f"/docs/{name}" in page.text
    for name in ("docs.js", "schema.js", "sockets.js", "docs.css"):
        assert (await client.get(f"/docs/{name}")).status_code == 200
    assert "https://" not in page.text
    demo = await client.get("/demo")
    assert (demo.status_code, demo.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await client.get("/demo/")).content == demo.content
    assert demo.headers["x-content-type-options"] == "nosniff"


async def test_large_bodies_are_counted_before_they_are_looked_at(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rest_server(settings.model_copy(update={"rate_limit_general": 4})) as server:
        headers = {"content-type": "application/json"}
        large = orjson.dumps(chess_body(metadata={"a": "x"})) + b" " * LARGE_BODY_BYTES
        fine = await server.client.post("/v1/sessions", content=large, headers=headers)
        assert (fine.status_code, fine.headers["ratelimit-remaining"]) == (201, "3")
        for left in (2, 1, 0):
            bad = await server.client.post("/v1/sessions", content=b"[" + large, headers=headers)
            assert (bad.status_code, bad.headers["ratelimit-remaining"]) == (400, str(left))
        monkeypatch.setattr(request, "decode_json", None)
        over = await server.client.post("/v1/sessions", content=large, headers=headers)
        assert (over.status_code, over.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")


def test_every_method_counted_is_a_known_one() -> None:
    assert "BREW" not in rest_app.KNOWN_METHODS
