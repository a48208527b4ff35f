"""Load test of attacks: 100 clients switch once a second, with and without an attacker who keeps to the limits.

Each attack of `loadtests.attacks` runs in a separate process. Phases without and with the attack alternate in one run.
The figures of an attack are the latencies of the clients' switches in both kinds of phases, the ratio of their 99th
percentiles (of all rounds, and the median of the ratios of each round), the number of refused switches, the largest
delay of the server's event loop (upper bound of the metric's bucket), the processor time of the server and of the
attacker as a share of one core, the memory that the server gained, and the answers to the attacker. Half of the clients
switch by REST, half by WebSocket. The rate limits have their default values. With `--backlog`, the worker is stopped,
and the outbox contains documents of this many MB.

An attacker has a machine, but here it shares the cores with the server, its stores and the clients. Its process
therefore has the lowest priority (`--nice 19`): it uses processor time that the others leave, and the ratio is the work
that it causes. With `--nice 0` the ratio also contains the processor time that the attacker itself takes from them.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import orjson
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from loadtests.attacks import ATTACKS, V3
from loadtests.http_client import HttpConnection
from loadtests.report import percentile, print_result
from loadtests.stores import valkey_and_postgres
from synckairos.config import Settings
from synckairos.store.connect import make_redis_client
from synckairos.store.keys import Keys
from tests.processes import Process, spawn_server

CLIENTS = 100
LARGE_SESSIONS = 20
LARGE_SWITCHES = 198
NAME_BYTES = 300


@dataclass(frozen=True, slots=True)
class Victims:
    """The ids that the attacker uses: a large session, a participant of it, and a session with an invalid document."""

    large_id: str
    participant_id: str
    broken_id: str


class RestPlayer:
    """A client that switches its session by REST."""

    def __init__(self, connection: HttpConnection, session_id: str) -> None:
        self._connection = connection
        self._path = f"/v1/sessions/{session_id}/switch"

    async def switch(self) -> bool:
        """Switch; return whether the server accepted the switch."""
        status, _ = await self._connection.post(self._path)
        return status == 200


class SocketPlayer:
    """A client that switches its session by WebSocket and watches it."""

    def __init__(self, socket: ClientConnection, session_id: str) -> None:
        self._socket = socket
        self._session_id = session_id
        self._commands = 0

    async def switch(self) -> bool:
        """Switch; return whether the server accepted the switch."""
        self._commands += 1
        command_id = f"press-{self._commands}"
        command = {"type": "COMMAND", "id": command_id, "session_id": self._session_id, "command": "switch", "args": {}}
        await self._socket.send(orjson.dumps(command).decode())
        while (answer := orjson.loads(await self._socket.recv())).get("reply_to") != command_id:
            pass
        accepted: bool = answer["type"] == "ACK"
        return accepted


class Presses:
    """Switches of all clients in one kind of phase: latencies of accepted switches, and number of refused switches."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.refused = 0


async def press(player: RestPlayer | SocketPlayer, seconds: float, presses: Presses) -> None:
    """Switch once a second, at a random offset, for `seconds` seconds."""
    began = time.perf_counter()
    due = began + random.random()
    while due < began + seconds:
        await asyncio.sleep(due - time.perf_counter())
        sent = time.perf_counter()
        if await player.switch():
            presses.latencies_ms.append((time.perf_counter() - sent) * 1000)
        else:
            presses.refused += 1
        due = max(due + 1, time.perf_counter())


async def measure(players: list[RestPlayer | SocketPlayer], seconds: float, presses: Presses) -> None:
    """Let all players switch once a second for `seconds` seconds."""
    async with asyncio.timeout(seconds + 120):
        await asyncio.gather(*(press(player, seconds, presses) for player in players))


@asynccontextmanager
async def attack(
    name: str, server: Process, victims: Victims, answers: dict[str, int], nice: int
) -> AsyncIterator[int]:
    """Attack the server during the block. Yield the process id of the attacker.

    Fill `answers` with the number of answers to the attacker by status. `nice` lowers the attacker's priority.
    """
    process = await asyncio.create_subprocess_exec(
        *("nice", "-n", str(nice), sys.executable, "-m", "loadtests.attacks"),
        *(name, server.base_url, server.ws_url, victims.large_id, victims.participant_id, victims.broken_id),
        stdin=PIPE,
        stdout=PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process.pid
        process.stdin.close()
        for status, count in orjson.loads(await process.stdout.readline()).items():
            answers[status] = answers.get(status, 0) + count
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def loop_lag_buckets(server: Process) -> dict[float, float]:
    """Return the numbers of event loop delays up to each bound, by the bound in seconds."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        text = (await client.get("/metrics", timeout=60)).text
    found = re.findall(r'synckairos_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    return {float(bound): float(count) for bound, count in found}


def worst_lag_s(before: dict[float, float], after: dict[float, float]) -> float:
    """Return the smallest bound, in seconds, that no event loop delay between two readings of the metric exceeded."""
    gained = {bound: after[bound] - before.get(bound, 0) for bound in sorted(after)}
    total = max(gained.values())
    return next(bound for bound, count in gained.items() if count == total)


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def processor_s(pid: int) -> float:
    """Return the processor time, in seconds, that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def large_session() -> dict[str, Any]:
    """Return the body of a request that creates a session whose document has nearly the maximum size."""
    participants = [
        {
            "participant_id": str(uuid4()),
            "participant_index": index,
            "total_time_ms": 3_600_000,
            "display_name": "é" * (NAME_BYTES // 2),
        }
        for index in range(1000)
    ]
    return {
        "sync_mode": "per_participant",
        "participants": participants,
        "metadata": {"text": "x" * 32_000},
    }


async def create_sessions(server: Process) -> tuple[list[str], Victims]:
    """Create a small running session for each client, and the sessions of the attacker.

    Return the ids of the small sessions, and those of the attacker. The document of `broken_id` is still valid.
    """
    small = {
        "sync_mode": "per_participant",
        "participants": [
            {"participant_id": str(uuid4()), "participant_index": index, "total_time_ms": 86_400_000}
            for index in range(2)
        ],
    }
    connection = await HttpConnection.open(server.base_url)

    async def create(body: dict[str, Any]) -> str:
        status, answer = await connection.post("/v1/sessions", orjson.dumps(body))
        assert status == 201, answer[:300]
        session_id: str = orjson.loads(answer)["data"]["session_id"]
        status, answer = await connection.post(f"/v1/sessions/{session_id}/start")
        assert status == 200, answer[:300]
        return session_id

    ids = [await create({**small, "session_id": str(uuid4())}) for _ in range(CLIENTS)]
    bodies = [large_session() for _ in range(LARGE_SESSIONS)]
    large = [await create(body) for body in bodies]
    broken_id = await create({**small, "session_id": str(uuid4())})
    for _ in range(LARGE_SWITCHES):
        status, answer = await connection.post(f"/v1/sessions/{large[0]}/switch")
        assert status == 200, answer[:300]
    connection.close()
    return ids, Victims(large[0], bodies[0]["participants"][0]["participant_id"], broken_id)


async def break_session(settings: Settings, session_id: str) -> None:
    """Make the document of a session in Redis invalid."""
    redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
    try:
        key = Keys(settings.key_prefix, settings.partitions).session(session_id)
        await redis.execute_command("HSET", key, "state", "{}")
    finally:
        await redis.aclose()


async def fill_outbox(server: Process, session_id: str, size_mb: int) -> None:
    """Switch a large session until the outbox contains about `size_mb` MB."""
    connection = await HttpConnection.open(server.base_url)
    for _ in range(size_mb * 10 // 7):
        status, answer = await connection.post(f"/v1/sessions/{session_id}/switch")
        assert status == 200, answer[:300]
    connection.close()


@asynccontextmanager
async def open_players(server: Process, session_ids: list[str]) -> AsyncIterator[list[RestPlayer | SocketPlayer]]:
    """Connect one client for each session. Each client has a separate address."""
    address = urlsplit(server.base_url)
    async with AsyncExitStack() as stack:
        players: list[RestPlayer | SocketPlayer] = []
        for number, session_id in enumerate(session_ids):
            local_address = (f"127.0.1.{number + 1}", 0)
            if number % 2:
                socket = await stack.enter_async_context(
                    connect(server.ws_url, subprotocols=[V3], local_addr=local_address, ping_timeout=None)
                )
                players.append(SocketPlayer(socket, session_id))
            else:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: HttpConnection(address.netloc),
                    address.hostname or "",
                    address.port or 80,
                    local_addr=local_address,
                )
                stack.callback(connection.close)
                players.append(RestPlayer(connection, session_id))
        yield players


async def measure_attack(
    name: str,
    server: Process,
    players: list[RestPlayer | SocketPlayer],
    victims: Victims,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Alternate phases without and with the attack. Return the figures of the attack."""
    alone, attacked = Presses(), Presses()
    answers: dict[str, int] = {}
    ratios: list[float] = []
    lag_s = server_alone_s = server_attacked_s = attacker_s = 0.0
    memory_mb = resident_mb(server.pid)
    for _ in range(options.rounds):
        quiet, loud = Presses(), Presses()
        began_s = processor_s(server.pid)
        await measure(players, options.seconds, quiet)
        server_alone_s += processor_s(server.pid) - began_s
        before = await loop_lag_buckets(server)
        async with attack(name, server, victims, answers, options.nice) as attacker:
            began_s, attacker_began_s = processor_s(server.pid), processor_s(attacker)
            await measure(players, options.seconds, loud)
            server_attacked_s += processor_s(server.pid) - began_s
            attacker_s += processor_s(attacker) - attacker_began_s
        lag_s = max(lag_s, worst_lag_s(before, await loop_lag_buckets(server)))
        ratios.append(percentile(loud.latencies_ms, 99) / percentile(quiet.latencies_ms, 99))
        for phase, total in ((quiet, alone), (loud, attacked)):
            total.latencies_ms += phase.latencies_ms
            total.refused += phase.refused
    seconds = options.seconds * options.rounds
    return {
        "attack": name,
        "alone_p50_ms": round(percentile(alone.latencies_ms, 50), 2),
        "alone_p99_ms": round(percentile(alone.latencies_ms, 99), 2),
        "attacked_p50_ms": round(percentile(attacked.latencies_ms, 50), 2),
        "attacked_p99_ms": round(percentile(attacked.latencies_ms, 99), 2),
        "p99_ratio": round(percentile(attacked.latencies_ms, 99) / percentile(alone.latencies_ms, 99), 2),
        "median_p99_ratio": round(statistics.median(ratios), 2),
        "refused": [alone.refused, attacked.refused],
        "worst_loop_lag_s": lag_s,
        "server_cores": [round(server_alone_s / seconds, 2), round(server_attacked_s / seconds, 2)],
        "attacker_cores": round(attacker_s / seconds, 2),
        "memory_gained_mb": round(resident_mb(server.pid) - memory_mb, 1),
        "answers": answers,
    }


async def run(options: argparse.Namespace) -> None:
    async with valkey_and_postgres(durable=False) as (stores, _):
        limits = {
            name: Settings.model_fields[name].default
            for name in ("rate_limit_general", "rate_limit_switch", "client_work_factor")
        }
        settings = stores.model_copy(update={"redis_timeout_s": Settings.model_fields["redis_timeout_s"].default})
        worker = Process("worker", env=settings.to_environment_variables())
        try:
            # The sessions are created by a server without limits.
            server = await asyncio.to_thread(spawn_server, settings)
            try:
                session_ids, victims = await create_sessions(server)
                if options.backlog:
                    worker.send(signal.SIGSTOP)
                    await fill_outbox(server, victims.large_id, options.backlog)
            finally:
                await asyncio.to_thread(server.stop)
            await break_session(settings, victims.broken_id)
            server = await asyncio.to_thread(spawn_server, settings.model_copy(update=limits))
            try:
                async with open_players(server, session_ids) as players:
                    await measure(players, 2, Presses())
                    for name in options.only or ATTACKS:
                        print_result("abuse", await measure_attack(name, server, players, victims, options))
            finally:
                await asyncio.to_thread(server.stop)
        finally:
            await asyncio.to_thread(worker.stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests abuse", description=__doc__)
    parser.add_argument("--only", choices=sorted(ATTACKS), action="append", help="run only this attack")
    parser.add_argument("--seconds", type=float, default=4, help="seconds of each phase")
    parser.add_argument("--rounds", type=int, default=3, help="number of phases without and of phases with each attack")
    parser.add_argument("--nice", type=int, default=19, help="how far the attacker's priority is lowered, 0 to 19")
    parser.add_argument(
        "--backlog", type=int, default=0, metavar="MB", help="MB in the outbox, with the worker stopped"
    )
    uvloop.run(run(parser.parse_args()))
