"""Load test of a rolling restart of three instances: the duration of commands, second by second.

Clients of `synckairos_client` send switches through a load balancer at a constant rate, without waiting for replies.
The measured time of a command starts when the command is due, also if its client has no connection. A restart is a
SIGTERM, the end of the process, and a new process. For each restart the result has a time: until the p99 of the
commands due in one second was again within three times the p99 before the first restart.
"""

import argparse
import asyncio
import signal
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from loadtests.report import percentile, print_result
from loadtests.resume import address, connect_watchers
from loadtests.sessions import start_session
from loadtests.stores import valkey_only
from synckairos.config import Settings
from synckairos.telemetry import log
from synckairos_client.watched_session import Watch
from tests.balancer import Balancer, run_balancer
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

INSTANCES = 3
BEFORE_S = 5.0  # seconds of load before the first restart
BETWEEN_S = 7.0  # seconds from one restart to the next
ALLOWED_RATIO = 3.0  # maximum ratio of the p99 to the p99 before the first restart
STEP_S = 0.5  # seconds between the starts of two overlapping seconds


class Load:
    """Commands at a constant rate, with the duration of each command."""

    def __init__(self, watches: list[Watch], commands_per_s: float) -> None:
        self.durations: list[tuple[float, float]] = []
        """For each command, the instant when it was due, and the seconds from this instant until its reply."""
        self.versions: dict[str, int] = defaultdict(int)
        self._watches = watches
        self._interval_s = len(watches) / commands_per_s
        self._tasks: set[asyncio.Task[None]] = set()

    async def _send_commands(self, watch: Watch, first_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + first_s
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            task = asyncio.create_task(self._send(watch, time.perf_counter() - (loop.time() - due)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            due += self._interval_s

    async def _send(self, watch: Watch, due: float) -> None:
        ack = await watch.command("switch", expected_turn=None)
        self.durations.append((due, time.perf_counter() - due))
        self.versions[watch.session_id] = max(self.versions[watch.session_id], ack.version)

    def start(self) -> list[asyncio.Task[None]]:
        """Start one task for each client, evenly spread over the interval between commands."""
        offset_s = self._interval_s / len(self._watches)
        return [
            asyncio.create_task(self._send_commands(watch, number * offset_s))
            for number, watch in enumerate(self._watches)
        ]

    async def finish(self) -> None:
        """Wait for the replies to all commands."""
        async with asyncio.timeout(30):
            while self._tasks:
                await asyncio.wait(tuple(self._tasks))

    def p99_ms(self, begin: float, end: float) -> float:
        durations = [seconds for due, seconds in self.durations if begin <= due < end]
        return round(percentile(durations, 99) * 1000, 2) if durations else 0.0

    def worst_ms(self, begin: float, end: float) -> int:
        return round(max(seconds for due, seconds in self.durations if begin <= due < end) * 1000)

    def recovery_s(self, begin: float, end: float, bound_ms: float) -> float:
        """Return the seconds from `begin` to the end of the last second whose p99 is above `bound_ms`."""
        starts = [begin + STEP_S * n for n in range(int((end - begin) / STEP_S) - 1)]
        late = [start for start in starts if self.p99_ms(start, start + 1) > bound_ms]
        return round(late[-1] + 1 - begin, 1) if late else 0.0


async def restart_server(balancer: Balancer, server: Process, settings: Settings) -> Process:
    server.send(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait_end) == 0
    balancer.targets.remove(address(server))
    after = await asyncio.to_thread(spawn_server, settings)
    balancer.targets.append(address(after))
    return after


async def measure(
    parts: Parts, servers: list[Process], settings: Settings, clients: int, commands_per_s: float
) -> dict[str, Any]:
    sessions = [await start_session(parts) for _ in range(clients)]
    async with run_balancer([address(each) for each in servers]) as balancer, AsyncExitStack() as stack:
        watches = await connect_watchers(stack, balancer.http_url, sessions, clients)
        load = Load(watches, commands_per_s)
        senders = load.start()
        began = time.perf_counter()
        await asyncio.sleep(BEFORE_S)
        restarted_at = []
        for number, server in enumerate(servers):
            restarted_at.append(time.perf_counter())
            servers[number] = await restart_server(balancer, server, settings)
            await asyncio.sleep(max(0.0, restarted_at[-1] + BETWEEN_S - time.perf_counter()))
        ended = time.perf_counter()
        for task in senders:
            task.cancel()
        await load.finish()
        for watch in watches:
            async with asyncio.timeout(10):
                await watch.reach(load.versions[watch.session_id])
    before_ms = load.p99_ms(began + 1, restarted_at[0])
    spans = list(zip(restarted_at, [*restarted_at[1:], ended], strict=True))
    return {
        "commands": len(load.durations),
        "p99_before_ms": before_ms,
        "p99_back_after_s": [load.recovery_s(begin, end, ALLOWED_RATIO * before_ms) for begin, end in spans],
        "worst_ms": [load.worst_ms(begin, end) for begin, end in spans],
        "p99_by_second_ms": [
            [load.p99_ms(begin + n, begin + n + 1) for n in range(int(BETWEEN_S))] for begin, _ in spans
        ],
    }


async def run(clients: int, commands_per_s: float) -> dict[str, Any]:
    servers: list[Process] = []
    with valkey_only(rate_limit_general=1_000_000, rate_limit_switch=1_000_000, client_work_factor=1_000) as settings:
        try:
            servers += await asyncio.gather(*(asyncio.to_thread(spawn_server, settings) for _ in range(INSTANCES)))
            async with open_parts(settings) as parts:
                figures = await measure(parts, servers, settings, clients, commands_per_s)
        finally:
            for server in servers:
                server.kill()
    return {"clients": clients, "commands_per_s": commands_per_s, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests rolling_restart", description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rate", type=float, default=300, help="commands per second, of all clients together")
    options = parser.parse_args()
    log.configure_logging("critical")
    print_result("rolling_restart", uvloop.run(run(options.clients, options.rate)))
