"""Presence of many sessions: two instances, every session watched on both, one instance killed by -9.

One line for each phase: joining, a time when nobody comes or goes, a word between the instances that got lost (each
looks at everything again), and the kill. Says how long it took until every watcher knew the right number, what Redis
was asked (presence's part alone, and everything), the first server's processor time, and how late its event loop was at
worst, by its own metric.
"""

import argparse
import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import redis.asyncio
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from loadtests.started import started
from loadtests.stores import valkey_alone
from synckairos.store.keys import Keys
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server
from tests.waiting import eventually

V3 = Subprotocol("synckairos.v3")
A_SOCKET = 32
SOCKETS_AT_ONCE = 20
DEADLINE_S = 60
# Nobody else asks for these while no session changes.
_PRESENCE = ("hset", "hdel", "hgetall", "expire", "publish")
_TICKS_A_SECOND = 100


class Watchers:
    """Clients of one instance that together watch every session, and how many clients each was last told of."""

    def __init__(self, server: Process, session_ids: list[str]) -> None:
        self._url = server.ws_url
        self._session_ids = session_ids
        self._told: dict[str, int] = {}

    async def join(self, group: asyncio.TaskGroup) -> None:
        parts = [self._session_ids[at : at + A_SOCKET] for at in range(0, len(self._session_ids), A_SOCKET)]
        for at in range(0, len(parts), SOCKETS_AT_ONCE):
            sockets = await asyncio.gather(*(self._subscribe(part) for part in parts[at : at + SOCKETS_AT_ONCE]))
            for socket in sockets:
                group.create_task(self._hear(socket))

    async def all_know(self, clients: int) -> None:
        async def look() -> bool:
            return sum(count == clients for count in self._told.values()) == len(self._session_ids)

        await eventually(look, DEADLINE_S)

    async def _subscribe(self, session_ids: list[str]) -> ClientConnection:
        socket = await connect(self._url, subprotocols=[V3], compression=None, max_queue=None, proxy=None)
        for session_id in session_ids:
            await socket.send(f'{{"type":"SUBSCRIBE","session_id":"{session_id}"}}')
        return socket

    async def _hear(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                if str(message).startswith('{"type":"PRESENCE"'):
                    told = orjson.loads(message)
                    self._told[told["session_id"]] = told["clients"]
        except ConnectionClosed:
            pass  # its instance was killed


class Meter:
    """What a phase costs the store and the first server."""

    def __init__(self, store: redis.asyncio.Redis, server: Process) -> None:
        self._store = store
        self._server = server

    @asynccontextmanager
    async def phase(self, name: str, **facts: Any) -> AsyncIterator[dict[str, Any]]:
        before, began_s = await self._look(), time.perf_counter()
        yield facts
        took_s = time.perf_counter() - began_s
        after = await self._look()
        asked, presence, took_cpu_s = (after[each] - before[each] for each in ("asked", "presence", "cpu_s"))
        late = {bound: after["late"][bound] - count for bound, count in before["late"].items()}
        facts |= {
            "phase": name,
            "took_s": round(took_s, 2),
            "redis_commands_a_second": round(asked / took_s),
            "of_them_presence": round(presence / took_s),
            "server_cpu": round(took_cpu_s / took_s, 3),
            "loop_late_at_most_ms": 1000 * min(bound for bound, count in late.items() if count == late[float("inf")]),
        }
        print(json.dumps({"benchmark": "presence", **facts}), flush=True)

    async def _look(self) -> dict[str, Any]:
        commands = await self._store.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in commands.items()}
        async with httpx.AsyncClient(base_url=self._server.base_url, trust_env=False) as client:
            text = (await client.get("/metrics")).text
        found = re.findall(r'synckairos_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
        return {
            "asked": sum(calls.values()),
            "presence": sum(calls.get(name, 0) for name in _PRESENCE),
            "cpu_s": cpu_s(self._server.pid),
            "late": {float(bound): float(count) for bound, count in found},
        }


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


async def make(parts: Parts, count: int) -> list[str]:
    made: list[str] = []
    while len(made) < count:
        made += await asyncio.gather(*(started(parts) for _ in range(min(200, count - len(made)))))
    return made


async def run(sessions: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        settings = stack.enter_context(valkey_alone())
        async with open_parts(settings) as parts:
            session_ids = await make(parts, sessions)
        staying, doomed = [await asyncio.to_thread(spawn_server, settings) for _ in range(2)]
        stack.callback(staying.stop)
        stack.callback(doomed.stop)
        store = redis.asyncio.Redis.from_url(settings.redis_url)
        stack.push_async_callback(store.aclose)
        meter = Meter(store, staying)
        here, there = (Watchers(server, session_ids) for server in (staying, doomed))
        async with asyncio.TaskGroup() as group:
            async with meter.phase("joining", sessions=sessions):
                await here.join(group)
                await there.join(group)
                await here.all_know(2)
                await there.all_know(2)
            async with meter.phase("quiet"):
                await asyncio.sleep(seconds)
            async with meter.phase("a word lost"):
                await store.incr(Keys(settings.key_prefix).presence_changes)
                await asyncio.sleep(5)
            async with meter.phase("killed"):
                doomed.kill()
                await here.all_know(1)
            staying.kill()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests presence", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=110, help="of quiet; all is written again every 100 s")
    options = parser.parse_args()
    uvloop.run(run(options.sessions, options.seconds))
