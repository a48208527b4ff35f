"""Servers that the load test `fanout` compares.

Each compared server has a process of watchers, and a function that makes the server send an update.
"""

import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from asyncio.subprocess import Process as Subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from loadtests.network_link import Link
from loadtests.sessions import ANONYMOUS
from synckairos.clock.commands import Switch
from synckairos.config import Settings
from synckairos.service.requests import CommandRequest
from tests.integration.parts import Parts
from tests.processes import Process, spawn_server

UPDATES_IN_FLIGHT = 4


class WatcherProcess:
    """A process that runs `loadtests.watchers`, with the progress that it prints."""

    def __init__(self, process: Subprocess) -> None:
        self.version_of_all = 0
        self.frames = 0
        self._process = process
        self._has_progress = asyncio.Event()
        self._ended = False

    async def wait_ready(self) -> None:
        """Wait until all watchers are connected."""
        assert self._process.stdout is not None
        while (line := await self._process.stdout.readline()) != b"ready\n":
            assert line, "the watchers ended"
            self._note(line)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._note(line)
            self._has_progress.set()
        self._ended = True
        self._has_progress.set()

    def _note(self, line: bytes) -> None:
        self.version_of_all, self.frames = map(int, line.split())

    async def wait_for_version(self, version: int) -> None:
        """Wait until all watchers have the version `version`."""
        async with asyncio.timeout(60):
            while self.version_of_all < version:
                assert not self._ended, "the watchers ended"
                self._has_progress.clear()
                await self._has_progress.wait()


@asynccontextmanager
async def run_watchers(link: Link, url: str, count: int, session_id: str = "") -> AsyncIterator[WatcherProcess]:
    """Start a process with `count` watchers on the far side of a link."""
    command = (sys.executable, "-m", "loadtests.watchers", url, str(count), *filter(None, (session_id,)))
    process = await asyncio.create_subprocess_exec(*link.far_side, *command, stdout=PIPE)
    try:
        watchers = WatcherProcess(process)
        await watchers.wait_ready()
        yield watchers
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class ComparedServer:
    """One compared server: its process, its watchers, and `update`, which makes the server send a version."""

    def __init__(
        self, pid: int, watchers: WatcherProcess, update: Callable[[int], Awaitable[None]], version: int
    ) -> None:
        self.latencies_ms: list[float] = []
        self.rates: list[float] = []
        self.frames_each: list[float] = []
        self._pid = pid
        self._watchers = watchers
        self._update = update
        self._version = version
        self._cpu_s = 0.0

    async def run_round(self, updates: int) -> None:
        """Measure the latency of single updates. Then measure the rate of updates with several unconfirmed updates."""
        for _ in range(updates):
            began = time.perf_counter()
            await self._send_update(0)
            self.latencies_ms.append((time.perf_counter() - began) * 1000)
        began, cpu_s, frames = time.perf_counter(), _cpu_s(self._pid), self._watchers.frames
        for _ in range(updates):
            await self._send_update(UPDATES_IN_FLIGHT)
        await self._watchers.wait_for_version(self._version)
        self.rates.append((self._watchers.frames - frames) / (time.perf_counter() - began))
        self.frames_each.append((self._watchers.frames - frames) / updates)
        self._cpu_s += _cpu_s(self._pid) - cpu_s

    async def _send_update(self, in_flight: int) -> None:
        """Send the next version. Then wait until all watchers have the version that is `in_flight` versions older."""
        self._version += 1
        await self._update(self._version)
        await self._watchers.wait_for_version(self._version - in_flight)

    def figures(self, watchers: int, updates: int) -> dict[str, float]:
        took = sorted(self.latencies_ms)
        deliveries = sum(self.frames_each) * updates
        return {
            "latency_p50_ms": round(statistics.median(took), 2),
            "latency_p99_ms": round(took[int(len(took) * 0.99)], 2),
            "deliveries_per_s": round(statistics.median(self.rates)),
            "server_cpu_us_per_delivery": round(self._cpu_s * 1e6 / deliveries, 2),
            "frames_per_watcher_and_update": round(statistics.mean(self.frames_each) / watchers, 3),
        }


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@asynccontextmanager
async def run_server(settings: Settings) -> AsyncIterator[Process]:
    server = await asyncio.to_thread(spawn_server, settings)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def product_server(
    parts: Parts, server: Process, link: Link, session_id: str, count: int, dialect: str
) -> AsyncIterator[tuple[ComparedServer, float]]:
    """Connect watchers of a session to the product's server. Yield this server and its memory per watcher in KB."""

    async def switch(version: int) -> None:
        await parts.sessions.execute(CommandRequest(ANONYMOUS, session_id, Switch(), "switch"))

    idle_kb = _resident_kb(server.pid)
    target = (server.ws_url, count, session_id)
    if dialect == "v2":
        target = (f"{server.ws_url}?sessionId={session_id}", count, "")
    async with run_watchers(link, *target) as watchers:
        yield ComparedServer(server.pid, watchers, switch, 2), (_resident_kb(server.pid) - idle_kb) / count


@asynccontextmanager
async def plain_loop_server(link: Link, frame_bytes: int, count: int) -> AsyncIterator[ComparedServer]:
    """Run the plain loop and connect watchers to it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.plain_loop", link.host, str(frame_bytes), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin

    async def write(version: int) -> None:
        stdin.write(b"%d\n" % version)

    try:
        port = int(await process.stdout.readline())
        async with run_watchers(link, f"ws://{link.host}:{port}/", count) as watchers:
            yield ComparedServer(process.pid, watchers, write, 1)
    finally:
        process.kill()
        await process.wait()
