"""Load test of a slow client: what it receives when it reads again, what it costs, and when it is closed.

The session changes 100 times a second by some kilobytes. One client of synckairos.v3 reads nothing for ten seconds, and
sends twenty PINGs in this time. Turns of the session end in this time, and each end is an EVENT. Watchers in another
process watch the same session. The time of an update to the last of these watchers is measured with and without the
slow client. Then another slow client stops to read for ever, and its kernel acknowledges only the data that fit into
its buffer.
"""

import argparse
import asyncio
import base64
import os
import re
import socket
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import orjson
import uvloop

from loadtests.compared_servers import WatcherProcess, run_watchers
from loadtests.network_link import LOOPBACK
from loadtests.report import percentile, print_result
from loadtests.sessions import ANONYMOUS
from loadtests.stores import valkey_only
from loadtests.watchers import ZERO_MASK
from synckairos.clock.commands import Create, NewParticipant, UpdateMetadata
from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.service.requests import CommandRequest
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

UPDATES_PER_S = 100
PINGS = 20
RECEIVE_BUFFER_BYTES = 4_096
CYCLE_MS = 1_000
CLOSE_WITHIN_S = 30.0
QUIET_S = 0.5
"""Seconds without a message after which the load test expects no further message."""


class SlowClient:
    """A client that reads frames from its socket only on request."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self.bytes_read = 0

    @property
    def port(self) -> int:
        port: int = self._sock.getsockname()[1]
        return port

    async def send(self, message: dict[str, Any]) -> None:
        payload = orjson.dumps(message)
        frame = bytes((0x81, 0x80 | len(payload), *ZERO_MASK)) + payload
        await asyncio.get_running_loop().sock_sendall(self._sock, frame)

    async def upgrade(self, netloc: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /ws HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Protocol: synckairos.v3\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await asyncio.get_running_loop().sock_sendall(self._sock, request.encode())
        while b"\r\n\r\n" not in self._buffer:
            await self._receive()
        self._buffer = self._buffer.partition(b"\r\n\r\n")[2]

    async def read_message(self) -> dict[str, Any]:
        """Return the next message. Skip PING frames of the WebSocket protocol."""
        while True:
            size = self._buffer[1] if len(self._buffer) > 1 else 0
            begin = {126: 4, 127: 10}.get(size, 2)
            end = begin + (size if begin == 2 else int.from_bytes(self._buffer[2:begin], "big"))
            if len(self._buffer) < max(begin, end):
                await self._receive()
                continue
            opcode, payload, self._buffer = self._buffer[0] & 15, self._buffer[begin:end], self._buffer[end:]
            if opcode == 1:
                message: dict[str, Any] = orjson.loads(payload)
                return message

    async def _receive(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._sock, 1 << 18)
        if not data:
            raise ConnectionResetError
        self.bytes_read += len(data)
        self._buffer += data


@asynccontextmanager
async def connect_slow_client(server: Process, session_id: str) -> AsyncIterator[SlowClient]:
    """Connect a client with a small receive buffer. The returned client is subscribed and has the current state."""
    address = urlsplit(server.ws_url)
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
        client = SlowClient(sock)
        await client.upgrade(address.netloc)
        await client.send({"type": "SUBSCRIBE", "session_id": session_id})
        while (await client.read_message())["type"] != "STATE_SYNC":
            pass
        yield client


class Author:
    """Author of changes of a session at a constant rate. Measures the time of each change to the last watcher."""

    def __init__(self, parts: Parts, session_id: str, watchers: WatcherProcess, size_bytes: int) -> None:
        self.latencies_ms: dict[bool, list[float]] = {False: [], True: []}
        self._parts = parts
        self._session_id = session_id
        self._watchers = watchers
        self._size_bytes = size_bytes

    async def change_session(self, seconds: float, *, with_slow_client: bool) -> int:
        """Make 100 updates a second for `seconds` seconds. Return the final version."""
        latencies, version = self.latencies_ms[with_slow_client], 0
        began = time.perf_counter()
        for number in range(int(seconds * UPDATES_PER_S)):
            await asyncio.sleep(max(0.0, began + number / UPDATES_PER_S - time.perf_counter()))
            sent = time.perf_counter()
            noise = base64.b64encode(os.urandom(self._size_bytes * 3 // 4)).decode()
            update = UpdateMetadata({"noise": noise})
            version = (
                await self._parts.sessions.execute(
                    CommandRequest(ANONYMOUS, self._session_id, update, "update_metadata")
                )
            ).snapshot.version
            await self._watchers.wait_for_version(version)
            latencies.append((time.perf_counter() - sent) * 1000)
        return version

    def figures(self) -> dict[str, float]:
        alone, with_slow = self.latencies_ms[False], self.latencies_ms[True]
        return {
            "delivery_p50_ms": round(statistics.median(with_slow), 2),
            "delivery_p99_ms": round(percentile(with_slow, 99), 2),
            "delivery_p50_ratio": round(statistics.median(with_slow) / statistics.median(alone), 2),
            "delivery_p99_ratio": round(percentile(with_slow, 99) / percentile(alone, 99), 2),
        }


def queued_bytes(port: int, peer_port: int) -> tuple[int, int] | None:
    """Return the unsent bytes and the unread bytes in the kernel, at one end of a loopback connection."""
    ends = f"0100007F:{port:04X} 0100007F:{peer_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if ends in line and line.split()[3] == "01":
            sent, _, received = line.split()[4].partition(":")
            return int(sent, 16), int(received, 16)
    return None


async def measure_stall(author: Author, server: Process, session_id: str, seconds: float) -> dict[str, Any]:
    """Connect a client that reads nothing for `seconds` seconds, and then reads everything.

    Return figures about the received messages. Check that no message is missing.
    """
    server_port = urlsplit(server.ws_url).port or 0
    async with connect_slow_client(server, session_id) as slow, connect_slow_client(server, session_id) as other:
        other_messages: list[dict[str, Any]] = []
        kernel_bytes = 0

        async def listen() -> None:
            while True:
                other_messages.append(await other.read_message())

        async def send_pings() -> None:
            nonlocal kernel_bytes
            for number in range(PINGS):
                await slow.send({"type": "PING", "id": f"p{number}", "t0": number})
                await asyncio.sleep(seconds / PINGS)
                kernel_bytes = max(kernel_bytes, (queued_bytes(server_port, slow.port) or (0, 0))[0])

        listening, pinging = asyncio.create_task(listen()), asyncio.create_task(send_pings())
        last = await author.change_session(seconds, with_slow_client=True)
        await pinging
        _, unread = queued_bytes(slow.port, server_port) or (0, 0)
        bytes_before = slow.bytes_read
        messages: list[dict[str, Any]] = []
        while True:
            try:
                async with asyncio.timeout(QUIET_S if messages and messages[-1].get("version", 0) >= last else 30):
                    messages.append(await slow.read_message())
            except TimeoutError:
                break
        listening.cancel()
    states = [each for each in messages if each["type"] in ("STATE_DELTA", "STATE_UPDATE")]
    jump = next(at for at, each in enumerate(states) if each["version"] > each.get("from_version", 0) + 1)
    events = [(each["event_type"], each["version"]) for each in messages if each["type"] == "EVENT"]
    other_events = [(each["event_type"], each["version"]) for each in other_messages if each["type"] == "EVENT"]
    answers = [each["reply_to"] for each in messages if each["type"] == "PONG"]
    assert [each["from_version"] for each in states[1:]] == [each["version"] for each in states[:-1]], (
        "a version is missing"
    )
    assert states[-1]["version"] >= last, "the last state is not current"
    assert answers == [f"p{number}" for number in range(PINGS)], answers
    assert events == other_events[: len(events)], (events, other_events)
    assert len(events) >= seconds - 2, events
    return {
        "updates_while_stalled": last - states[jump]["from_version"],
        "states_after_the_stall": sum(each["version"] <= last + 1 for each in states[jump:]),
        "jumped": [states[jump]["from_version"], states[jump]["version"]],
        "events": len(events),
        "answers": len(answers),
        "server_kernel_kb": round(kernel_bytes / 1024, 1),
        "server_total_kb": round((slow.bytes_read - bytes_before - unread) / 1024, 1),
    }


async def measure_close(author: Author, server: Process, session_id: str) -> dict[str, Any]:
    """Connect a client that never reads. Return the seconds until the server closed it, and the close code."""
    server_port = urlsplit(server.ws_url).port or 0
    before = await closed_counts(server)
    async with connect_slow_client(server, session_id) as slow:
        began = time.perf_counter()
        while queued_bytes(server_port, slow.port) is not None and time.perf_counter() - began < 2 * CLOSE_WITHIN_S:
            await author.change_session(0.25, with_slow_client=True)
        took_s = time.perf_counter() - began
    after = await closed_counts(server)
    return {
        "closed_after_s": round(took_s, 1),
        "close_codes": [code for code in after if after[code] > before.get(code, 0)],
    }


async def closed_counts(server: Process) -> dict[str, float]:
    """Return the number of connections that the server closed, by close code."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        text = (await client.get("/metrics")).text
    found = re.findall(r'synckairos_websocket_closed_total\{code="(\d+)"\} (\S+)', text)
    return {code: float(count) for code, count in found}


async def start_cycles(parts: Parts) -> str:
    """Start a session whose turns end without commands. Return the session id."""
    participants = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    spec = Create(
        SyncMode.PER_CYCLE, participants, time_per_cycle_ms=CYCLE_MS, max_cycles=1_000, on_timeout=OnTimeout.ADVANCE
    )
    return await parts.start_session(spec)


async def run(watchers: int, seconds: float, size_bytes: int) -> dict[str, Any]:
    with valkey_only() as settings:
        async with open_parts(settings) as parts:
            server = await asyncio.to_thread(spawn_server, settings)
            try:
                session_id = await start_cycles(parts)
                async with run_watchers(LOOPBACK, server.ws_url, watchers, session_id) as process:
                    author = Author(parts, session_id, process, size_bytes)
                    # Half of the time before and half after the stall, so that other load on the machine affects both
                    # equally.
                    await author.change_session(seconds / 2, with_slow_client=False)
                    figures = await measure_stall(author, server, session_id, seconds)
                    await author.change_session(seconds / 2, with_slow_client=False)
                    figures |= author.figures()
                    figures |= await measure_close(author, server, session_id)
            finally:
                await asyncio.to_thread(server.stop)
    return {"watchers": watchers, "stalled_s": seconds, "update_bytes": size_bytes, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests slow_client", description=__doc__)
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--bytes", type=int, default=4_096, help="approximate bytes of an update")
    options = parser.parse_args()
    print_result("slow_client", uvloop.run(run(options.watchers, options.seconds, options.bytes)))
