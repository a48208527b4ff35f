"""The small HTTP server of a worker: what it answers, what the metrics token protects, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from synckairos.config import BadSettings, Settings
from synckairos.errors import PortTaken
from synckairos.process import metrics_endpoint
from synckairos.process.metrics_endpoint import MAX_CONNECTIONS, MAX_REQUEST_BYTES, open_metrics_endpoint
from tests.ports import free_port

TOKEN = "scrape-0123456789-0123456789-0123456789"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def client(settings: Settings, port: int) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an endpoint without a token."""
    async with (
        open_metrics_endpoint(settings.model_copy(update={"metrics_port": port})),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as opened,
    ):
        yield opened


async def send_raw(port: int, request: bytes) -> bytes:
    """Send bytes, and return the whole answer, empty if the connection was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_metrics_are_those_of_a_worker(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE synckairos_audit_batch_duration_seconds histogram" in answer.text
    assert "synckairos_http_requests_total" not in answer.text


async def test_other_paths_and_methods_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json() == {"status": "ok"}
    assert (await client.get("/v1/sessions")).status_code == 404
    answer = await client.post("/metrics", content=b"x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_metrics_need_the_metrics_token_if_it_is_set(settings: Settings, port: int) -> None:
    guarded = settings.model_copy(
        update={"metrics_port": port, "metrics_token": SecretStr(TOKEN), "trusted_proxies": ["127.0.0.1"]}
    )
    url = f"http://127.0.0.1:{port}/metrics"
    async with open_metrics_endpoint(guarded), httpx.AsyncClient() as client:
        sent: tuple[dict[str, str], ...] = (
            {},
            {"authorization": f"Bearer {TOKEN}"},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": "x"},
        )
        statuses = [(await client.get(url, headers=headers)).status_code for headers in sent]
        assert statuses == [401, 200, 401, 401]
        far = {"authorization": f"Bearer {TOKEN}", "x-forwarded-for": "192.0.2.7"}
        assert (await client.get(url, headers=far)).status_code == 400
        assert (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", b"400", id="no request line"),
        pytest.param(b"GET /metrics SPDY/1\r\n\r\n", b"400", id="other protocol"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"x" * MAX_REQUEST_BYTES + b"\r\n\r\n", b"431", id="large"),
        pytest.param(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200", id="query and HTTP/1.0"),
    ],
)
async def test_malformed_requests_get_an_error(
    client: httpx.AsyncClient, port: int, request_bytes: bytes, status: bytes
) -> None:
    assert (await send_raw(port, request_bytes)).split(b" ")[1] == status


async def test_slow_request_is_ended(client: httpx.AsyncClient, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_endpoint, "REQUEST_TIMEOUT_S", 0.05)
    assert (await send_raw(port, b"GET /metrics")).startswith(b"HTTP/1.1 408 ")


async def test_connections_above_the_limit_are_closed_and_others_are_answered(
    client: httpx.AsyncClient, port: int
) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    assert await send_raw(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    reader, writer = idle[0]
    writer.write(b"GET /health HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    for _, each in idle:
        each.close()


async def test_port_that_is_in_use_is_reported(client: httpx.AsyncClient, settings: Settings, port: int) -> None:
    with pytest.raises(PortTaken):
        async with open_metrics_endpoint(settings.model_copy(update={"metrics_port": port})):
            pass


async def test_settings_that_would_publish_the_metrics_are_refused(settings: Settings) -> None:
    exposed = settings.model_copy(update={"metrics_port": 0, "host": "0.0.0.0"})
    with pytest.raises(BadSettings, match="SYNCKAIROS_HOST"):
        async with open_metrics_endpoint(exposed):
            pass
    without_token = settings.model_copy(update={"metrics_port": 0, "auth": "required"})
    with pytest.raises(BadSettings, match="SYNCKAIROS_METRICS_PORT: set SYNCKAIROS_METRICS_TOKEN too"):
        async with open_metrics_endpoint(without_token):
            pass
