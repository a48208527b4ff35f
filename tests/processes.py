"""Our own commands as real processes, for tests that end, kill or freeze them. Waits for events, never for time."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from time import monotonic
from typing import Self

from synckairos.config import Settings, variables
from synckairos.embedded.child_process import ChildProcess
from synckairos.process.ready_line import parse_ready

DEADLINE_S = 30.0


class Process:
    """One `python -m synckairos …`, its output read as it comes; ends with the test run, whatever happens.

    `command` is another way to run ours.
    """

    def __init__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        command: Sequence[str] = (sys.executable, "-m", "synckairos"),
    ) -> None:
        known = {name for field in Settings.model_fields for name in variables(field)}
        clean = {name: value for name, value in os.environ.items() if name not in known}
        self.child = ChildProcess(
            [*command, *args],
            env={**clean, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.output: list[str] = []
        self.addresses: Mapping[str, str] = {}
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def base_url(self) -> str:
        """Where it serves, `http://127.0.0.1:<port>`, once it is ready."""
        return self.addresses["http"]

    @property
    def ws_url(self) -> str:
        """Its socket, `ws://127.0.0.1:<port>/ws`, once it is ready."""
        return self.addresses["ws"]

    def wait_for_line(self, wanted: Callable[[str], bool], timeout_s: float = DEADLINE_S) -> str:
        """Return the next line of output that is `wanted`; fail with all it said if none comes."""
        deadline = monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - monotonic(), 0.001))
            except Empty:
                raise AssertionError(f"no such line within {timeout_s} s:\n{self.told}") from None
            if line is None:
                raise AssertionError(f"ended without such a line, code {self.child.process.wait()}:\n{self.told}")
            if wanted(line):
                return line

    def wait_ready(self) -> Self:
        """Wait for the line that says it serves."""
        line = self.wait_for_line(lambda line: parse_ready(line.encode()) is not None)
        self.addresses = parse_ready(line.encode()) or {}
        return self

    def wait_end(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait until it ends by itself and return its exit code."""
        self.child.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return self.child.stop()

    def send(self, number: signal.Signals) -> None:
        self.child.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that doesn't do."""
        code = self.child.process.returncode
        if code is None:
            self.send(signal.SIGTERM)
            self.send(signal.SIGCONT)
            try:
                self.child.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.child.process.kill()
        return self.wait_end()

    def kill(self) -> int:
        """SIGKILL: a crash."""
        self.child.process.kill()
        return self.wait_end()

    @property
    def told(self) -> str:
        """Everything it has said so far, stdout and stderr together."""
        return "".join(self.output)

    def _read(self) -> None:
        assert self.child.process.stdout is not None
        for raw in self.child.process.stdout:
            line = raw.decode(errors="replace")
            self.output.append(line)
            self._lines.put(line)
        self._lines.put(None)


def spawn_server(settings: Settings, env: Mapping[str, str] | None = None) -> Process:
    """Start a server with these settings, on a free port, and wait until it serves."""
    process = Process("serve", "--port", "0", env={**settings.environ(), **(env or {})})
    try:
        return process.wait_ready()
    except AssertionError:
        process.kill()
        raise


def is_running(pid: int) -> bool:
    """Tell whether a process lives; one that waits to be reaped doesn't."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
