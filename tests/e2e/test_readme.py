"""The snippets of the README, run as written against a real server with authentication."""

import re
import subprocess
import sys
from collections.abc import Callable
from queue import Queue
from threading import Thread

import httpx
import orjson
import pytest
from pydantic import SecretStr

from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.processes import Process
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS, code_blocks

README = DOCUMENTS.parent / "README.md"
ADDRESS = "127.0.0.1:3000"


def snippet(language: str, server: Process) -> str:
    """Return the first code block of the README in a language, with the address of the test's server."""
    return code_blocks(README.read_text(), language)[0].replace(ADDRESS, server.base_url.removeprefix("http://"))


def test_snippets_work_one_after_the_other(
    start_server: Callable[[Settings], Process], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)}))
    token = make_token(role="admin")
    monkeypatch.setenv("SYNCKAIROS_TOKEN", token)
    switch = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", snippet("bash", server)], capture_output=True, check=True, timeout=30
    )
    answer = orjson.loads(switch.stdout)["data"]
    assert answer["version"] == 3
    assert [p["display_name"] for p in answer["participants"] if p["is_active"]] == ["Black"]

    readings = subprocess.run(
        ["node", "--input-type=module", "-e", snippet("js", server), "--", answer["session_id"]],
        capture_output=True, check=True, timeout=30, text=True,
    )  # fmt: skip
    printed = re.fullmatch(r"White: (\d+\.\d) s\nBlack: (\d+\.\d) s\n", readings.stdout)
    assert printed is not None, readings.stdout
    assert 270 < float(printed[2]) <= 300 < float(printed[1]) <= 303

    watcher = subprocess.Popen(
        [sys.executable, "-u", "-c", snippet("python", server), answer["session_id"]],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = read_lines(watcher)
        assert lines.get(timeout=30) == f"3 running {answer['active_participant_id']}\n"
        url = f"{server.base_url}/v1/sessions/{answer['session_id']}/pause"
        assert httpx.post(url, headers=bearer(token)).status_code == 200
        assert lines.get(timeout=30) == f"4 paused {answer['active_participant_id']}\n"
        assert watcher.wait(timeout=30) == 0
    finally:
        watcher.kill()
        watcher.wait()


def read_lines(process: subprocess.Popen[str]) -> "Queue[str]":
    """Return a queue with the lines that a process prints. A thread fills the queue."""
    lines: Queue[str] = Queue()
    assert process.stdout is not None
    stream = process.stdout

    def read() -> None:
        with stream:
            for line in stream:
                lines.put(line)

    Thread(target=read, daemon=True).start()
    return lines
