"""Lateness of expiry: thousands of running sessions, nobody connected, no request; how late is each commit?

The outbox tells: the id of an entry is Redis' own time at the commit, the entry carries the deadline. Two runs: the
deadlines spread over a while, and all of them within one second. With `--instances 3 --kill` one instance after the
other is killed by -9 and started again meanwhile, the first one in the middle of the burst.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable
from typing import Any

import orjson
import uvloop

from loadtests.started import NOBODY
from loadtests.stores import valkey_alone
from loadtests.telling import percentile, tell
from synckairos.clock.commands import Create, Start
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server
from tests.waiting import eventually

BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 2000)
KILL_EVERY_S = 2.0
AT_ONCE = 64
BEGUN = 1_000
"""Sessions over in a burst when the first instance is killed."""


async def start_sessions(parts: Parts, count: int, first_ms: int, spread_ms: int) -> None:
    """Start sessions whose deadlines lie at random in `spread_ms` from about `first_ms` from now."""
    began_ms = await parts.sessions.now_ms()
    due = sorted(random.uniform(0, spread_ms) for _ in range(count))

    async def start(offset_ms: float) -> None:
        # Where a deadline falls is decided by its budget, and that by how long setting up took so far.
        left_ms = began_ms + first_ms + int(offset_ms) - await parts.sessions.now_ms()
        spec = Create(SyncMode.GLOBAL, total_time_ms=max(1_000, left_ms))
        session_id = (await parts.sessions.create(CreateRequest(NOBODY, spec))).session.session_id
        await parts.sessions.execute(CommandRequest(NOBODY, session_id, Start(), "start"))

    for at in range(0, count, AT_ONCE):
        await asyncio.gather(*(start(offset_ms) for offset_ms in due[at : at + AT_ONCE]))


async def lateness(parts: Parts) -> list[int]:
    """Return how late each expiry was committed, in ms, sorted; fails where one is missing or happened twice."""
    entries: list[Any] = await parts.pipe.call("XRANGE", parts.store.keys.outbox(0), "-", "+")
    late: dict[str, int] = {}
    for entry_id, fields in entries:
        entry = dict(zip(fields[::2], fields[1::2], strict=True))
        event = orjson.loads(entry[b"event"])
        if event["event_type"] == "session_expired":
            session_id = entry[b"session_id"].decode()
            assert session_id not in late, f"{session_id} expired twice"
            late[session_id] = int(entry_id.split(b"-")[0]) - event["occurred_at_ms"]
    return sorted(late.values())


async def run(sessions: int, first_ms: int, spread_ms: int, instances: int, kill: bool) -> dict[str, Any]:
    """Run once on a store of its own; return the figures."""
    servers: list[Process] = []
    with valkey_alone(log_level="error", redis_timeout_s=30) as settings:
        try:
            async with open_parts(settings) as parts:
                servers = [spawn_server(settings) for _ in range(instances)]
                await start_sessions(parts, sessions, first_ms, spread_ms)
                killer = None
                if kill:
                    began = _begun(parts, sessions) if spread_ms <= 1_000 else asyncio.sleep(0)
                    killer = asyncio.create_task(_kill_in_turn(servers, settings, began))

                async def all_over(parts: Parts = parts) -> bool:
                    return not await parts.pipe.call("ZCARD", parts.store.keys.live_sessions(0))

                await eventually(all_over, deadline_s=600)
                if killer is not None:
                    killer.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await killer
                late = await lateness(parts)
        finally:
            for server in servers:
                server.kill()
    counts = [sum(ms <= bound for ms in late) for bound in BUCKETS_MS]
    return {
        "sessions": sessions,
        "expired": len(late),
        "instances": instances,
        "killed_meanwhile": kill,
        "spread_ms": spread_ms,
        "p50_ms": percentile(late, 50),
        "p99_ms": percentile(late, 99),
        "max_ms": max(late),
        "at_most_ms": dict(zip(map(str, BUCKETS_MS), counts, strict=True)),
    }


async def _begun(parts: Parts, sessions: int) -> None:
    """Wait until some sessions have expired."""

    async def some_are_over() -> bool:
        live: int = await parts.pipe.call("ZCARD", parts.store.keys.live_sessions(0))
        return live < sessions - BEGUN

    await eventually(some_are_over, deadline_s=600)


async def _kill_in_turn(servers: list[Process], settings: Settings, began: Awaitable[None]) -> None:
    """Kill one after the other from when it `began`, and start it again."""
    await began
    for at in itertools.cycle(range(len(servers))):
        servers[at].kill()
        servers[at] = await asyncio.to_thread(spawn_server, settings)
        await asyncio.sleep(KILL_EVERY_S)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests expiry", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--spread-s", type=float, default=60)
    parser.add_argument("--instances", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="kill one instance after the other by -9 every 2 s")
    options = parser.parse_args()
    # Setting up takes a while on a small machine; no deadline may fall before it is done.
    first_ms = 5_000 + options.sessions * 2
    for spread_ms in (int(options.spread_s * 1000), 1_000):
        figures = uvloop.run(run(options.sessions, first_ms, spread_ms, options.instances, options.kill))
        tell("expiry", figures)
