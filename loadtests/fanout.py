"""Fan-out: one session, many watchers in another process, from an update to the last of them.

The server runs as users run it, in its own process; updates are committed by another instance, this one. Beside it, in
the same run and in turn, a plain loop of `write()` over as many sockets, with frames of the same size and the same
watchers. Latencies are of one update at a time, rates with a few on their way.

In the dialect with deltas there is a third: as many watchers of another session on the same server, who get full
states. `sooner_than_full_states` says how many times sooner the last watcher has a delta.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from asyncio.subprocess import Process as Subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvloop

from loadtests.stores import valkey_alone
from synckairos import log
from synckairos.asking import CreateRequest, Request
from synckairos.clock.commands import Create, NewParticipant, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

NOBODY = Principal()
ON_THEIR_WAY = 4
ENVELOPE_BYTES = 110
"""What a STATE_UPDATE has around the state."""


class Crowd:
    """The process of watchers, as seen from here."""

    def __init__(self, process: Subprocess) -> None:
        self.everybody_has = 0
        self.frames = 0
        self._process = process
        self._told = asyncio.Event()

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

    def _note(self, line: bytes) -> None:
        self.everybody_has, self.frames = map(int, line.split())

    async def has(self, version: int) -> None:
        async with asyncio.timeout(30):
            while self.everybody_has < version:
                self._told.clear()
                await self._told.wait()


@asynccontextmanager
async def crowd(url: str, count: int, session_id: str = "") -> AsyncIterator[Crowd]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.crowd", url, str(count), *filter(None, (session_id,)), stdout=PIPE
    )
    try:
        watching = Crowd(process)
        await watching.ready()
        yield watching
    finally:
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
    parts: Parts, server: Process, session_id: str, count: int, dialect: str
) -> AsyncIterator[tuple[Side, float]]:
    """Give watchers of a session, and the server's memory for each of them in KB."""

    async def switch(version: int) -> None:
        await parts.sessions.execute(Request(NOBODY, session_id, Switch(), "switch"))

    idle_kb = _resident_kb(server.pid)
    target = (server.ws_url, count, session_id)
    if dialect == "v2":
        target = (f"{server.ws_url}?sessionId={session_id}", count, "")
    async with crowd(*target) as watching:
        yield Side(server.pid, watching, switch, 2), (_resident_kb(server.pid) - idle_kb) / count


@asynccontextmanager
async def plain_side(frame_bytes: int, count: int) -> AsyncIterator[Side]:
    """Give the plain loop with its watchers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtests.plain_loop", str(frame_bytes), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin = process.stdin

    async def write(version: int) -> None:
        stdin.write(b"%d\n" % version)

    try:
        port = int(await process.stdout.readline())
        async with crowd(f"ws://127.0.0.1:{port}/", count) as watching:
            yield Side(process.pid, watching, write, 1)
    finally:
        process.kill()
        await process.wait()


async def run(count: int, participants: int, rounds: int, updates: int, dialect: str) -> dict[str, Any]:
    """Measure all sides in turn, so that whatever else the machine does troubles all alike."""
    with valkey_alone(ws_max_connections=2 * count + 100) as settings:
        async with open_parts(settings) as parts, AsyncExitStack() as stack:
            session_id, document_bytes = await _start(parts, participants)
            frame_bytes = document_bytes + ENVELOPE_BYTES
            server = await stack.enter_async_context(serving(settings))
            watched = our_side(parts, server, session_id, count, dialect)
            ours, memory_kb = await stack.enter_async_context(watched)
            sides = [ours, await stack.enter_async_context(plain_side(frame_bytes, count))]
            if dialect == "v3":
                session_id, _ = await _start(parts, participants)
                watched = our_side(parts, server, session_id, count, "v2")
                full, _ = await stack.enter_async_context(watched)
                sides.append(full)
            outbox = parts.store.keys.outbox(0), parts.store.keys.outbox_bytes(0)
            for side in sides * (rounds + 1):
                await side.round(updates)
                await parts.pipe.call("DEL", *outbox)  # nobody drains it here
            told = [side.figures(count, updates) for side in sides]
    figures: dict[str, Any] = {
        "benchmark": "fanout",
        "dialect": dialect,
        "watchers": count,
        "participants": participants,
        "frame_bytes": frame_bytes,
        "ratio": round(told[0]["deliveries_per_s"] / told[1]["deliveries_per_s"], 3),
        "latency_ratio": round(told[1]["latency_p50_ms"] / told[0]["latency_p50_ms"], 3),
        "cpu_ratio": round(told[1]["server_cpu_us_per_delivery"] / told[0]["server_cpu_us_per_delivery"], 3),
        "ours": {**told[0], "kb_per_connection": round(memory_kb, 1)},
        "plain_loop": told[1],
    }
    if dialect == "v3":
        figures["full_states"] = told[2]
        figures["sooner_than_full_states"] = round(told[2]["latency_p50_ms"] / told[0]["latency_p50_ms"], 1)
    return figures


async def _start(parts: Parts, participants: int) -> tuple[str, int]:
    """Start a session; return its id and the size of its document."""
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=86_400_000) for _ in range(participants))
    spec = Create(SyncMode.PER_PARTICIPANT, people)
    session_id = (await parts.sessions.create(CreateRequest(NOBODY, spec))).session.session_id
    answer = await parts.sessions.execute(Request(NOBODY, session_id, Start(), "start"))
    return session_id, len(answer.document)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests fanout", description=__doc__)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--participants", type=int, default=2)
    parser.add_argument("--dialect", choices=("v2", "v3"), default="v2")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=20, help="updates of each kind a round")
    options = parser.parse_args()
    log.configure("critical")
    told = uvloop.run(run(options.watchers, options.participants, options.rounds, options.updates, options.dialect))
    print(json.dumps(told))
