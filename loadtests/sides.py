"""The sides that `fanout` compares: a server, its crowd of watchers, and what makes it send them the next version."""

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

from loadtests.link import Link
from loadtests.started import NOBODY
from synckairos.clock.commands import Switch
from synckairos.config import Settings
from synckairos.service.requests import CommandRequest
from tests.integration.parts import Parts
from tests.processes import Process, spawn_server

ON_THEIR_WAY = 4


class Crowd:
    """The process of watchers, as seen from here."""

    def __init__(self, process: Subprocess) -> None:
        self.everybody_has = 0
        self.frames = 0
        self._process = process
        self._told = asyncio.Event()
        self._ended = False

    async def ready(self) -> None:
        assert self._process.stdout is not None
        while (line := await self._process.stdout.readline()) != b"ready\n":
            assert line, "the watchers ended"
            self._note(line)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._note(line)
            self._told.set()
        self._ended = True
        self._told.set()

    def _note(self, line: bytes) -> None:
        self.everybody_has, self.frames = map(int, line.split())

    async def has(self, version: int) -> None:
        async with asyncio.timeout(60):
            while self.everybody_has < version:
                assert not self._ended, "the watchers ended"
                self._told.clear()
                await self._told.wait()


@asynccontextmanager
async def crowd(over: Link, url: str, count: int, session_id: str = "") -> AsyncIterator[Crowd]:
    watch = (sys.executable, "-m", "loadtests.crowd", url, str(count), *filter(None, (session_id,)))
    process = await asyncio.create_subprocess_exec(*over.far_side, *watch, stdout=PIPE)
    try:
        watching = Crowd(process)
        await watching.ready()
        yield watching
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Side:
    """One of the two that are compared: its server, its watchers, how to make it send the next version."""

    def __init__(self, pid: int, watching: Crowd, update: Callable[[int], Awaitable[None]], version: int) -> None:
        self.latencies_ms: list[float] = []
        self.rates: list[float] = []
        self.frames_each: list[float] = []
        self._pid = pid
        self._watching = watching
        self._update = update
        self._version = version
        self._cpu_s = 0.0

    async def round(self, updates: int) -> None:
        """Measure single updates, then the rate with some on their way."""
        for _ in range(updates):
            began = time.perf_counter()
            await self._next(0)
            self.latencies_ms.append((time.perf_counter() - began) * 1000)
        began, cpu_s, frames = time.perf_counter(), _cpu_s(self._pid), self._watching.frames
        for _ in range(updates):
            await self._next(ON_THEIR_WAY)
        await self._watching.has(self._version)
        self.rates.append((self._watching.frames - frames) / (time.perf_counter() - began))
        self.frames_each.append((self._watching.frames - frames) / updates)
        self._cpu_s += _cpu_s(self._pid) - cpu_s

    async def _next(self, behind: int) -> None:
        self._version += 1
        await self._update(self._version)
        await self._watching.has(self._version - behind)

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
async def serving(settings: Settings) -> AsyncIterator[Process]:
    server = await asyncio.to_thread(spawn_server, settings)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def our_side(
    parts: Parts, server: Process, over: Link, session_id: str, count: int, dialect: str
) -> AsyncIterator[tuple[Side, float]]:
    """Give watchers of a session, and the server's memory for each of them in KB."""

    async def switch(version: int) -> None:
        await parts.sessions.execute(CommandRequest(NOBODY, session_id, Switch(), "switch"))

    idle_kb = _resident_kb(server.pid)
    target = (server.ws_url, count, session_id)
    if dialect == "v2":
        target = (f"{server.ws_url}?sessionId={session_id}", count, "")
    async with crowd(over, *target) as watching:
        yield Side(server.pid, watching, switch, 2), (_resident_kb(server.pid) - idle_kb) / count


@asynccontextmanager
async def plain_side(over: Link, frame_bytes: int, count: int) -> AsyncIterator[Side]:
    """Give the plain loop with its watchers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.plain_loop", over.host, str(frame_bytes), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin

    async def write(version: int) -> None:
        stdin.write(b"%d\n" % version)

    try:
        port = int(await process.stdout.readline())
        async with crowd(over, f"ws://{over.host}:{port}/", count) as watching:
            yield Side(process.pid, watching, write, 1)
    finally:
        process.kill()
        await process.wait()
