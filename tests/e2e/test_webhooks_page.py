"""The receiver of the webhook guide, run as written. A worker sends the events of a session to the receiver."""

import subprocess
import sys

import httpx
import pytest

from synckairos.config import Settings
from tests.e2e.test_readme import read_lines
from tests.integration.rest_server import chess_body
from tests.processes import Process, spawn_server
from tests.unit.docs.pages import DOCUMENTS, code_blocks

PAGE = DOCUMENTS / "guides" / "webhooks.md"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Allow webhooks to this machine."""
    return settings.model_copy(update={"webhook_allowed_networks": ["127.0.0.0/8"], "webhook_allow_http": True})


def test_receiver_of_the_guide_verifies_and_prints_each_event(settings: Settings) -> None:
    example = code_blocks(PAGE.read_text(), "python")[0]
    code = example.replace('HTTPServer(("127.0.0.1", 8000), Receiver).serve_forever()', _ON_A_FREE_PORT)
    assert code != example
    server, worker = spawn_server(settings), Process("worker", env=settings.to_environment_variables())
    started = [server, worker]
    receiver: subprocess.Popen[str] | None = None
    try:
        with httpx.Client(base_url=server.base_url, trust_env=False) as client:
            made = client.post("/v1/webhooks", json={"url": "https://example.org/"}).raise_for_status().json()["data"]
            receiver = subprocess.Popen(
                [sys.executable, "-c", code, made["secret"]],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            lines = read_lines(receiver)
            url = f"http://127.0.0.1:{int(lines.get(timeout=30))}/hook"
            client.patch(f"/v1/webhooks/{made['webhook_id']}", json={"url": url}).raise_for_status()
            assert httpx.post(url, content=b"{}", trust_env=False).status_code == 401
            session = client.post("/v1/sessions", json=chess_body()).raise_for_status().json()["data"]
            client.post(f"/v1/sessions/{session['session_id']}/start").raise_for_status()
            printed = [lines.get(timeout=30) for _ in range(2)]
    finally:
        if receiver is not None:
            receiver.kill()
            receiver.wait()
        for process in started:
            process.stop()
    assert printed == [f"{kind} {session['session_id']}\n" for kind in ("session_created", "session_started")]


_ON_A_FREE_PORT = """
server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
"""
