"""Load test of `synckairos size`: measures its constants, and compares its answers with the measured load.

A server and a worker run on stores of their own. The test creates sessions, switches them without and with a command
id, and watches one of them. It reads the memory of Redis, the tables and the WAL of Postgres, and the processor time of
each process. Bytes are the same on each machine. Processor times are not: compare them with the constants only on a
machine without other work, or give `synckairos size` the factor between both machines.
"""

import argparse
import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import uvloop

from loadtests.compared_servers import run_watchers
from loadtests.http_client import HttpConnection
from loadtests.network_link import LOOPBACK
from loadtests.process_use import processor_s, resident_mb
from loadtests.report import print_result
from loadtests.sessions import DAY_MS
from loadtests.stores import valkey_and_postgres
from synckairos.admin.capacity import (
    STORED_VERSIONS,
    Workload,
    estimate_capacity,
    processor_us_of_switch,
    redis_bytes_of_session,
)
from synckairos.store.shared_connection import RedisPipe
from tests.processes import Process, spawn_server
from tests.waiting import eventually

SWITCHES = STORED_VERSIONS
"""Number of switches of each session, without a command id. Then each session switches as often with a command id."""

CONNECTIONS = 16
UPDATES = 200

LEGEND = {
    "session": "the creation and the start of one session, without its switches",
    "switch": "one switch; switch_with_command_id: the same with an idempotency record in Redis",
    "watched_by_*": "one switch of a session with so many watchers, and the memory of the server for each of them",
    "*_us": "processor time of the process in µs; postgres: of all its connections",
    "ratios": "calculated value divided by the measured value; processor times by the factor of the server",
}

_TABLES = """
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relkind = 'r' AND starts_with(relname, 'sync_')
"""
_WAL = "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"

Values = dict[str, float]


class Measurement:
    """Reads the present values of all stores and processes of the test."""

    def __init__(self, pipe: RedisPipe, postgres: psycopg.AsyncConnection[Any], pids: dict[str, int]) -> None:
        self._pipe = pipe
        self._postgres = postgres
        self._pids = pids

    async def read(self) -> Values:
        """Wait until the outbox is empty, and read all values: bytes, and processor time in µs."""

        async def is_drained() -> bool:
            return bool(await self._pipe.call("XLEN", "sk:{0}:outbox") == 0)

        await eventually(is_drained, 60)
        information: bytes = await self._pipe.call("INFO", "memory")
        used = next(line for line in information.splitlines() if line.startswith(b"used_memory:"))
        found = {"redis_bytes": float(used.partition(b":")[2])}
        for name, statement in (("postgres_bytes", _TABLES), ("wal_bytes", _WAL)):
            row = await (await self._postgres.execute(statement)).fetchone()
            assert row is not None
            found[name] = float(row[0])
        return found | {f"{name}_us": processor_s(pid) * 1e6 for name, pid in self._pids.items()}


async def create_sessions(connection: HttpConnection, count: int, participants: int) -> list[str]:
    """Create and start sessions. Return their ids."""
    ids: list[str] = []
    for _ in range(count):
        people = [{"participant_id": str(uuid4()), "total_time_ms": DAY_MS} for _ in range(participants)]
        body = {"sync_mode": "per_participant", "participants": people}
        status, answer = await connection.post("/v1/sessions", orjson.dumps(body))
        assert status == 201, answer
        ids.append(orjson.loads(answer)["data"]["session_id"])
        status, answer = await connection.post(f"/v1/sessions/{ids[-1]}/start")
        assert status == 200, answer
    return ids


async def switch_all(connections: list[HttpConnection], ids: list[str], *, with_command_id: bool) -> None:
    """Switch each session `SWITCHES` times. Each connection has a share of the sessions."""

    async def switch_share(connection: HttpConnection, share: list[str]) -> None:
        for _ in range(SWITCHES):
            for session_id in share:
                command_id = str(uuid4()) if with_command_id else None
                status, answer = await connection.post(f"/v1/sessions/{session_id}/switch", command_id=command_id)
                assert status == 200, answer

    shares = [ids[first :: len(connections)] for first in range(len(connections))]
    await asyncio.gather(*map(switch_share, connections, shares))


def difference(before: Values, after: Values, count: int) -> Values:
    """Return the differences of two measurements, divided by `count`."""
    return {name: round((after[name] - before[name]) / count, 1) for name in before}


async def watch_session(server: Process, connection: HttpConnection, watchers: int) -> Values:
    """Measure a session with watchers: the processor time of the server for a switch, and its bytes for a watcher."""
    (session_id,) = await create_sessions(connection, 1, 2)
    idle_mb = resident_mb(server.pid)
    async with run_watchers(LOOPBACK, server.ws_url, watchers, session_id) as process:
        bytes_each = (resident_mb(server.pid) - idle_mb) * (1 << 20) / watchers
        began_s = processor_s(server.pid)
        for version in range(3, 3 + UPDATES):
            status, answer = await connection.post(f"/v1/sessions/{session_id}/switch")
            assert status == 200, answer
            await process.wait_for_version(version)
        used_us = (processor_s(server.pid) - began_s) * 1e6 / UPDATES
    return {"server_us": round(used_us, 1), "bytes": round(bytes_each)}


def compare_bytes(sessions: int, participants: int, found: dict[str, Values]) -> Values:
    """Return the answers of the calculator divided by the measured values, without command ids."""
    switches = sessions * SWITCHES
    load = Workload(
        sessions=sessions,
        new_sessions_per_day=sessions,
        switches_per_s=switches / 86_400,
        participants=participants,
        has_command_ids=False,
    )
    answer = estimate_capacity(load)
    session, switch = found["session"], found["switch"]
    redis = session["redis_bytes"] + switch["redis_bytes"] * SWITCHES
    per_day = {name: session[name] * sessions + switch[name] * switches for name in ("postgres_bytes", "wal_bytes")}
    return {
        "redis_bytes": round(redis_bytes_of_session(load) / redis, 2),
        "postgres_bytes": round(answer.postgres_bytes_per_day / per_day["postgres_bytes"], 2),
        "wal_bytes": round(answer.wal_bytes_per_s * 86_400 / per_day["wal_bytes"], 2),
        **compare_processor_times(participants, switch),
    }


def compare_processor_times(participants: int, switch: Values) -> Values:
    """Return the calculated processor times of a switch divided by the measured times.

    The factor of this machine is that of the server.
    """
    server_us, redis_us, worker_us, postgres_us = processor_us_of_switch(participants)
    factor = switch["server_us"] / server_us
    expected = {"redis_us": redis_us, "worker_us": worker_us, "postgres_us": postgres_us}
    ratios = {name: round(factor * each / switch[name], 2) for name, each in expected.items()}
    return {"processor_factor": round(factor, 2), **ratios}


async def run(sessions: int, participants: int, watchers: int) -> dict[str, Any]:
    """Measure all situations. Return the figures by situation, and the ratios."""
    async with AsyncExitStack() as stack:
        settings, postgres = await stack.enter_async_context(valkey_and_postgres())
        stack.callback((worker := Process("worker", env=settings.to_environment_variables())).stop)
        stack.callback((server := spawn_server(settings)).stop)
        pipe = await stack.enter_async_context(RedisPipe(settings.redis_url, 30))
        reader = await psycopg.AsyncConnection.connect(postgres.url, autocommit=True)
        stack.push_async_callback(reader.close)
        information: bytes = await pipe.call("INFO", "server")
        valkey_pid = next(int(line.split(b":")[1]) for line in information.split() if line.startswith(b"process_id:"))
        pids = {"server": server.pid, "worker": worker.pid, "redis": valkey_pid, "postgres": postgres.child.pid}
        measurement = Measurement(pipe, reader, pids)
        connections = [await HttpConnection.open(server.base_url) for _ in range(CONNECTIONS)]
        for connection in connections:
            stack.callback(connection.close)
        await create_sessions(connections[0], 10, participants)
        values = [await measurement.read()]
        ids = await create_sessions(connections[0], sessions, participants)
        values.append(await measurement.read())
        for with_command_id in (False, True):
            await switch_all(connections, ids, with_command_id=with_command_id)
            values.append(await measurement.read())
        counts = {"session": sessions, "switch": sessions * SWITCHES, "switch_with_command_id": sessions * SWITCHES}
        found = {name: difference(values[at], values[at + 1], count) for at, (name, count) in enumerate(counts.items())}
        for count in (1, watchers):
            found[f"watched_by_{count}"] = await watch_session(server, connections[0], count)
    return {**found, "ratios": compare_bytes(sessions, participants, found)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests capacity", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--participants", type=int, default=2)
    parser.add_argument("--watchers", type=int, default=300)
    options = parser.parse_args()
    figures = uvloop.run(run(options.sessions, options.participants, options.watchers))
    print_result("capacity", {"sessions": options.sessions, "participants": options.participants, **figures})
    print_result("capacity legend", LEGEND)
