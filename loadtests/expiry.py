"""Load test of expiry: the delay from a deadline to its commit, for thousands of sessions without clients.

The outbox has both instants: the id of an entry is the Redis time of the commit, and the entry contains the deadline.
The deadlines of the first run are spread over a minute. The deadlines of the second run are within one second. With
`--instances 3 --kill` the load test kills each instance with SIGKILL and starts it again, one after the other. The
first kill is in the middle of the burst.

With `--individual` the deadlines are those of 1,000 participants of one session, and `ok` says if the 99th percentile
of the lateness is at most 50 ms, and if a watcher of one row gets at most 2 KiB for each change.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable
from typing import Any

import uvloop

from loadtests.individual_expiry import run_individual
from loadtests.outbox_events import read_outbox_events
from loadtests.report import percentile, print_result
from loadtests.stores import valkey_only
from synckairos.clock.commands import Create
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server
from tests.waiting import eventually

BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 2000)
KILL_EVERY_S = 2.0
PARALLEL_STARTS = 64
EXPIRED_BEFORE_KILL = 1_000
"""Number of expired sessions of the burst after which the first instance is killed."""


async def start_sessions(parts: Parts, count: int, first_ms: int, spread_ms: int) -> None:
    """Start sessions with random deadlines, from about `first_ms` after this call until `spread_ms` later."""
    began_ms = await parts.sessions.now_ms()
    offsets_ms = sorted(random.uniform(0, spread_ms) for _ in range(count))

    async def start(offset_ms: float) -> None:
        # The budget sets the deadline. Subtract the time that the start of earlier sessions has taken.
        left_ms = began_ms + first_ms + int(offset_ms) - await parts.sessions.now_ms()
        spec = Create(SyncMode.GLOBAL, total_time_ms=max(1_000, left_ms))
        await parts.start_session(spec)

    for first in range(0, count, PARALLEL_STARTS):
        await asyncio.gather(*(start(offset_ms) for offset_ms in offsets_ms[first : first + PARALLEL_STARTS]))


async def expiry_delays(parts: Parts) -> list[int]:
    """Return the delays of all expiries in milliseconds, sorted. Fail if a session expired twice."""
    late: dict[str, int] = {}
    for event in await read_outbox_events(parts):
        if event.fields["event_type"] == "session_expired":
            assert event.session_id not in late, f"{event.session_id} expired twice"
            late[event.session_id] = event.lateness_ms
    return sorted(late.values())


async def run(sessions: int, first_ms: int, spread_ms: int, instances: int, kill: bool) -> dict[str, Any]:
    """Run one time on a new store. Return the figures."""
    servers: list[Process] = []
    with valkey_only(log_level="error", redis_timeout_s=30) as settings:
        try:
            async with open_parts(settings) as parts:
                servers = [spawn_server(settings) for _ in range(instances)]
                await start_sessions(parts, sessions, first_ms, spread_ms)
                killer = None
                if kill:
                    may_start = _wait_for_expiries(parts, sessions) if spread_ms <= 1_000 else asyncio.sleep(0)
                    killer = asyncio.create_task(_kill_in_turn(servers, settings, may_start))

                async def have_all_expired(parts: Parts = parts) -> bool:
                    return not await parts.pipe.call("ZCARD", parts.store.keys.live_sessions(0))

                await eventually(have_all_expired, deadline_s=600)
                if killer is not None:
                    killer.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await killer
                delays_ms = await expiry_delays(parts)
        finally:
            for server in servers:
                server.kill()
    counts = [sum(ms <= bound for ms in delays_ms) for bound in BUCKETS_MS]
    return {
        "sessions": sessions,
        "expired": len(delays_ms),
        "instances": instances,
        "killed_meanwhile": kill,
        "spread_ms": spread_ms,
        "p50_ms": percentile(delays_ms, 50),
        "p99_ms": percentile(delays_ms, 99),
        "max_ms": max(delays_ms),
        "at_most_ms": dict(zip(map(str, BUCKETS_MS), counts, strict=True)),
    }


async def _wait_for_expiries(parts: Parts, sessions: int) -> None:
    """Wait until `EXPIRED_BEFORE_KILL` sessions of a burst have expired."""

    async def have_expired() -> bool:
        live: int = await parts.pipe.call("ZCARD", parts.store.keys.live_sessions(0))
        return live < sessions - EXPIRED_BEFORE_KILL

    await eventually(have_expired, deadline_s=600)


async def _kill_in_turn(servers: list[Process], settings: Settings, may_start: Awaitable[None]) -> None:
    """Kill one server after the other, and start each again. Wait for `may_start` before the first kill."""
    await may_start
    for number in itertools.cycle(range(len(servers))):
        servers[number].kill()
        servers[number] = await asyncio.to_thread(spawn_server, settings)
        await asyncio.sleep(KILL_EVERY_S)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests expiry", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--spread-s", type=float, default=60)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="kill one instance after the other with SIGKILL, every 2 s")
    parser.add_argument("--individual", action="store_true", help="measure the individual clocks of one session")
    parser.add_argument("--participants", type=int, default=1_000, help="participants of --individual")
    parser.add_argument("--step-ms", type=int, default=20, help="time between two deadlines of --individual")
    options = parser.parse_args()
    if options.individual:
        print_result("expiry individual", uvloop.run(run_individual(options.participants, options.step_ms)))
        return
    # The start of all sessions takes time on a small machine. All deadlines must be later than the end of this start.
    first_ms = 5_000 + options.sessions * 2
    for spread_ms in (int(options.spread_s * 1000), 1_000):
        figures = uvloop.run(run(options.sessions, first_ms, spread_ms, options.instances, options.kill))
        print_result("expiry", figures)
