"""The parent of several processes of the same kind: starts them, restarts those that end, and stops all of them.

The parent serves no requests. It holds the port, so that no other program takes the port between two starts. The
processes listen on the port themselves (`SO_REUSEPORT`), so the kernel distributes connections among the running ones.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Literal

import click

from synckairos.backoff import Backoff
from synckairos.config import Settings, env_variables_of
from synckairos.embedded.guarded_child import ChildProcess
from synckairos.process.process_group import keep_counters_of_ended
from synckairos.process.ready_line import parse_ready_line, render_ready_line
from synckairos.server.uvicorn_server import hold_port
from synckairos.telemetry import log

RESTART_S = (0.2, 30.0)
"""Seconds before a restart: maximum of the first delay, and of all delays."""

STEADY_S = 60.0
"""Seconds after which a process counts as started well, so that the delays before its restarts begin again."""

KILL_AFTER_S = 10.0
"""Seconds after the time for the drain, after which a process that has not ended is killed."""

BAD_SETTINGS_CODE = 3
"""Exit code of a process whose settings are wrong. A restart would not help."""

logger = log.get_logger(__name__)


class Supervisor:
    """Runs `count` processes `synckairos COMMAND` with the same settings."""

    def __init__(
        self,
        command: str,
        settings: Settings,
        count: int,
        *,
        announces_ready: bool,
        restart_s: tuple[float, float] = RESTART_S,
    ) -> None:
        """Create a supervisor. `announces_ready`: whether each process prints a ready line when it serves requests."""
        self._command = command
        self._settings = settings
        self._count = count
        self._announces_ready = announces_ready
        self._restart_s = restart_s
        self._children: dict[int, ChildProcess] = {}
        """The running processes by their number in the group."""
        self._unready = set(range(count)) if announces_ready else set[int]()
        """The numbers of the processes that were not ready yet since the start of the group."""
        self._stopping = asyncio.Event()
        self._code = 0
        self._could_start = True

    async def run(self) -> int:
        """Run the processes until SIGTERM or SIGINT arrives, or until a process cannot start. Return the exit code.

        The exit code is 0 if all processes ended cleanly after the signal, otherwise the highest of their exit codes.
        If a process cannot start, it is the exit code of that process.
        """
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop, each)
        with TemporaryDirectory(prefix="synckairos-") as directory:
            async with asyncio.TaskGroup() as tasks:
                for number in range(self._count):
                    tasks.create_task(self._keep_running(number, Path(directory)))
        logger.info("stopped")
        return self._code

    def _stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to all processes. The first call also plans their end by SIGKILL."""
        if not self._stopping.is_set():
            self._stopping.set()
            after_s = self._settings.drain_timeout_s + KILL_AFTER_S
            asyncio.get_running_loop().call_later(after_s, self._signal_all, signal.SIGKILL)
        self._signal_all(number)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children.values():
            if child.returncode is None:
                child.process.send_signal(number)
                child.process.send_signal(signal.SIGCONT)  # a suspended process handles signals only after it continues

    async def _keep_running(self, number: int, directory: Path) -> None:
        backoff, starts = Backoff(*self._restart_s), 0
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started_s, starts = loop.time(), starts + 1
            code = await self._run_once(number, directory)
            if self._stopping.is_set():
                self._note_code(code)
            elif starts == 1 and (number in self._unready or code == BAD_SETTINGS_CODE):
                self._note_code(code or 1)
                self._could_start = False
                self._stop()
            else:
                if loop.time() - started_s >= STEADY_S:
                    backoff.reset()
                delay_s = backoff.next_s()
                logger.error(
                    "process ended, and is started again",
                    command=self._command,
                    number=number,
                    code=code,
                    restart_ms=round(delay_s * 1000),
                )
                try:
                    async with asyncio.timeout(delay_s):
                        await self._stopping.wait()
                except TimeoutError:
                    pass

    def _note_code(self, code: int) -> None:
        """Note the exit code of a process at the end. A signal counts as the code that a shell gives it.

        If a process could not start, its exit code is that of the group.
        """
        if self._could_start:
            self._code = max(self._code, 128 - code if code < 0 else code)

    async def _run_once(self, number: int, directory: Path) -> int:
        """Start a process, wait until it ends, and return its exit code, negative if a signal ended it."""
        child = self._children[number] = self._spawn(directory)
        logger.info("process started", command=self._command, number=number, child_pid=child.pid)
        loop = asyncio.get_running_loop()
        if child.process.stdout is not None:
            note_ready = partial(self._note_ready, number)
            Thread(target=_relay_output, args=(child, loop, note_ready), daemon=True).start()
        await asyncio.to_thread(child.process.wait)
        try:
            await asyncio.to_thread(keep_counters_of_ended, directory, child.pid)
        except (OSError, ValueError):
            logger.exception("counters of an ended process lost", child_pid=child.pid)
        return await asyncio.to_thread(child.stop)

    def _note_ready(self, number: int, url: str) -> None:
        """Note that a process is ready. Print the ready line of the group when all were ready for the first time."""
        if number in self._unready:
            self._unready.discard(number)
            if not self._unready:
                click.echo(render_ready_line(url))

    def _spawn(self, directory: Path) -> ChildProcess:
        known = {name for field in Settings.model_fields for name in env_variables_of(field)}
        without_settings = {name: value for name, value in os.environ.items() if name not in known}
        return ChildProcess(
            [sys.executable, "-m", "synckairos", self._command, "--group", directory],
            env={**without_settings, **self._settings.to_environment_variables(), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE if self._announces_ready else None,
        )


def _relay_output(child: ChildProcess, loop: asyncio.AbstractEventLoop, on_ready: Callable[[str], None]) -> None:
    """Print the output of a process. Return when the process ends.

    For its ready line, call `on_ready` with its URL in the thread of `loop`.
    """
    assert child.process.stdout is not None
    for line in child.process.stdout:
        if urls := parse_ready_line(line):
            loop.call_soon_threadsafe(on_ready, urls["http"])
        else:
            click.echo(line, nl=False)


async def supervise(command: Literal["serve", "worker"], settings: Settings, count: int) -> int:
    """Run `count` processes of one kind as `Supervisor.run`, and hold their port meanwhile. Return the exit code.

    Raises: PortTaken if another process has the port, BadSettings if the address cannot be used.
    """
    field = "port" if command == "serve" else "metrics_port"
    port: int | None = getattr(settings, field)
    if port is None:
        return await Supervisor(command, settings, count, announces_ready=False).run()
    with hold_port(settings.host, port) as held:
        shared = settings.model_copy(update={field: held.getsockname()[1]})
        return await Supervisor(command, shared, count, announces_ready=command == "serve").run()


def count_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
