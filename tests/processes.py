"""Commands of this product as real processes, for tests that stop, kill or suspend processes.

All waits are for an event, with a deadline. Tests never wait for a fixed time.
"""

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

from synckairos.config import Settings, env_variables_of
from synckairos.embedded.guarded_child import ChildProcess
from synckairos.process.ready_line import parse_ready_line

DEADLINE_S = 30.0


class Process:
    """A process `python -m synckairos …` whose output is read at once. It ends at the latest with the test run.

    `command` replaces `python -m synckairos`, for example by the path of an installed program.
    """

    def __init__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        command: Sequence[str] = (sys.executable, "-m", "synckairos"),
    ) -> None:
        settings = {name for field in Settings.model_fields for name in env_variables_of(field)}
        without_settings = {name: value for name, value in os.environ.items() if name not in settings}
        self.child = ChildProcess(
            [*command, *args],
            env={**without_settings, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.urls: Mapping[str, str] = {}
        self._output: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def base_url(self) -> str:
        """The base URL of the server, `http://127.0.0.1:<port>`. Available after `wait_ready`."""
        return self.urls["http"]

    @property
    def ws_url(self) -> str:
        """The WebSocket URL of the server, `ws://127.0.0.1:<port>/ws`. Available after `wait_ready`."""
        return self.urls["ws"]

    @property
    def output(self) -> str:
        """The whole output of the process until now, stdout and stderr together."""
        return "".join(self._output)

    def wait_for_line(self, is_wanted: Callable[[str], bool], timeout_s: float = DEADLINE_S) -> str:
        """Wait for the next line of output for which `is_wanted` returns True, and return this line.

        Raises: AssertionError with the whole output, if no such line arrives in time or the process ends.
        """
        deadline_s = monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(deadline_s - monotonic(), 0.001))
            except Empty:
                raise AssertionError(f"no such line within {timeout_s} s:\n{self.output}") from None
            if line is None:
                raise AssertionError(f"ended without such a line, code {self.child.process.wait()}:\n{self.output}")
            if is_wanted(line):
                return line

    def wait_ready(self) -> Self:
        """Wait for the ready line of the server, and save its URLs."""
        line = self.wait_for_line(lambda line: parse_ready_line(line.encode()) is not None)
        self.urls = parse_ready_line(line.encode()) or {}
        return self

    def wait_end(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait until the process ends without a signal of the test. Return its exit code."""
        self.child.process.wait(timeout_s)
        self._reader.join(timeout_s)
        return self.child.stop()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.child.process.send_signal(number)

    def stop(self) -> int:
        """Send SIGTERM, and SIGKILL if the process does not end in time. Return the exit code."""
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
        """Send SIGKILL, which simulates a crash. Return the exit code."""
        self.child.process.kill()
        return self.wait_end()

    def _read(self) -> None:
        assert self.child.process.stdout is not None
        for raw in self.child.process.stdout:
            line = raw.decode(errors="replace")
            self._output.append(line)
            self._lines.put(line)
        self._lines.put(None)


def spawn_server(settings: Settings, env: Mapping[str, str] | None = None) -> Process:
    """Start a server with these settings on a free port, and wait until it is ready."""
    process = Process("serve", "--port", "0", env={**settings.to_environment_variables(), **(env or {})})
    try:
        return process.wait_ready()
    except AssertionError:
        process.kill()
        raise


def is_running(pid: int) -> bool:
    """Return whether a process runs. A zombie, which has ended but was not reaped, does not run."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
