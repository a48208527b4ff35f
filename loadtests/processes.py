"""Load test of `serve --processes 2` beside `serve`: switches by REST at concurrency 64, on the same stores.

The two servers take turns in short rounds. The load generator, Valkey, Postgres and the worker use the same processors.
So the rate shows the gain only on a machine with more processors than these programs use. The processor time of the
server for one switch does not depend on that: with equal times, two processes do twice the work of one.
"""

import argparse
import asyncio
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from loadtests.http_client import HttpConnection
from loadtests.process_use import processor_s
from loadtests.report import print_result
from loadtests.sessions import start_session_by_rest
from loadtests.stores import server_and_worker, valkey_and_postgres
from loadtests.switch import Latencies, switch_by_rest
from synckairos.process.supervisor import count_processors
from tests.processes import Process

CONCURRENCY = 64
ROUNDS = 6
LEGEND = {
    "one": "a server with one process",
    "two": "a server with --processes 2",
    "server_ms_per_switch": "processor time of all processes of the server, in ms for one switch",
    "rate_two_to_one": "rate with two processes divided by that with one",
    "processors": "processors of the machine, which the stores and the load generator share with the servers",
}


async def run(sessions: int, seconds: float) -> dict[str, Any]:
    """Start stores, a worker and both servers, and measure. Return the figures."""
    async with valkey_and_postgres(durable=False) as (settings, _), AsyncExitStack() as stack:
        one = stack.enter_context(server_and_worker(settings))
        two = Process("serve", "--processes", "2", "--port", "0", env=settings.to_environment_variables())
        stack.callback(two.stop)
        await asyncio.to_thread(two.wait_ready)
        servers = {"one": one, "two": two}
        latencies = {name: Latencies() for name in servers}
        used_s = dict.fromkeys(servers, 0.0)
        switches = {}
        for name, server in servers.items():
            connections = [await HttpConnection.open(server.base_url) for _ in range(CONCURRENCY)]
            for connection in connections:
                stack.callback(connection.close)
            started = [await start_session_by_rest(connections[0]) for _ in range(sessions)]
            switches[name] = [
                switch_by_rest(connection, started[first::CONCURRENCY]) for first, connection in enumerate(connections)
            ]
        for number in range(ROUNDS):
            # The order changes, so that no server always runs after the other.
            for name in sorted(servers, reverse=number % 2 == 1):
                before_s = processor_s(servers[name].pid)
                await latencies[name].run_round(switches[name], seconds / ROUNDS)
                used_s[name] += processor_s(servers[name].pid) - before_s
    figures: dict[str, Any] = {
        name: {**each.figures(), "server_ms_per_switch": round(used_s[name] * 1000 / each.count, 3)}
        for name, each in latencies.items()
    }
    figures["rate_two_to_one"] = round(figures["two"]["per_s"] / figures["one"]["per_s"], 3)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests processes", description=__doc__)
    parser.add_argument("--sessions", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=9, help="seconds of each server")
    options = parser.parse_args()
    figures = uvloop.run(run(options.sessions, options.seconds))
    print_result("processes", {"processors": count_processors(), **figures, "legend": LEGEND})
