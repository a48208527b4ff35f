"""Watchers whose instance was killed by -9 go on at another one: how many by deltas, and when all are current.

All watch by `synckairos.client`, through a balancer. While nobody can be reached each session changes some times; then
the other instance can be, and the clock runs until each watcher has its session's newest version.
"""

import argparse
import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import uvloop

from loadtests.started import NOBODY, started
from loadtests.stores import valkey_alone
from loadtests.telling import percentile, tell
from synckairos.client import Client
from synckairos.client.watch import Watch
from synckairos.clock.commands import Switch
from synckairos.service.requests import CommandRequest
from synckairos.telemetry import log
from tests.balancer import run_balancer
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

CONNECTS_AT_ONCE = 50


class Follower:
    """A watcher: when it was current again, and whether it was told all that it had missed."""

    def __init__(self, watch: Watch) -> None:
        self.is_whole = True
        self.current_at = 0.0
        self._watch = watch

    async def until(self, version: int) -> None:
        before = self._watch.state.version
        async for update in self._watch.updates():
            self.is_whole &= not update.has_gap and update.state.version <= before + 1
            before = update.state.version
            if before >= version:
                self.current_at = time.perf_counter()
                return


async def watchers(stack: AsyncExitStack, url: str, sessions: list[str], count: int) -> list[Watch]:
    """Connect watchers, spread over the sessions."""

    async def watch(session_id: str) -> Watch:
        client = await stack.enter_async_context(Client(url))
        return await stack.enter_async_context(client.watch(session_id))

    found: list[Watch] = []
    for at in range(0, count, CONNECTS_AT_ONCE):
        few = range(at, min(at + CONNECTS_AT_ONCE, count))
        found += await asyncio.gather(*(watch(sessions[each % len(sessions)]) for each in few))
    return found


async def measure(parts: Parts, servers: list[Process], options: argparse.Namespace) -> dict[str, Any]:
    doomed, other = servers
    sessions = [await started(parts) for _ in range(options.sessions)]
    async with run_balancer([address(doomed)]) as balancer, AsyncExitStack() as stack:
        watches = await watchers(stack, balancer.http_url, sessions, options.watchers)
        followers = [Follower(watch) for watch in watches]
        following = [asyncio.create_task(each.until(2 + options.missed)) for each in followers]
        balancer.targets.clear()
        killed_at = time.perf_counter()
        await asyncio.to_thread(doomed.kill)
        for _ in range(options.missed):
            for session_id in sessions:
                await parts.sessions.execute(CommandRequest(NOBODY, session_id, Switch(), "switch"))
        reachable_at = time.perf_counter()
        balancer.targets.append(address(other))
        async with asyncio.timeout(60):
            await asyncio.gather(*following)
    took = [each.current_at - reachable_at for each in followers]
    whole = sum(each.is_whole for each in followers)
    return {
        "unreachable_s": round(reachable_at - killed_at, 2),
        "recovered_by_deltas": whole,
        "recovered_by_state": len(followers) - whole,
        "current_p50_s": round(percentile(took, 50), 2),
        "current_p99_s": round(percentile(took, 99), 2),
        "all_current_s": round(max(took), 2),
    }


def address(server: Process) -> tuple[str, int]:
    parts = urlsplit(server.base_url)
    return parts.hostname or "", parts.port or 80


async def run(options: argparse.Namespace) -> dict[str, Any]:
    servers: list[Process] = []
    with valkey_alone() as settings:
        try:
            servers = [await asyncio.to_thread(spawn_server, settings) for _ in range(2)]
            async with open_parts(settings) as parts:
                told = await measure(parts, servers, options)
        finally:
            for server in servers:
                server.kill()
    given = {"watchers": options.watchers, "sessions": options.sessions, "missed_versions": options.missed}
    return {**given, **told}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests resume", description=__doc__)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--missed", type=int, default=10, help="versions of each session while nobody can be reached")
    options = parser.parse_args()
    log.configure("critical")
    tell("resume", uvloop.run(run(options)))
