"""Load test of fan-out: the time from an update of one session until the last of its many watchers has the update.

The server runs in a separate process, as in production. Another instance in this process commits the updates. The
comparison is a plain loop of `write()` over the same number of sockets, with frames of the same size and the same
watcher program. The servers take turns in one run. Latencies are measured with one update at a time, rates with several
unconfirmed updates.

`--dialect v3`, which sends deltas, adds a third server: the same number of v2 watchers of another session on the same
server, which receive full states. `sooner_than_full_states` is the ratio of the two latencies. `--link` connects
servers and watchers by a link with this bandwidth instead of loopback, which is faster than any network.
"""

import argparse
import json
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import uvloop

from loadtests.compared_servers import plain_loop_server, product_server, run_server
from loadtests.network_link import LOOPBACK, Link, create_link
from loadtests.sessions import start_session
from loadtests.stores import valkey_only
from synckairos.principal import TIMEKEEPER
from synckairos.telemetry import log
from tests.integration.parts import open_parts

ENVELOPE_BYTES = 110
"""Bytes of a STATE_UPDATE message in addition to the state."""


async def run(count: int, participants: int, rounds: int, updates: int, dialect: str, link: Link) -> dict[str, Any]:
    """Measure all servers in turn, so that other load on the machine affects all servers equally."""
    reachable = {"host": link.host, "insecure": link is not LOOPBACK}
    async with AsyncExitStack() as stack:
        settings = stack.enter_context(valkey_only(ws_max_connections=2 * count + 100, **reachable))
        parts = await stack.enter_async_context(open_parts(settings))
        session_id = await start_session(parts, participants)
        frame_bytes = len((await parts.sessions.read(TIMEKEEPER, session_id)).snapshot.document) + ENVELOPE_BYTES
        server = await stack.enter_async_context(run_server(settings))
        product, memory_kb = await stack.enter_async_context(
            product_server(parts, server, link, session_id, count, dialect)
        )
        servers = [product, await stack.enter_async_context(plain_loop_server(link, frame_bytes, count))]
        if dialect == "v3":
            full_states, _ = await stack.enter_async_context(
                product_server(parts, server, link, await start_session(parts, participants), count, "v2")
            )
            servers.append(full_states)
        outbox = parts.store.keys.outbox(0), parts.store.keys.outbox_bytes(0)
        for each in servers * (rounds + 1):
            await each.run_round(updates)
            await parts.pipe.call("DEL", *outbox)  # no worker drains the outbox here
        product_figures, plain_figures, *full_figures = [each.figures(count, updates) for each in servers]
    figures: dict[str, Any] = {
        "benchmark": "fanout",
        "dialect": dialect,
        "watchers": count,
        "participants": participants,
        "frame_bytes": frame_bytes,
        "ratio": round(product_figures["deliveries_per_s"] / plain_figures["deliveries_per_s"], 3),
        "latency_ratio": round(plain_figures["latency_p50_ms"] / product_figures["latency_p50_ms"], 3),
        "cpu_ratio": round(
            plain_figures["server_cpu_us_per_delivery"] / product_figures["server_cpu_us_per_delivery"], 3
        ),
        "ours": {**product_figures, "kb_per_connection": round(memory_kb, 1)},
        "plain_loop": plain_figures,
    }
    for full in full_figures:
        figures["full_states"] = full
        figures["sooner_than_full_states"] = round(full["latency_p50_ms"] / product_figures["latency_p50_ms"], 1)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests fanout", description=__doc__)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--participants", type=int, default=2)
    parser.add_argument("--dialect", choices=("v2", "v3"), default="v2")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=20, help="updates of each kind per round")
    parser.add_argument("--link", type=float, metavar="GBIT", help="bandwidth of the link, in Gbit/s; needs root")
    options = parser.parse_args()
    log.configure_logging("critical")
    with ExitStack() as stack:
        link = LOOPBACK if options.link is None else stack.enter_context(create_link(options.link))
        figures = uvloop.run(
            run(options.watchers, options.participants, options.rounds, options.updates, options.dialect, link)
        )
    print(json.dumps({**figures, "link_gbit_per_s": options.link}))
