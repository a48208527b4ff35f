"""Load test of many connects: thousands of clients connect within two seconds to a server that was just started.

Each client connects, upgrades and subscribes to one session. A client succeeds when it has the state. In the first run
the server accepts all clients. In the second run it accepts half of the clients, and must answer all other clients with
the delay of a retry. The result also has the delays of the server's event loop, from its metric. Prints one line for
each run.
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

from loadtests.report import percentile, print_result
from loadtests.sessions import start_session
from loadtests.stores import valkey_only
from loadtests.watchers import ZERO_MASK
from tests.integration.parts import open_parts
from tests.processes import Process, spawn_server

GOAL_S = 10.0
LONG_DELAY_S = 0.25


class ConnectingClient(asyncio.Protocol):
    """A client that connects one time. `outcome` is its result, and `took_s` the seconds until this result."""

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
            message = f'{{"type":"SUBSCRIBE","session_id":"{self._session_id}"}}'.encode()
        self._transport.write(
            f"GET /ws{query} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"{header}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        if self._dialect == "v3":
            self._subscribe = bytes((0x81, 0x80 | len(message), *ZERO_MASK)) + message

    def data_received(self, data: bytes) -> None:
        before, self._received = self._received, self._received + data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if b"\r\n\r\n" not in before and b" 101 " in head[:16] and self._dialect == "v3":
            self._transport.write(self._subscribe)
        if b'"STATE_SYNC"' in rest:
            self._end("subscribed")
        elif b" 503 " in head[:16]:
            self._end(
                "refused_503"
                if re.search(rb"\r\nretry-after: \d", head, re.IGNORECASE)
                else "refused_without_retry_time"
            )
        elif b" 101 " not in head[:16]:
            self._end("refused_without_retry_time")
        elif rest[:1] == b"\x88":
            code = int.from_bytes(rest[2:4], "big")
            self._end(f"closed_{code}" if code in (4000, 4520) else "refused_without_retry_time")
        elif b'"GOAWAY"' in rest:
            self._end("goaway")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection_lost")

    def _end(self, outcome: str) -> None:
        if not self.outcome.done():
            self.took_s = time.perf_counter() - self._began
            self.outcome.set_result(outcome)

    def abort(self) -> None:
        self._transport.abort()


async def connect_client(url: str, session_id: str, dialect: str) -> tuple[ConnectingClient | None, str]:
    """Connect one client. Return the client and its result."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    try:
        async with asyncio.timeout(3 * GOAL_S):
            _, client = await loop.create_connection(
                lambda: ConnectingClient(url, session_id, dialect), parts.hostname or "", parts.port or 80
            )
            return client, await client.outcome
    except OSError:  # TimeoutError is an OSError
        return None, "unanswered"


async def connect_all(server: Process, session_id: str, clients: int, over_s: float, dialect: str) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    tasks = []
    for number in range(clients):
        await asyncio.sleep(max(0.0, began + over_s * number / clients - loop.time()))
        tasks.append(asyncio.create_task(connect_client(server.ws_url, session_id, dialect)))
    connects_took_s = loop.time() - began
    results = await asyncio.gather(*tasks)
    took = [client.took_s for client, outcome in results if client is not None and outcome == "subscribed"]
    for client, _ in results:
        if client is not None:
            client.abort()
    outcomes = Counter(outcome for _, outcome in results)
    return {
        "clients": clients,
        "connects_over_s": round(connects_took_s, 2),
        "dialect": dialect,
        "subscribed_within_10_s": round(sum(each <= GOAL_S for each in took) / clients, 4),
        "subscribed_p50_s": round(percentile(took, 50), 3),
        "subscribed_p95_s": round(percentile(took, 95), 3),
        "subscribed_last_s": round(max(took), 3),
        "outcomes": dict(outcomes),
    }


async def loop_delays(server: Process) -> dict[str, float]:
    """Return the number of event loop delays above 250 ms, and an upper bound of the longest delay in milliseconds."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        text = (await client.get("/metrics")).text
    found = re.findall(r'synckairos_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    counts = {float(bound): float(count) for bound, count in found}
    total = counts[float("inf")]
    longest_s = min(bound for bound, count in counts.items() if count == total)
    return {"loop_delays_above_250_ms": total - counts[LONG_DELAY_S], "longest_loop_delay_at_most_ms": longest_s * 1000}


async def run(clients: int, over_s: float, dialect: str) -> None:
    for room in (2 * clients, clients // 2):
        with valkey_only(ws_max_connections=room) as settings:
            async with open_parts(settings) as parts:
                session_id = await start_session(parts)
            server = await asyncio.to_thread(spawn_server, settings)
            try:
                figures = await connect_all(server, session_id, clients, over_s, dialect)
                figures |= {"room": room, **await loop_delays(server)}
                print_result("connects", figures)
            finally:
                await asyncio.to_thread(server.stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests connects", description=__doc__)
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--over-s", type=float, default=2.0)
    parser.add_argument("--dialect", choices=("v2", "v3"), default="v3")
    options = parser.parse_args()
    uvloop.run(run(options.clients, options.over_s, options.dialect))
