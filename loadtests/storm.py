"""A storm of connects: thousands of clients within two seconds, at a server that has just been started.

Each opens a connection, upgrades, subscribes to one session and is in when it has its state. Once with room for all,
and once with room for half: whoever isn't let in must be told when to come again. Counts how long the event loop of the
server stood still meanwhile, by the server's own metric. One line for each.
"""

import argparse
import asyncio
import base64
import os
import re
import time
from collections import Counter
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import uvloop

from loadtests.started import started
from loadtests.stores import valkey_alone
from loadtests.telling import percentile, tell
from tests.integration.parts import open_parts
from tests.processes import Process, spawn_server

WITHIN_S = 10.0
STALLED_S = 0.25


class Comer(asyncio.Protocol):
    """A client that connects once. What becomes of it is in `outcome`, and when, in s after `began`."""

    def __init__(self, url: str, session_id: str, dialect: str) -> None:
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.took_s = 0.0
        self._began = time.perf_counter()
        self._url = urlsplit(url)
        self._session_id = session_id
        self._dialect = dialect
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        query, header = f"?sessionId={self._session_id}", ""
        if self._dialect == "v3":
            query, header = "", "Sec-WebSocket-Protocol: synckairos.v3\r\n"
            asked = f'{{"type":"SUBSCRIBE","session_id":"{self._session_id}"}}'.encode()
        self._transport.write(
            f"GET /ws{query} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"{header}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        if self._dialect == "v3":
            # A mask of zeros is as good as any where nobody stands in between.
            self._asked = bytes((0x81, 0x80 | len(asked), 0, 0, 0, 0)) + asked

    def data_received(self, data: bytes) -> None:
        before, self._received = self._received, self._received + data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if b"\r\n\r\n" not in before and b" 101 " in head[:16] and self._dialect == "v3":
            self._transport.write(self._asked)
        if b'"STATE_SYNC"' in rest:
            self._end("in")
        elif b" 503 " in head[:16]:
            self._end("told_by_503" if re.search(rb"\r\nretry-after: \d", head, re.IGNORECASE) else "refused_untold")
        elif b" 101 " not in head[:16]:
            self._end("refused_untold")
        elif rest[:1] == b"\x88":
            code = int.from_bytes(rest[2:4], "big")
            self._end(f"told_by_{code}" if code in (4000, 4520) else "refused_untold")
        elif b'"GOAWAY"' in rest:
            self._end("told_by_goaway")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("dropped_untold")

    def _end(self, outcome: str) -> None:
        if not self.outcome.done():
            self.took_s = time.perf_counter() - self._began
            self.outcome.set_result(outcome)

    def leave(self) -> None:
        self._transport.abort()


async def come(url: str, session_id: str, dialect: str) -> tuple[Comer | None, str]:
    """Connect and return what became of it."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    try:
        async with asyncio.timeout(3 * WITHIN_S):
            _, comer = await loop.create_connection(
                lambda: Comer(url, session_id, dialect), parts.hostname or "", parts.port or 80
            )
            return comer, await comer.outcome
    except OSError:  # a TimeoutError is one
        return None, "unanswered"


async def storm(server: Process, session_id: str, clients: int, over_s: float, dialect: str) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    coming = []
    for number in range(clients):
        await asyncio.sleep(max(0.0, began + over_s * number / clients - loop.time()))
        coming.append(asyncio.create_task(come(server.ws_url, session_id, dialect)))
    connects_took_s = loop.time() - began
    came = await asyncio.gather(*coming)
    took = [comer.took_s for comer, outcome in came if comer is not None and outcome == "in"]
    for comer, _ in came:
        if comer is not None:
            comer.leave()
    outcomes = Counter(outcome for _, outcome in came)
    return {
        "clients": clients,
        "connects_over_s": round(connects_took_s, 2),
        "dialect": dialect,
        "in_within_10_s": round(sum(each <= WITHIN_S for each in took) / clients, 4),
        "in_p50_s": round(percentile(took, 50), 3),
        "in_p95_s": round(percentile(took, 95), 3),
        "in_last_s": round(max(took), 3),
        "outcomes": dict(outcomes),
    }


async def stalls(server: Process) -> dict[str, float]:
    """Return how often the server's loop was late by more than 250 ms, and a bound of the longest time it was, ms."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        text = (await client.get("/metrics")).text
    found = re.findall(r'synckairos_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    counts = {float(bound): float(count) for bound, count in found}
    total = counts[float("inf")]
    longest_s = min(bound for bound, count in counts.items() if count == total)
    return {"stalled_beyond_250_ms": total - counts[STALLED_S], "longest_stall_at_most_ms": longest_s * 1000}


async def run(clients: int, over_s: float, dialect: str) -> None:
    for room in (2 * clients, clients // 2):
        with valkey_alone(ws_max_connections=room) as settings:
            async with open_parts(settings) as parts:
                session_id = await started(parts)
            server = await asyncio.to_thread(spawn_server, settings)
            try:
                told = await storm(server, session_id, clients, over_s, dialect)
                told |= {"room": room, **await stalls(server)}
                tell("storm", told)
            finally:
                await asyncio.to_thread(server.stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests storm", description=__doc__)
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--over-s", type=float, default=2.0)
    parser.add_argument("--dialect", choices=("v2", "v3"), default="v3")
    options = parser.parse_args()
    uvloop.run(run(options.clients, options.over_s, options.dialect))
