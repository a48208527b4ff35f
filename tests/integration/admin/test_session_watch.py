"""The command `synckairos session watch` as a process, with output to a terminal and to a pipe."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest

from synckairos.cli.exit_codes import ExitCode
from tests.processes import Process

DEADLINE_S = 30
FACE = re.compile(r"> White +(\d:\d\d\.\d)")


@pytest.fixture
def session_id(serve_process: Process) -> str:
    """Start a session whose active clock is already in the range with tenths of a second. Return its id."""
    people = [{"participant_id": str(uuid4()), "total_time_ms": 15_000, "display_name": n} for n in ("White", "Black")]
    with httpx.Client(base_url=serve_process.base_url, trust_env=False) as rest:
        answer = rest.post("/v1/sessions", json={"sync_mode": "per_participant", "participants": people})
        made: str = answer.raise_for_status().json()["data"]["session_id"]
        rest.post(f"/v1/sessions/{made}/start").raise_for_status()
    return made


class Terminal:
    """A pseudo-terminal with 60 columns and 12 lines, and the text that was written to it."""

    def __init__(self, *args: str) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (12, 60))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "synckairos", *args], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self.written = ""

    def read_until(self, wanted: Callable[[str], object]) -> None:
        while not wanted(self.written):
            self.written += os.read(self.master, 65_536).decode()

    def screens(self) -> list[str]:
        return self.written.split("\x1b[H")[1:]


@contextmanager
def terminal(*args: str) -> Iterator[Terminal]:
    shown = Terminal(*args)
    # The alarm signal ends a test that waits too long.
    watchdog = signal.signal(signal.SIGALRM, lambda *_: shown.process.kill())
    signal.alarm(DEADLINE_S)
    try:
        yield shown
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, watchdog)
        shown.process.kill()
        shown.process.wait()
        os.close(shown.master)


def test_terminal_shows_a_running_clock_without_new_frames(serve_process: Process, session_id: str) -> None:
    with terminal("session", "watch", session_id, "--url", serve_process.ws_url) as shown:
        shown.read_until(lambda written: len(set(FACE.findall(written))) >= 5)
        faces = FACE.findall(shown.written)
        assert faces == sorted(faces, reverse=True)
        last = shown.screens()[-2]
        assert last.count("\r\n") <= 11
        assert "per_participant, running, version 2" in last
        assert "server time ±" in last
        shown.read_until(lambda written: "1 connected" in written)
        httpx.post(f"{serve_process.base_url}/v1/sessions/{session_id}/pause", trust_env=False).raise_for_status()
        shown.read_until(lambda written: "paused, version 3" in written)
        shown.process.send_signal(signal.SIGINT)
        shown.read_until(lambda written: "\x1b[?25h" in written)
        assert shown.process.wait(DEADLINE_S) == 0
    assert "Traceback" not in shown.written


def test_view_ends_with_the_session(serve_process: Process, session_id: str) -> None:
    with terminal("session", "watch", session_id, "--url", serve_process.base_url) as shown:
        shown.read_until(FACE.search)
        httpx.post(f"{serve_process.base_url}/v1/sessions/{session_id}/complete", trust_env=False).raise_for_status()
        shown.read_until(lambda written: "\x1b[?25h" in written)
        assert shown.process.wait(DEADLINE_S) == 0
        assert "completed, version 3" in shown.screens()[-1]


async def test_output_to_a_pipe_has_one_view_for_each_update(serve_process: Process, session_id: str) -> None:
    watching = Process("session", "watch", session_id, "--url", serve_process.ws_url)
    try:
        await asyncio.to_thread(watching.wait_for_line, lambda line: "version 2" in line)
        async with httpx.AsyncClient(base_url=serve_process.base_url, trust_env=False) as rest:
            (await rest.post(f"/v1/sessions/{session_id}/switch")).raise_for_status()
            await asyncio.to_thread(watching.wait_for_line, lambda line: "> Black" in line)
            (await rest.post(f"/v1/sessions/{session_id}/cancel")).raise_for_status()
        assert await asyncio.to_thread(watching.wait_end) == 0
    finally:
        watching.kill()
    assert "\x1b" not in watching.output
    assert re.findall(r"(\w+), version (\d)", watching.output) == [
        ("running", "2"),
        ("running", "3"),
        ("cancelled", "4"),
    ]


def test_error_is_printed_as_one_line(serve_process: Process) -> None:
    def run_watch(*args: str, **env: str) -> tuple[int, str]:
        process = Process("session", "watch", *args, env=env)
        return process.wait_end(), process.output

    missing = str(uuid4())
    not_found = f"No session {missing} at {serve_process.base_url}\n"
    assert run_watch(missing, "--url", serve_process.ws_url) == (ExitCode.NEGATIVE, not_found)
    port = serve_process.base_url.rpartition(":")[2]
    assert run_watch(missing, SYNCKAIROS_PORT=port) == (ExitCode.NEGATIVE, not_found)
    code, output = run_watch("nonsense")
    assert code == 2
    assert "nonsense" in output
    code, output = run_watch(missing, "--url", "ftp://nowhere")
    assert code == 2
    assert "http://" in output
