"""Load test of resumption after a killed instance: how many watchers resume by deltas, and when all are current.

All watchers use `synckairos_client` through a load balancer. The load test kills their instance with SIGKILL. Each
session changes several times before another instance becomes reachable. The load test measures the time until each
watcher has the newest version of its session.
"""

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import uvloop

from loadtests.report import percentile, print_result
from loadtests.sessions import ANONYMOUS, start_session
from loadtests.stores import valkey_only
from synckairos.clock.commands import Switch
from synckairos.service.requests import CommandRequest
from synckairos.telemetry import log
from synckairos_client import Client
from synckairos_client.watched_session import Watch
from tests.balancer import run_balancer
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

PARALLEL_CONNECTS = 50


class MeasuredWatcher:
    """A watcher, the instant at which it was current again, and whether it received all missed versions."""

    def __init__(self, watch: Watch) -> None:
        self.has_all_versions = True
        self.current_at_s = 0.0
        self._watch = watch

    async def follow_until(self, version: int) -> None:
        """Read updates until the update with the version `version`."""
        before = self._watch.state.version
        async for update in self._watch.updates():
            self.has_all_versions &= not update.has_gap and update.state.version <= before + 1
            before = update.state.version
            if before >= version:
                self.current_at_s = time.perf_counter()
                return


async def connect_watchers(stack: AsyncExitStack, url: str, sessions: list[str], count: int) -> list[Watch]:
    """Connect watchers, and distribute them evenly over the sessions."""

    async def watch(session_id: str) -> Watch:
        client = await stack.enter_async_context(Client(url))
        return await stack.enter_async_context(client.watch(session_id))

    found: list[Watch] = []
    for first in range(0, count, PARALLEL_CONNECTS):
        numbers = range(first, min(first + PARALLEL_CONNECTS, count))
        found += await asyncio.gather(*(watch(sessions[number % len(sessions)]) for number in numbers))
    return found


async def measure(parts: Parts, servers: list[Process], options: argparse.Namespace) -> dict[str, Any]:
    doomed, other = servers
    sessions = [await start_session(parts) for _ in range(options.sessions)]
    async with run_balancer([address(doomed)]) as balancer, AsyncExitStack() as stack:
        watches = await connect_watchers(stack, balancer.http_url, sessions, options.watchers)
        watchers = [MeasuredWatcher(watch) for watch in watches]
        tasks = [asyncio.create_task(each.follow_until(2 + options.missed)) for each in watchers]
        balancer.targets.clear()
        killed_at_s = time.perf_counter()
        await asyncio.to_thread(doomed.kill)
        for _ in range(options.missed):
            for session_id in sessions:
                await parts.sessions.execute(CommandRequest(ANONYMOUS, session_id, Switch(), "switch"))
        reachable_at_s = time.perf_counter()
        balancer.targets.append(address(other))
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)
    took = [each.current_at_s - reachable_at_s for each in watchers]
    by_deltas = sum(each.has_all_versions for each in watchers)
    return {
        "unreachable_s": round(reachable_at_s - killed_at_s, 2),
        "recovered_by_deltas": by_deltas,
        "recovered_by_state": len(watchers) - by_deltas,
        "current_p50_s": round(percentile(took, 50), 2),
        "current_p99_s": round(percentile(took, 99), 2),
        "all_current_s": round(max(took), 2),
    }


def address(server: Process) -> tuple[str, int]:
    """Return the host and the port of a server."""
    parts = urlsplit(server.base_url)
    return parts.hostname or "", parts.port or 80


async def run(options: argparse.Namespace) -> dict[str, Any]:
    servers: list[Process] = []
    with valkey_only() as settings:
        try:
            servers = [await asyncio.to_thread(spawn_server, settings) for _ in range(2)]
            async with open_parts(settings) as parts:
                figures = await measure(parts, servers, options)
        finally:
            for server in servers:
                server.kill()
    parameters = {"watchers": options.watchers, "sessions": options.sessions, "missed_versions": options.missed}
    return {**parameters, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests resume", description=__doc__)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--missed", type=int, default=10, help="missed versions of each session")
    options = parser.parse_args()
    log.configure_logging("critical")
    print_result("resume", uvloop.run(run(options)))
