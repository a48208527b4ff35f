"""Load test of this source tree beside another one: processor time and rate of switches and of updates to watchers.

`--against PATH` is the root of the other tree, for example an earlier commit in another work tree, or a copy of this
tree without a part whose cost is the question. Both servers use the same stores and the same Python packages, and have
their own sessions. They take turns in short rounds, in the order A B B A, so that other load on the machine affects
both equally. The ratio of each round is that of this tree to the other; above 1 this tree takes more. With the path of
this tree itself, the result shows the error of the test.

With `--set NAME=VALUE`, only the server of this tree has this environment variable. So `--against . --set
SYNCKAIROS_TRACE_RATIO=0.01` measures the cost of tracing. The test has a collector that reads all spans and drops them.

The stores must fit both trees: the schema of Postgres and the data in Redis are those of this tree.
"""

import argparse
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import uvloop

from loadtests.compared_servers import ComparedServer, product_server
from loadtests.http_client import HttpConnection
from loadtests.network_link import LOOPBACK
from loadtests.report import print_result
from loadtests.sessions import start_session, start_session_by_rest
from loadtests.stores import valkey_and_postgres
from loadtests.switch import Latencies, switch_by_rest
from synckairos.config import Settings
from tests.integration.parts import open_parts
from tests.processes import Process

THIS_TREE = Path(__file__).parent.parent
LEGEND = {
    "*_processor_us": "processor time of the server for one switch, or for one delivery to a watcher, in µs",
    "*_p50_ms": "median latency of a switch, or until an update has reached all watchers, in ms",
    "ratio_*": "this tree to the other tree, median of the rounds; quartiles_*: a quarter of the rounds is outside",
    "ratio_of_least_*": "the same ratio of the tenths of the rounds with the least; other work only adds to a round",
}

Measured = dict[str, float]
"""The figures of one tree in one round, by name."""


@contextmanager
def server_of(tree: Path, settings: Settings, variables: Mapping[str, str]) -> Iterator[Process]:
    """Run the server of a tree with more environment variables. Yield it when it is ready."""
    env = {**settings.to_environment_variables(), "PYTHONPATH": f"{tree}:{tree / 'clients/python'}", **variables}
    server = Process("serve", "--port", "0", env=env, cwd=tree)
    try:
        yield server.wait_ready()
    finally:
        server.stop()


class _Collector(BaseHTTPRequestHandler):
    """Collector of OpenTelemetry that drops all spans."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def collector() -> Iterator[str]:
    """Run a collector in a thread. Yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def processor_us(pid: int) -> float:
    """Return the processor time that all threads of a process have used, in µs."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1000


class SwitchRounds:
    """Rounds of switches by REST on one server."""

    def __init__(self, server: Process, functions: list[Callable[[], Awaitable[None]]], seconds: float) -> None:
        self._server = server
        self._functions = functions
        self._seconds = seconds

    async def run_round(self) -> Measured:
        latencies, began_us = Latencies(), processor_us(self._server.pid)
        await latencies.run_round(self._functions, self._seconds)
        count = latencies.count
        return {
            "processor_us": (processor_us(self._server.pid) - began_us) / count,
            "p50_ms": latencies.figures()["p50_ms"],
        }


class FanoutRounds:
    """Rounds of updates to many watchers on one server."""

    def __init__(self, server: Process, compared: ComparedServer, watchers: int, updates: int) -> None:
        self._server = server
        self._compared = compared
        self._watchers = watchers
        self._updates = updates

    async def run_round(self) -> Measured:
        began_us, before = processor_us(self._server.pid), len(self._compared.latencies_ms)
        await self._compared.run_round(self._updates)
        deliveries = 2 * self._updates * self._watchers
        return {
            "processor_us": (processor_us(self._server.pid) - began_us) / deliveries,
            "p50_ms": statistics.median(self._compared.latencies_ms[before:]),
        }


Rounds = SwitchRounds | FanoutRounds


async def compare(this: Rounds, other: Rounds, rounds: int) -> dict[str, Any]:
    """Run the rounds of both trees in turn. Return the medians of both, and the ratios."""
    measured: tuple[list[Measured], list[Measured]] = ([], [])
    for each in (this, other):
        await each.run_round()  # the first round warms up
    for number in range(rounds):
        for at in (0, 1) if number % 2 == 0 else (1, 0):
            measured[at].append(await (this, other)[at].run_round())
    figures: dict[str, Any] = {"rounds": rounds}
    for name in measured[0][0]:
        ratios = [mine[name] / others[name] for mine, others in zip(*measured, strict=True)]
        figures[f"this_{name}"], figures[f"other_{name}"] = (
            round(statistics.median(each[name] for each in tree), 3) for tree in measured
        )
        figures[f"ratio_{name}"] = round(statistics.median(ratios), 3)
        least = [statistics.quantiles([each[name] for each in tree], n=10, method="inclusive")[0] for tree in measured]
        figures[f"ratio_of_least_{name}"] = round(least[0] / least[1], 3)
        figures[f"quartiles_{name}"] = [round(each, 3) for each in statistics.quantiles(ratios, n=4)[::2]]
    return figures


async def compare_switches(
    servers: tuple[Process, Process], concurrency: int, sessions: int, rounds: int, seconds: float
) -> dict[str, Any]:
    """Compare switches by REST with this number of connections."""
    async with AsyncExitStack() as stack:
        compared: list[Rounds] = []
        started = []
        for server in servers:
            creator = await HttpConnection.open(server.base_url)
            stack.callback(creator.close)
            started.append([await start_session_by_rest(creator) for _ in range(sessions)])
        # The server closes a connection that sends no request, so these are opened when the sessions have started.
        for server, ids in zip(servers, started, strict=True):
            connections = [await HttpConnection.open(server.base_url) for _ in range(concurrency)]
            for connection in connections:
                stack.callback(connection.close)
            shares = [ids[first::concurrency] for first in range(concurrency)]
            functions = [switch_by_rest(*each) for each in zip(connections, shares, strict=True)]
            compared.append(SwitchRounds(server, functions, seconds))
        return await compare(compared[0], compared[1], rounds)


async def compare_fanout(
    settings: Settings, servers: tuple[Process, Process], watchers: int, updates: int, dialect: str, rounds: int
) -> dict[str, Any]:
    """Compare updates of a session with this number of watchers on each server."""
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings))
        compared: list[Rounds] = []
        for server in servers:
            session_id = await start_session(parts, 2)
            product, _ = await stack.enter_async_context(
                product_server(parts, server, LOOPBACK, session_id, watchers, dialect)
            )
            compared.append(FanoutRounds(server, product, watchers, updates))
        return await compare(compared[0], compared[1], rounds)


@asynccontextmanager
async def servers_of_both_trees(
    against: Path, watchers: int, variables: Mapping[str, str]
) -> AsyncIterator[tuple[Settings, Process, Process]]:
    """Run the servers of this tree and of the other tree on the same stores, with one worker of this tree.

    `variables` are more environment variables of this tree's server.
    """
    async with valkey_and_postgres(durable=False) as (stores, _):
        settings = stores.model_copy(update={"ws_max_connections": watchers + 100})
        worker = Process("worker", env=settings.to_environment_variables(), cwd=THIS_TREE)
        try:
            with (
                collector() as collector_url,
                server_of(THIS_TREE, settings, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector_url, **variables}) as this,
                server_of(against, settings, {}) as other,
            ):
                yield settings, this, other
        finally:
            worker.stop()


async def run(options: argparse.Namespace) -> dict[str, Any]:
    against = options.against.resolve()
    figures: dict[str, Any] = {}
    variables = dict(each.split("=", 1) for each in options.set)
    async with servers_of_both_trees(against, options.watchers, variables) as (settings, *both):
        servers = (both[0], both[1])
        for concurrency in (1, 32):
            name = f"switch_concurrency_{concurrency}"
            figures[name] = await compare_switches(servers, concurrency, 64, options.rounds, options.seconds)
        for dialect in ("v2", "v3"):
            figures[f"fanout_{dialect}"] = await compare_fanout(
                settings, servers, options.watchers, options.updates, dialect, options.rounds
            )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests compare_trees", description=__doc__)
    parser.add_argument("--against", type=Path, required=True, metavar="PATH", help="root of the other source tree")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="environment of this tree")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of each tree and situation")
    parser.add_argument("--seconds", type=float, default=1, help="seconds of each round of switches")
    parser.add_argument("--watchers", type=int, default=500, help="watchers of each server")
    parser.add_argument("--updates", type=int, default=30, help="updates of each kind in a round, for the watchers")
    options = parser.parse_args()
    figures = uvloop.run(run(options))
    print_result("compare_trees", {**figures, "legend": LEGEND})
