"""Three instances restarted one after the other under load: how long commands take, second by second.

Clients of `synckairos.client` behind a balancer switch their sessions at a pace that doesn't wait for answers; what is
asked while there is no connection counts from when it was to be asked. A restart is a SIGTERM, the end of the process,
and a new one in its place. Tells for each how long it took until the p99 of the commands asked in a second was back
within three times what it was before the first.
"""

import argparse
import asyncio
import signal
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from loadtests.resume import address, watchers
from loadtests.started import started
from loadtests.stores import valkey_alone
from loadtests.telling import percentile, tell
from synckairos.client.watch import Watch
from synckairos.config import Settings
from synckairos.telemetry import log
from tests.balancer import Balancer, run_balancer
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

INSTANCES = 3
BEFORE_S = 5.0
BETWEEN_S = 7.0
BACK_WITHIN = 3.0
SLICE_S = 0.5


class Load:
    """Commands asked at a pace, and how long each took."""

    def __init__(self, watches: list[Watch], a_second: float) -> None:
        self.took: list[tuple[float, float]] = []
        """When it was to be asked, and how long it took from then, s."""
        self.versions: dict[str, int] = defaultdict(int)
        self._watches = watches
        self._every_s = len(watches) / a_second
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, watch: Watch, first_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + first_s
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            task = asyncio.create_task(self._ask(watch, time.perf_counter() - (loop.time() - due)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due += self._every_s

    async def _ask(self, watch: Watch, due: float) -> None:
        ack = await watch.command("switch")
        self.took.append((due, time.perf_counter() - due))
        self.versions[watch.session_id] = max(self.versions[watch.session_id], ack.version)

    def start(self) -> list[asyncio.Task[None]]:
        spread = self._every_s / len(self._watches)
        return [asyncio.create_task(self.run(watch, at * spread)) for at, watch in enumerate(self._watches)]

    async def finish(self) -> None:
        async with asyncio.timeout(30):
            while self._tasks:
                await asyncio.wait(tuple(self._tasks))

    def p99_ms(self, begin: float, end: float) -> float:
        took = [seconds for due, seconds in self.took if begin <= due < end]
        return round(percentile(took, 99) * 1000, 2) if took else 0.0

    def worst_ms(self, begin: float, end: float) -> int:
        return round(max(seconds for due, seconds in self.took if begin <= due < end) * 1000)

    def back_after_s(self, begin: float, end: float, bound_ms: float) -> float:
        """Return how long after `begin` the last second ends whose p99 is above a bound."""
        starts = [begin + SLICE_S * n for n in range(int((end - begin) / SLICE_S) - 1)]
        late = [start for start in starts if self.p99_ms(start, start + 1) > bound_ms]
        return round(late[-1] + 1 - begin, 1) if late else 0.0


async def restart(balancer: Balancer, server: Process, settings: Settings) -> Process:
    server.send(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait_end) == 0
    balancer.targets.remove(address(server))
    after = await asyncio.to_thread(spawn_server, settings)
    balancer.targets.append(address(after))
    return after


async def measure(
    parts: Parts, servers: list[Process], settings: Settings, clients: int, a_second: float
) -> dict[str, Any]:
    sessions = [await started(parts) for _ in range(clients)]
    async with run_balancer([address(each) for each in servers]) as balancer, AsyncExitStack() as stack:
        watches = await watchers(stack, balancer.http_url, sessions, clients)
        load = Load(watches, a_second)
        asking = load.start()
        began = time.perf_counter()
        await asyncio.sleep(BEFORE_S)
        restarted_at = []
        for at, server in enumerate(servers):
            restarted_at.append(time.perf_counter())
            servers[at] = await restart(balancer, server, settings)
            await asyncio.sleep(max(0.0, restarted_at[-1] + BETWEEN_S - time.perf_counter()))
        ended = time.perf_counter()
        for task in asking:
            task.cancel()
        await load.finish()
        for watch in watches:
            async with asyncio.timeout(10):
                await watch.reach(load.versions[watch.session_id])
    before_ms = load.p99_ms(began + 1, restarted_at[0])
    spans = list(zip(restarted_at, [*restarted_at[1:], ended], strict=True))
    return {
        "commands": len(load.took),
        "p99_before_ms": before_ms,
        "p99_back_after_s": [load.back_after_s(begin, end, BACK_WITHIN * before_ms) for begin, end in spans],
        "worst_ms": [load.worst_ms(begin, end) for begin, end in spans],
        "p99_by_second_ms": [
            [load.p99_ms(begin + n, begin + n + 1) for n in range(int(BETWEEN_S))] for begin, _ in spans
        ],
    }


async def run(clients: int, a_second: float) -> dict[str, Any]:
    servers: list[Process] = []
    with valkey_alone(rate_limit_general=1_000_000, rate_limit_switch=1_000_000) as settings:
        try:
            servers += await asyncio.gather(*(asyncio.to_thread(spawn_server, settings) for _ in range(INSTANCES)))
            async with open_parts(settings) as parts:
                told = await measure(parts, servers, settings, clients, a_second)
        finally:
            for server in servers:
                server.kill()
    return {"clients": clients, "commands_per_s": a_second, **told}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests rolling", description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--a-second", type=float, default=300, help="commands a second, of all together")
    options = parser.parse_args()
    log.configure("critical")
    tell("rolling", uvloop.run(run(options.clients, options.a_second)))
