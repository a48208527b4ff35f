"""Routes that concern the instance: time, health, readiness, metrics and web pages."""

import asyncio
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg

from synckairos import __version__
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.http.readiness import NEWER_STORE, POSTGRES_REASONS
from synckairos.wire.response_models import Health, Readiness, TimeView
from tests.databases import add_later_migration
from tests.integration.rest_server import RestServer, chess_body, open_rest_server
from tests.waiting import eventually


async def test_time_is_the_time_of_redis(server: RestServer) -> None:
    before = await server.parts.sessions.now_ms()
    answer = await server.client.get("/v1/time")
    view = TimeView.model_validate_json(answer.content)
    assert before <= view.timestamp_ms <= await server.parts.sessions.now_ms()
    assert answer.json() == {
        "timestamp_ms": view.timestamp_ms, "server_version": __version__, "drift_tolerance_ms": 50,
    }  # fmt: skip


async def test_server_with_both_stores_is_healthy_and_ready(server: RestServer) -> None:
    health, ready = await server.client.get("/health"), await server.client.get("/ready")
    assert (Health.model_validate_json(health.content), health.json()) == (Health(status="ok"), {"status": "ok"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


async def test_draining_server_is_healthy_but_not_ready(settings: Settings) -> None:
    async with open_rest_server(settings, is_draining=lambda: True) as server:
        answer = await server.client.get("/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert Readiness.model_validate_json(answer.content).reason == "draining"
        assert (await server.client.get("/health")).status_code == 200


async def test_server_without_postgres_is_degraded_and_executes_commands(settings: Settings) -> None:
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


async def test_server_says_which_store_does_not_fit_its_release(settings: Settings) -> None:
    async def reason_after(change: str) -> tuple[int, str, str]:
        with psycopg.connect(settings.database_url) as database:
            database.execute(change.encode())
        # A new server, because the state of the stores is cached for a second.
        async with open_rest_server(settings) as server:
            answer = await server.client.get("/ready")
            return answer.status_code, answer.json()["status"], answer.json().get("reason", "")

    assert await reason_after("SELECT") == (200, "ready", "")
    add_later_migration(settings.database_url)
    assert await reason_after("SELECT") == (200, "degraded", POSTGRES_REASONS["newer"])
    newest = "SELECT max(number) FROM sync_migrations"
    older = f"DELETE FROM sync_migrations WHERE number >= 9999; DELETE FROM sync_migrations WHERE number = ({newest})"
    assert await reason_after(older) == (200, "degraded", POSTGRES_REASONS["older"])
    assert await reason_after("DROP TABLE sync_migrations") == (200, "degraded", POSTGRES_REASONS["older"])
    async with open_rest_server(settings) as server:
        await server.parts.pipe.call("HSET", server.parts.store.keys.fixed_settings, "format", 3)
        answer = await server.client.get("/ready")
        assert (answer.status_code, answer.json()["reason"]) == (503, NEWER_STORE)


async def test_server_without_redis_is_not_ready_and_refuses_requests_in_time(
    settings: Settings, data_dir: Path
) -> None:
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
            # The server finds faults of a request without a store.
            assert (await server.client.post("/v1/sessions", json={})).status_code == 400
            assert (await server.client.get("/v1/nope")).status_code == 404
            assert (await server.client.get("/metrics")).status_code == 200


async def test_full_memory_refuses_commands_and_keeps_reads_time_and_the_drain(
    settings: Settings, data_dir: Path
) -> None:
    with Valkey(data_dir / uuid4().hex) as own:
        own_settings = settings.model_copy(update={"redis_url": own.url, "rate_limit_general": 1_000})
        async with open_rest_server(own_settings) as server:
            players = [{"participant_id": str(uuid4()), "total_time_ms": 1_000} for _ in range(2)]
            session = await server.create_started()
            timed = await server.create_started(participants=players, total_time_ms=2_000)
            path = f"/v1/sessions/{session['session_id']}"
            await server.parts.pipe.call("CONFIG", "SET", "maxmemory", "1")
            assert (await server.client.get(path)).status_code == 200
            assert (await server.client.get("/v1/sessions")).status_code == 200
            assert (await server.client.get(f"{path}/events")).status_code == 200
            person = session["participants"][0]["participant_id"]
            assert (await server.client.get(f"/v1/participants/{person}/sessions")).status_code == 200
            refused = await server.client.post(f"{path}/switch")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
            # The refusal of this command would need an idempotency record.
            refused = await server.client.post(f"{path}/start", headers={"idempotency-key": "a"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")

            async def has_expired() -> bool:
                answer = await server.client.get(f"/v1/sessions/{timed['session_id']}")
                return bool(answer.raise_for_status().json()["data"]["status"] == "expired")

            await eventually(has_expired)
            await server.drain()
            assert await server.parts.pipe.call("XLEN", server.parts.store.keys.outbox(0)) == 0
        # A new server, because the state of the stores is cached for a second.
        async with open_rest_server(own_settings) as server:
            ready = await server.client.get("/ready")
            assert (ready.status_code, ready.json()["reason"]) == (200, "redis accepts no writes")
        async with open_rest_server(own_settings) as server:
            await server.parts.pipe.call("CONFIG", "SET", "maxmemory", "0")
            assert (await server.client.get("/ready")).json() == {"status": "ready"}
            assert (await server.client.post(f"{path}/switch")).status_code == 200


async def test_metrics_have_labels_of_routes_and_no_session_ids(server: RestServer) -> None:
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


async def test_web_pages_need_no_other_host(client: httpx.AsyncClient) -> None:
    home = await client.get("/")
    assert (home.status_code, home.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in home.headers["content-security-policy"]
    page = await client.get("/docs/api")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("docs.js", "docs.css", "site.js", "site.css"):
        assert f"/docs/{name}" in page.text
    assert "https://" not in page.text
    demo = await client.get("/demo")
    assert (demo.status_code, demo.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (await client.get("/demo/")).content == demo.content
    assert demo.headers["x-content-type-options"] == "nosniff"
    for path in ("/docs", "/demo", "/demo/page.css"):
        headers = (await client.get(path)).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"], path
        assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-cache"), path


async def test_pages_can_be_shown_in_frames_of_the_configured_origins(settings: Settings) -> None:
    origins = ["https://school.example", "https://club.example:8443"]
    async with open_rest_server(settings.model_copy(update={"frame_ancestors": origins})) as server:
        for path in ("/docs", "/docs/docs.js", "/demo", "/demo/page.css"):
            policy = (await server.client.get(path)).headers["content-security-policy"]
            assert policy.endswith("frame-ancestors https://school.example https://club.example:8443"), path
