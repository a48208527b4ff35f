"""Load test of attacks: 100 clients switch once a second, with and without an attacker who keeps to the limits.

Each attack of `loadtests.attacks` runs in a separate process. Phases without and with the attack alternate in one run.
The figures of an attack are the latencies of the clients' switches in both kinds of phases, the ratio of their 99th
percentiles (of all rounds, and the median of the ratios of each round), the number of refused switches, the largest
delay of the server's event loop (upper bound of the metric's bucket), the processor time of each process as a share of
one core, without and with the attack, the memory that the server gained, and the answers to the attacker. Half of the
clients switch by REST, half by WebSocket. The rate limits have their default values. With `--backlog`, the worker is
stopped, and the outbox contains documents of this many MB.

An attacker has a machine, but here it shares the cores with the server, its stores and the clients. Its process
therefore has the lowest priority (`--nice 19`): it uses processor time that the others leave, and the ratio is the work
that it causes. With `--nice 0` the ratio also contains the processor time that the attacker itself takes from them.
"""

import argparse
import asyncio
import re
import signal
import statistics
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import uvloop

from loadtests.attacked_sessions import Victims, break_session, create_sessions, fill_outbox
from loadtests.attacks import ATTACKS
from loadtests.players import Presses, RestPlayer, SocketPlayer, measure, open_players
from loadtests.process_use import ProcessorUse, processor_s, resident_mb
from loadtests.report import percentile, print_result
from loadtests.stores import redis_pid, valkey_and_postgres
from synckairos.config import Settings
from tests.processes import Process, spawn_server


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


async def measure_attack(
    name: str,
    server: Process,
    players: list[RestPlayer | SocketPlayer],
    victims: Victims,
    others: Mapping[str, int],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Alternate phases without and with the attack. Return the figures of the attack.

    `others` has the process ids of the worker and of the stores by name.
    """
    alone, attacked = Presses(), Presses()
    answers: dict[str, int] = {}
    ratios: list[float] = []
    lag_s = attacker_s = 0.0
    memory_mb = resident_mb(server.pid)
    use = ProcessorUse({"server": server.pid, **others})
    for _ in range(options.rounds):
        quiet, loud = Presses(), Presses()
        use.begin_phase()
        await measure(players, options.seconds, quiet)
        use.end_phase(0)
        before = await loop_lag_buckets(server)
        async with attack(name, server, victims, answers, options.nice) as attacker:
            use.begin_phase()
            attacker_began_s = processor_s(attacker)
            await measure(players, options.seconds, loud)
            use.end_phase(1)
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
        "cores": use.cores(seconds) | {"attacker": round(attacker_s / seconds, 2)},
        "memory_gained_mb": round(resident_mb(server.pid) - memory_mb, 1),
        "answers": answers,
    }


async def run(options: argparse.Namespace) -> None:
    async with valkey_and_postgres(durable=False) as (stores, postgres):
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
                    others = {"worker": worker.pid, "redis": await redis_pid(settings), "postgres": postgres.child.pid}
                    for name in options.only or ATTACKS:
                        print_result("abuse", await measure_attack(name, server, players, victims, others, options))
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
