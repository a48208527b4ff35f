"""The snippets of the README, run as written against a real server."""

import re
import subprocess
import sys
from queue import Queue
from threading import Thread

import httpx
import orjson

from tests.processes import Process
from tests.unit.docs.pages import DOCUMENTS, code_blocks

README = DOCUMENTS.parent / "README.md"
ADDRESS = "127.0.0.1:3000"


def snippet(language: str, server: Process) -> str:
    """Return the README's first snippet in a language, with the address of the server."""
    return code_blocks(README.read_text(), language)[0].replace(ADDRESS, server.base_url.removeprefix("http://"))


def test_the_snippets_run_one_after_the_other(serve_process: Process) -> None:
    pressed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", snippet("bash", serve_process)], capture_output=True, check=True, timeout=30
    )
    answer = orjson.loads(pressed.stdout)["data"]
    assert answer["version"] == 3
    assert [p["display_name"] for p in answer["participants"] if p["is_active"]] == ["Black"]

    reading = subprocess.run(
        ["node", "--input-type=module", "-e", snippet("js", serve_process), "--", answer["session_id"]],
        capture_output=True, check=True, timeout=30, text=True,
    )  # fmt: skip
    told = re.fullmatch(r"White: (\d+\.\d) s\nBlack: (\d+\.\d) s\n", reading.stdout)
    assert told is not None, reading.stdout
    assert 270 < float(told[2]) <= 300 < float(told[1]) <= 303

    watcher = subprocess.Popen(
        [sys.executable, "-u", "-c", snippet("python", serve_process), answer["session_id"]],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = lines_of(watcher)
        assert lines.get(timeout=30) == f"3 running {answer['active_participant_id']}\n"
        url = f"{serve_process.base_url}/v1/sessions/{answer['session_id']}/pause"
        assert httpx.post(url).status_code == 200
        assert lines.get(timeout=30) == f"4 paused {answer['active_participant_id']}\n"
        assert watcher.wait(timeout=30) == 0
    finally:
        watcher.kill()
        watcher.wait()


def lines_of(process: subprocess.Popen[str]) -> "Queue[str]":
    lines: Queue[str] = Queue()
    assert process.stdout is not None
    stream = process.stdout

    def read() -> None:
        with stream:
            for line in stream:
                lines.put(line)

    Thread(target=read, daemon=True).start()
    return lines
