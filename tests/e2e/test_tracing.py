"""One press as one trace: the command, its fan-out, its drain and its webhook, exported by a server and a worker."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from websockets.sync.client import connect

from synckairos.config import Settings
from synckairos.telemetry.tracing import VersionId, version_trace_ids
from tests.integration.rest_server import chess_body
from tests.processes import Process, spawn_server
from tests.waiting import eventually

CALLER_TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Collector:
    """A collector of spans, which also accepts webhooks."""

    port: int = 0
    spans: list[tuple[str, Any]] = field(default_factory=list)
    """The kind of process and the span, in the order of arrival."""

    def add_export(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            described = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(described["synckairos.process"], span) for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                found.add_export(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def test_press_is_one_trace_from_the_request_to_the_webhook(
    settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True, "trace_ratio": 1.0}
    traced = settings.model_copy(update=changed)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # ms between two exports
    server, worker = spawn_server(traced), Process("worker", env=traced.to_environment_variables())
    try:
        with httpx.Client(base_url=server.base_url, trust_env=False) as client:
            url = f"http://127.0.0.1:{collector.port}/hook"
            client.post("/v1/webhooks", json={"url": url, "event_types": ["cycle_switched"]}).raise_for_status()
            session_id = client.post("/v1/sessions", json=chess_body()).json()["data"]["session_id"]
            path = f"/v1/sessions/{session_id}"
            client.post(f"{path}/start").raise_for_status()
            with connect(f"{server.ws_url}?sessionId={session_id}", proxy=None) as watcher:
                watcher.recv()
                headers = {"X-Request-Id": "proxy-17", "traceparent": f"00-{CALLER_TRACE}-b7ad6b7169203331-01"}
                pressed = client.post(f"{path}/switch", headers=headers).raise_for_status().json()["data"]
            epoch = client.get(path).json()["data"]["epoch"]
        ids = version_trace_ids(VersionId(session_id, epoch, pressed["version"]))

        async def trace() -> dict[str, tuple[str, Any]] | None:
            of_press = [each for each in collector.spans if each[1].trace_id == ids.trace_id.to_bytes(16, "big")]
            return {span.name: (process, span) for process, span in of_press} if len(of_press) == 4 else None

        found = asyncio.run(eventually(trace))
    finally:
        for process in (server, worker):
            process.stop()
    assert found is not None
    assert {name: process for name, (process, _) in found.items()} == {
        "synckairos.command switch": "server",
        "synckairos.fan_out": "server",
        "synckairos.drain": "worker",
        "synckairos.webhook": "worker",
    }
    _, command = found.pop("synckairos.command switch")
    assert (command.span_id, command.parent_span_id) == (ids.span_id.to_bytes(8, "big"), b"")
    assert [link.trace_id.hex() for link in command.links] == [CALLER_TRACE]
    assert ("synckairos.request_id", "proxy-17") in {(each.key, each.value.string_value) for each in command.attributes}
    assert {span.parent_span_id for _, span in found.values()} == {command.span_id}
    assert found["synckairos.drain"][1].end_time_unix_nano <= found["synckairos.webhook"][1].start_time_unix_nano
