"""Load test of neighbours: 100 clients of one tenant switch once a second, with and without a tenant at its limits.

The other tenant has limits of its own, which `--limit` changes, and sends more than each of them allows: requests,
presses, creations, lists, time reports, simulations, sockets, and large changes of metadata, which also fill the
outbox. It acts as 50 subjects. `--only` measures single kinds of this work, each by itself. The process of the other
tenant has a low priority, because a tenant has machines of its own, and here it shares the cores with the server.
Phases without and with the other tenant alternate in one run. The figures are the latencies of the switches of the 100
clients in both kinds of phases, the ratio of their 99th percentiles (of all rounds, and the median of the ratios of
each round), the number of refused switches, the processor time of each process in both kinds of phases, and the answers
to the other tenant by status or close code. Goal: a ratio of at most 2.
"""

import argparse
import asyncio
import statistics
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvloop
from pydantic import SecretStr

from loadtests.attacked_sessions import CLIENTS, create_running_session, small_session
from loadtests.http_client import HttpConnection
from loadtests.noisy_tenant import KINDS, TENANT
from loadtests.players import Presses, RestPlayer, SocketPlayer, measure, open_players
from loadtests.priority import lower_priority
from loadtests.process_use import ProcessorUse, processor_s
from loadtests.report import percentile, print_result
from loadtests.revoke import SECRET, make_token
from loadtests.stores import redis_pid, valkey_and_postgres
from synckairos.admin.tenants import parse_limits
from synckairos.config import Settings
from synckairos.postgres.pool import PostgresPool
from synckairos.tenants.table import NewTenant, TenantTable
from tests.processes import Process, spawn_server

LIMITS = (
    "live_sessions=2000",
    "sockets=200",
    "sockets_per_subject=8",
    "requests_per_min=6000",
    "presses_per_s=200",
    "simulations_per_min=60",
)
"""Limits of the other tenant."""

SETTLE_S = 2
"""Seconds until the budgets of the other tenant are used up, after it has all its connections."""


@asynccontextmanager
async def noise(
    server: Process, players: list[RestPlayer | SocketPlayer], kinds: Sequence[str], answers: dict[str, int]
) -> AsyncIterator[int]:
    """Run the other tenant during the block, with these kinds of work. Yield the id of its process.

    The players switch until the other tenant has its connections, because shares bind only beside active tenants.
    Fill `answers` with the number of its answers by status.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtests.noisy_tenant", server.base_url, server.ws_url, *kinds),
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,  # for a priority of its own
    )
    lower_priority(process.pid)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready = asyncio.create_task(process.stdout.readline())
        while not ready.done():
            await measure(players, 1, Presses())
        assert await ready == b"ready\n"
        await measure(players, SETTLE_S, Presses())
        yield process.pid
        process.stdin.close()
        for status, count in orjson.loads(await process.stdout.readline()).items():
            answers[status] = answers.get(status, 0) + count
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure_neighbours(
    server: Process,
    players: list[RestPlayer | SocketPlayer],
    kinds: Sequence[str],
    others: Mapping[str, int],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Alternate phases without and beside the other tenant with these kinds of work. Return the figures.

    `others` has the process ids of the worker and of the stores by name.
    """
    alone, beside = Presses(), Presses()
    answers: dict[str, int] = {}
    ratios: list[float] = []
    noise_s = 0.0
    use = ProcessorUse({"server": server.pid, **others})
    for _ in range(options.rounds):
        quiet, loud = Presses(), Presses()
        use.begin_phase()
        await measure(players, options.seconds, quiet)
        use.end_phase(0)
        async with noise(server, players, kinds, answers) as noise_pid:
            use.begin_phase()
            noise_began_s = processor_s(noise_pid)
            await measure(players, options.seconds, loud)
            use.end_phase(1)
            noise_s += processor_s(noise_pid) - noise_began_s
        ratios.append(percentile(loud.latencies_ms, 99) / percentile(quiet.latencies_ms, 99))
        for phase, total in ((quiet, alone), (loud, beside)):
            total.latencies_ms += phase.latencies_ms
            total.refused += phase.refused
    seconds = options.seconds * options.rounds
    return {
        "work": " ".join(kinds),
        "alone_p50_ms": round(percentile(alone.latencies_ms, 50), 2),
        "alone_p99_ms": round(percentile(alone.latencies_ms, 99), 2),
        "beside_p50_ms": round(percentile(beside.latencies_ms, 50), 2),
        "beside_p99_ms": round(percentile(beside.latencies_ms, 99), 2),
        "p99_ratio": round(percentile(beside.latencies_ms, 99) / percentile(alone.latencies_ms, 99), 2),
        "median_p99_ratio": round(statistics.median(ratios), 2),
        "refused": [alone.refused, beside.refused],
        "cores": use.cores(seconds) | {"other tenant": round(noise_s / seconds, 2)},
        "answers": answers,
    }


async def create_tenant(settings: Settings, limits: tuple[str, ...]) -> None:
    """Create the other tenant, with limits such as `sockets=200`."""
    async with PostgresPool(settings.database_url, "loadtest", max_connections=1) as pool:
        tenant = NewTenant(
            name=TENANT, description="", limit_values=parse_limits(limits), origins=None, created_by="loadtest"
        )
        await TenantTable(pool).add(tenant, 1_750_000_000_000)


async def run(options: argparse.Namespace) -> None:
    async with valkey_and_postgres(durable=False) as (stores, postgres):
        await create_tenant(stores, (*LIMITS, *options.limit))
        defaults = {
            name: Settings.model_fields[name].default
            for name in ("rate_limit_general", "rate_limit_switch", "client_work_factor", "redis_timeout_s")
        }
        settings = stores.model_copy(update={**defaults, "auth": "required", "jwt_secret": SecretStr(SECRET)})
        worker = Process("worker", env=settings.to_environment_variables())
        try:
            server = await asyncio.to_thread(spawn_server, settings)
            try:
                token = make_token("admin")
                connection = await HttpConnection.open(server.base_url, token)
                session_ids = [await create_running_session(connection, small_session()) for _ in range(CLIENTS)]
                connection.close()
                async with open_players(server, session_ids, token) as players:
                    await measure(players, 2, Presses())
                    others = {"worker": worker.pid, "redis": await redis_pid(settings), "postgres": postgres.child.pid}
                    measured: list[tuple[str, ...]] = [(each,) for each in options.only] or [KINDS]
                    for kinds in measured:
                        figures = await measure_neighbours(server, players, kinds, others, options)
                        print_result("neighbours", figures)
            finally:
                await asyncio.to_thread(server.stop)
        finally:
            await asyncio.to_thread(worker.stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests neighbours", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="seconds of each phase")
    parser.add_argument("--rounds", type=int, default=3, help="number of phases of each kind")
    parser.add_argument(
        "--only",
        choices=KINDS,
        action="append",
        default=[],
        help="measure this kind of work by itself; can be repeated",
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="limit of the other tenant",
    )
    uvloop.run(run(parser.parse_args()))
