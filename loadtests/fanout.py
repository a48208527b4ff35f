"""Fan-out: one session, many watchers in another process, from an update to the last of them.

The server runs as users run it, in its own process; updates are committed by another instance, this one. Beside it, in
the same run and in turn, a plain loop of `write()` over as many sockets, with frames of the same size and the same
watchers. Latencies are of one update at a time, rates with a few on their way.

In the dialect with deltas there is a third: as many watchers of another session on the same server, who get full
states. `sooner_than_full_states` says how many times sooner the last watcher has a delta. `--link` puts a link of so
many Gbit/s between the servers and all watchers, instead of loopback, which is faster than any network.
"""

import argparse
import json
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import uvloop

from loadtests.link import LOOPBACK, Link, link
from loadtests.sides import our_side, plain_side, serving
from loadtests.started import started
from loadtests.stores import valkey_alone
from synckairos.telemetry import log
from tests.integration.parts import open_parts

ENVELOPE_BYTES = 110
"""What a STATE_UPDATE has around the state."""


async def run(count: int, participants: int, rounds: int, updates: int, dialect: str, over: Link) -> dict[str, Any]:
    """Measure all sides in turn, so that whatever else the machine does troubles all alike."""
    reachable = {"host": over.host, "insecure": over is not LOOPBACK}
    async with AsyncExitStack() as stack:
        settings = stack.enter_context(valkey_alone(ws_max_connections=2 * count + 100, **reachable))
        parts = await stack.enter_async_context(open_parts(settings))
        session_id = await started(parts, participants)
        frame_bytes = len((await parts.sessions.read(session_id)).snapshot.document) + ENVELOPE_BYTES
        server = await stack.enter_async_context(serving(settings))
        ours, memory_kb = await stack.enter_async_context(our_side(parts, server, over, session_id, count, dialect))
        sides = [ours, await stack.enter_async_context(plain_side(over, frame_bytes, count))]
        if dialect == "v3":
            watched = our_side(parts, server, over, await started(parts, participants), count, "v2")
            full, _ = await stack.enter_async_context(watched)
            sides.append(full)
        outbox = parts.store.keys.outbox(0), parts.store.keys.outbox_bytes(0)
        for side in sides * (rounds + 1):
            await side.round(updates)
            await parts.pipe.call("DEL", *outbox)  # nobody drains it here
        told = [side.figures(count, updates) for side in sides]
    figures: dict[str, Any] = {
        "benchmark": "fanout",
        "dialect": dialect,
        "watchers": count,
        "participants": participants,
        "frame_bytes": frame_bytes,
        "ratio": round(told[0]["deliveries_per_s"] / told[1]["deliveries_per_s"], 3),
        "latency_ratio": round(told[1]["latency_p50_ms"] / told[0]["latency_p50_ms"], 3),
        "cpu_ratio": round(told[1]["server_cpu_us_per_delivery"] / told[0]["server_cpu_us_per_delivery"], 3),
        "ours": {**told[0], "kb_per_connection": round(memory_kb, 1)},
        "plain_loop": told[1],
    }
    if dialect == "v3":
        figures["full_states"] = told[2]
        figures["sooner_than_full_states"] = round(told[2]["latency_p50_ms"] / told[0]["latency_p50_ms"], 1)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests fanout", description=__doc__)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--participants", type=int, default=2)
    parser.add_argument("--dialect", choices=("v2", "v3"), default="v2")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=20, help="updates of each kind a round")
    parser.add_argument("--link", type=float, metavar="GBIT", help="over a link of so many Gbit/s; needs root")
    options = parser.parse_args()
    log.configure("critical")
    with ExitStack() as stack:
        over = LOOPBACK if options.link is None else stack.enter_context(link(options.link))
        told = uvloop.run(
            run(options.watchers, options.participants, options.rounds, options.updates, options.dialect, over)
        )
    print(json.dumps({**told, "link_gbit_per_s": options.link}))
