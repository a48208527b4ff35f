"""Load test of presence with many sessions: two instances, with watchers of each session on both; one is killed.

Prints one line for each phase. All watchers join. No watcher joins or leaves. A message between the instances is lost,
so that each instance reads all counts again. One instance is killed with SIGKILL. The figures of a phase are the time
until each watcher had the right number, the commands to Redis (of presence and of all components), the processor time
of the first server, and the largest delay of the server's event loop, from its metric.
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

from loadtests.sessions import start_session
from loadtests.stores import valkey_only
from synckairos.store.keys import Keys
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server
from tests.waiting import eventually

V3 = Subprotocol("synckairos.v3")
SESSIONS_PER_SOCKET = 32
PARALLEL_SOCKETS = 20
DEADLINE_S = 60
# Only presence sends these commands if no session changes.
_PRESENCE_COMMANDS = ("hset", "hdel", "hgetall", "expire", "publish")
_TICKS_PER_S = 100


class Watchers:
    """Clients of one instance that together watch all sessions, with the newest client count of each session."""

    def __init__(self, server: Process, session_ids: list[str]) -> None:
        self._url = server.ws_url
        self._session_ids = session_ids
        self._clients: dict[str, int] = {}

    async def subscribe_all(self, group: asyncio.TaskGroup) -> None:
        parts = [
            self._session_ids[at : at + SESSIONS_PER_SOCKET]
            for at in range(0, len(self._session_ids), SESSIONS_PER_SOCKET)
        ]
        for at in range(0, len(parts), PARALLEL_SOCKETS):
            sockets = await asyncio.gather(*(self._subscribe(part) for part in parts[at : at + PARALLEL_SOCKETS]))
            for socket in sockets:
                group.create_task(self._receive(socket))

    async def wait_for_number(self, clients: int) -> None:
        """Wait until the client count of each session is `clients`."""

        async def is_reached() -> bool:
            return sum(count == clients for count in self._clients.values()) == len(self._session_ids)

        await eventually(is_reached, DEADLINE_S)

    async def _subscribe(self, session_ids: list[str]) -> ClientConnection:
        socket = await connect(self._url, subprotocols=[V3], compression=None, max_queue=None, proxy=None)
        for session_id in session_ids:
            await socket.send(f'{{"type":"SUBSCRIBE","session_id":"{session_id}"}}')
        return socket

    async def _receive(self, socket: ClientConnection) -> None:
        try:
            async for message in socket:
                if str(message).startswith('{"type":"PRESENCE"'):
                    presence = orjson.loads(message)
                    self._clients[presence["session_id"]] = presence["clients"]
        except ConnectionClosed:
            pass  # the instance of this socket was killed


class Meter:
    """Measurement of a phase: the load on the store and on the first server."""

    def __init__(self, store: redis.asyncio.Redis, server: Process) -> None:
        self._store = store
        self._server = server

    @asynccontextmanager
    async def phase(self, name: str, **facts: Any) -> AsyncIterator[dict[str, Any]]:
        before, began_s = await self._read_counters(), time.perf_counter()
        yield facts
        took_s = time.perf_counter() - began_s
        after = await self._read_counters()
        commands, presence, took_cpu_s = (after[each] - before[each] for each in ("commands", "presence", "cpu_s"))
        late = {bound: after["late"][bound] - count for bound, count in before["late"].items()}
        facts |= {
            "phase": name,
            "took_s": round(took_s, 2),
            "redis_commands_per_s": round(commands / took_s),
            "presence_commands_per_s": round(presence / took_s),
            "server_cpu": round(took_cpu_s / took_s, 3),
            "loop_delay_at_most_ms": 1000 * min(bound for bound, count in late.items() if count == late[float("inf")]),
        }
        print(json.dumps({"benchmark": "presence", **facts}), flush=True)

    async def _read_counters(self) -> dict[str, Any]:
        statistics = await self._store.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in statistics.items()}
        async with httpx.AsyncClient(base_url=self._server.base_url, trust_env=False) as client:
            text = (await client.get("/metrics")).text
        found = re.findall(r'synckairos_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
        return {
            "commands": sum(calls.values()),
            "presence": sum(calls.get(name, 0) for name in _PRESENCE_COMMANDS),
            "cpu_s": cpu_s(self._server.pid),
            "late": {float(bound): float(count) for bound, count in found},
        }


def cpu_s(pid: int) -> float:
    """Return the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


async def start_sessions(parts: Parts, count: int) -> list[str]:
    made: list[str] = []
    while len(made) < count:
        made += await asyncio.gather(*(start_session(parts) for _ in range(min(200, count - len(made)))))
    return made


async def run(sessions: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        settings = stack.enter_context(valkey_only())
        async with open_parts(settings) as parts:
            session_ids = await start_sessions(parts, sessions)
        staying, doomed = [await asyncio.to_thread(spawn_server, settings) for _ in range(2)]
        stack.callback(staying.stop)
        stack.callback(doomed.stop)
        store = redis.asyncio.Redis.from_url(settings.redis_url)
        stack.push_async_callback(store.aclose)
        meter = Meter(store, staying)
        here, there = (Watchers(server, session_ids) for server in (staying, doomed))
        async with asyncio.TaskGroup() as group:
            async with meter.phase("joining", sessions=sessions):
                await here.subscribe_all(group)
                await there.subscribe_all(group)
                await here.wait_for_number(2)
                await there.wait_for_number(2)
            async with meter.phase("idle"):
                await asyncio.sleep(seconds)
            async with meter.phase("lost message"):
                await store.incr(Keys(settings.key_prefix).presence_message_count)
                await asyncio.sleep(5)
            async with meter.phase("killed"):
                doomed.kill()
                await here.wait_for_number(1)
            staying.kill()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests presence", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument(
        "--seconds",
        type=float,
        default=110,
        help="seconds of the idle phase",
    )
    options = parser.parse_args()
    uvloop.run(run(options.sessions, options.seconds))
