"""Cost of a switch from load to commit, with two participants and with a thousand.

The load test measures `Sessions.execute` with a real store, one switch at a time. Two sessions take turns in short
rounds, so that other load on the machine affects both equally. The figures are the bytes on the connection to Redis in
both directions, and the processor time of the store and of this process.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import uvloop

from loadtests.report import print_result
from loadtests.sessions import ANONYMOUS, start_session
from loadtests.stores import valkey_only
from synckairos.clock.commands import Switch
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest
from synckairos.telemetry import log
from tests.integration.parts import Parts, open_parts

ROUNDS = 10


@dataclass
class MeasuredSession:
    """A session and the figures of its switches."""

    session_id: str
    document_bytes: int
    taken_us: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    store_cpu_us: list[float] = field(default_factory=list)
    bytes_to_store: list[float] = field(default_factory=list)
    bytes_from_store: list[float] = field(default_factory=list)

    async def run_round(self, parts: Parts, switches: int) -> None:
        request = CommandRequest(ANONYMOUS, self.session_id, Switch(), "switch")
        before, cpu_s = await _store_figures(parts), time.process_time()
        for _ in range(switches):
            began = time.perf_counter()
            await parts.sessions.execute(request)
            self.taken_us.append((time.perf_counter() - began) * 1e6)
        cpu_s = time.process_time() - cpu_s
        after = await _store_figures(parts)
        store_cpu, received, sent = ((new - old) / switches for old, new in zip(before, after, strict=True))
        self.cpu_us.append(cpu_s / switches * 1e6)
        self.store_cpu_us.append(store_cpu * 1e6)
        self.bytes_to_store.append(received)
        self.bytes_from_store.append(sent)

    def figures(self) -> dict[str, float]:
        return {
            "p50_us": round(statistics.median(self.taken_us), 1),
            "cpu_us": round(statistics.median(self.cpu_us), 1),
            "store_cpu_us": round(statistics.median(self.store_cpu_us), 1),
            "bytes_to_store": round(statistics.median(self.bytes_to_store)),
            "bytes_from_store": round(statistics.median(self.bytes_from_store)),
            "document_bytes": self.document_bytes,
        }


async def _store_figures(parts: Parts) -> tuple[float, float, float]:
    """Return the store's processor seconds, and the bytes that the store received and sent."""
    information: bytes = await parts.pipe.call("INFO", "everything")
    fields = dict(line.split(":", 1) for line in information.decode().splitlines() if ":" in line)
    cpu_s = float(fields["used_cpu_user"]) + float(fields["used_cpu_sys"])
    return cpu_s, float(fields["total_net_input_bytes"]), float(fields["total_net_output_bytes"])


async def _start(parts: Parts, participants: int) -> MeasuredSession:
    session_id = await start_session(parts, participants)
    return MeasuredSession(session_id, len((await parts.sessions.read(TIMEKEEPER, session_id)).snapshot.document))


async def run(participants: int, switches: int) -> dict[str, Any]:
    """Measure the two sessions in turn."""
    with valkey_only() as settings:
        async with open_parts(settings) as parts:
            outbox = parts.store.keys.outbox(0), parts.store.keys.outbox_bytes(0)
            few, many = await _start(parts, 2), await _start(parts, participants)
            for each in (few, many) * ROUNDS:
                await each.run_round(parts, switches)
                await parts.pipe.call("DEL", *outbox)  # no worker drains the outbox here
    small, large = few.figures(), many.figures()
    return {
        "participants_2": small,
        f"participants_{participants}": large,
        "ratio": round(large["p50_us"] / small["p50_us"], 2),
        "cpu_ratio": round(large["cpu_us"] / small["cpu_us"], 2),
        "bytes_ratio": round(
            (large["bytes_to_store"] + large["bytes_from_store"])
            / (small["bytes_to_store"] + small["bytes_from_store"]),
            2,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests large_sessions", description=__doc__)
    parser.add_argument("--participants", type=int, default=1_000)
    parser.add_argument("--switches", type=int, default=100, help="switches of each session per round")
    options = parser.parse_args()
    log.configure_logging("critical")
    print_result("large_sessions", uvloop.run(run(options.participants, options.switches)))
