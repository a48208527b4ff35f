"""A reader that stalls beside others that don't: what it gets when it reads again, what it costs, when it is cut.

100 updates a second, of some kilobytes each; one reader of synckairos.v3 reads nothing for ten seconds and asks
twenty PINGs meanwhile, while cycles of the session end by themselves, each an EVENT. A crowd in a process of its own
watches the same session: how long an update takes to the last of them, with and without the stalled one. Then the same
reader stays stuck: its kernel goes on to acknowledge whatever fits, and it never reads.
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

from loadtests.link import LOOPBACK
from loadtests.sides import Crowd, crowd
from loadtests.started import NOBODY
from loadtests.stores import valkey_alone
from loadtests.telling import percentile, tell
from synckairos.clock.commands import Create, NewParticipant, Start, UpdateMetadata
from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.integration.parts import Parts, open_parts
from tests.processes import Process, spawn_server

A_SECOND = 100
PINGS = 20
RECEIVE_BUFFER = 4_096
CYCLE_MS = 1_000
CUT_WITHIN_S = 30.0
QUIET_S = 0.5
"""How long nothing comes after the last of all."""


class Reader:
    """A socket that is read when we say so, frame by frame."""

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
        # A mask of zeros is as good as any where nobody stands in between.
        frame = bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload
        await asyncio.get_running_loop().sock_sendall(self._sock, frame)

    async def upgrade(self, netloc: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        asked = (
            f"GET /ws HTTP/1.1\r\nHost: {netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Protocol: synckairos.v3\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await asyncio.get_running_loop().sock_sendall(self._sock, asked.encode())
        while b"\r\n\r\n" not in self._buffer:
            await self._more()
        self._buffer = self._buffer.partition(b"\r\n\r\n")[2]

    async def message(self) -> dict[str, Any]:
        """Return the next message; pings of the protocol are passed over."""
        while True:
            size = self._buffer[1] if len(self._buffer) > 1 else 0
            begin = {126: 4, 127: 10}.get(size, 2)
            end = begin + (size if begin == 2 else int.from_bytes(self._buffer[2:begin], "big"))
            if len(self._buffer) < max(begin, end):
                await self._more()
                continue
            opcode, payload, self._buffer = self._buffer[0] & 15, self._buffer[begin:end], self._buffer[end:]
            if opcode == 1:
                told: dict[str, Any] = orjson.loads(payload)
                return told

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._sock, 1 << 18)
        if not data:
            raise ConnectionResetError
        self.bytes_read += len(data)
        self._buffer += data


@asynccontextmanager
async def reader(server: Process, session_id: str) -> AsyncIterator[Reader]:
    """Connect a reader with a small buffer, subscribed and in step."""
    address = urlsplit(server.ws_url)
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
        client = Reader(sock)
        await client.upgrade(address.netloc)
        await client.send({"type": "SUBSCRIBE", "session_id": session_id})
        while (await client.message())["type"] != "STATE_SYNC":
            pass
        yield client


class Author:
    """Changes a session at a pace, and measures how long each change takes to the last of a crowd."""

    def __init__(self, parts: Parts, session_id: str, watching: Crowd, size: int) -> None:
        self.latencies_ms: dict[bool, list[float]] = {False: [], True: []}
        self._parts = parts
        self._session_id = session_id
        self._watching = watching
        self._size = size

    async def write(self, seconds: float, *, is_one_stalled: bool) -> int:
        """Make 100 updates a second; return the version in the end."""
        latencies, version = self.latencies_ms[is_one_stalled], 0
        began = time.perf_counter()
        for number in range(int(seconds * A_SECOND)):
            await asyncio.sleep(max(0.0, began + number / A_SECOND - time.perf_counter()))
            sent = time.perf_counter()
            noise = base64.b64encode(os.urandom(self._size * 3 // 4)).decode()
            update = UpdateMetadata({"noise": noise})
            version = (
                await self._parts.sessions.execute(CommandRequest(NOBODY, self._session_id, update, "update_metadata"))
            ).snapshot.version
            await self._watching.has(version)
            latencies.append((time.perf_counter() - sent) * 1000)
        return version

    def figures(self) -> dict[str, float]:
        alone, beside = self.latencies_ms[False], self.latencies_ms[True]
        return {
            "delivery_p50_ms": round(statistics.median(beside), 2),
            "delivery_p99_ms": round(percentile(beside, 99), 2),
            "delivery_p50_ratio": round(statistics.median(beside) / statistics.median(alone), 2),
            "delivery_p99_ratio": round(percentile(beside, 99) / percentile(alone, 99), 2),
        }


def queues(port: int, peer_port: int) -> tuple[int, int] | None:
    """Return how many bytes the kernel keeps to be sent and to be read at one end of a connection on loopback."""
    ends = f"0100007F:{port:04X} 0100007F:{peer_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines():
        if ends in line and line.split()[3] == "01":
            sent, _, received = line.split()[4].partition(":")
            return int(sent, 16), int(received, 16)
    return None


async def stall(author: Author, server: Process, session_id: str, seconds: float) -> dict[str, Any]:
    """Stall a reader, then let it read; return what it got, and check that nothing is missing."""
    server_port = urlsplit(server.ws_url).port or 0
    async with reader(server, session_id) as slow, reader(server, session_id) as other:
        told: list[dict[str, Any]] = []
        kernel_bytes = 0

        async def listen() -> None:
            while True:
                told.append(await other.message())

        async def ask() -> None:
            nonlocal kernel_bytes
            for number in range(PINGS):
                await slow.send({"type": "PING", "id": f"p{number}", "t0": number})
                await asyncio.sleep(seconds / PINGS)
                kernel_bytes = max(kernel_bytes, (queues(server_port, slow.port) or (0, 0))[0])

        listening, asking = asyncio.create_task(listen()), asyncio.create_task(ask())
        last = await author.write(seconds, is_one_stalled=True)
        await asking
        _, unread = queues(slow.port, server_port) or (0, 0)
        had = slow.bytes_read
        got: list[dict[str, Any]] = []
        while True:
            try:
                async with asyncio.timeout(QUIET_S if got and got[-1].get("version", 0) >= last else 30):
                    got.append(await slow.message())
            except TimeoutError:
                break
        listening.cancel()
    states = [each for each in got if each["type"] in ("STATE_DELTA", "STATE_UPDATE")]
    jump = next(at for at, each in enumerate(states) if each["version"] > each.get("from_version", 0) + 1)
    events = [(each["event_type"], each["version"]) for each in got if each["type"] == "EVENT"]
    theirs = [(each["event_type"], each["version"]) for each in told if each["type"] == "EVENT"]
    answers = [each["reply_to"] for each in got if each["type"] == "PONG"]
    assert [each["from_version"] for each in states[1:]] == [each["version"] for each in states[:-1]], (
        "a step is missing"
    )
    assert states[-1]["version"] >= last, "the last state isn't current"
    assert answers == [f"p{number}" for number in range(PINGS)], answers
    assert events == theirs[: len(events)], (events, theirs)
    assert len(events) >= seconds - 2, events
    return {
        "updates_while_stalled": last - states[jump]["from_version"],
        "states_after_the_stall": sum(each["version"] <= last + 1 for each in states[jump:]),
        "jumped": [states[jump]["from_version"], states[jump]["version"]],
        "events": len(events),
        "answers": len(answers),
        "server_kernel_kb": round(kernel_bytes / 1024, 1),
        "server_in_all_kb": round((slow.bytes_read - had - unread) / 1024, 1),
    }


async def stuck(author: Author, server: Process, session_id: str) -> dict[str, Any]:
    """Keep a reader from reading at all; return how long it took until it was cut, and by which code."""
    server_port = urlsplit(server.ws_url).port or 0
    before = await closed(server)
    async with reader(server, session_id) as slow:
        began = time.perf_counter()
        while queues(server_port, slow.port) is not None and time.perf_counter() - began < 2 * CUT_WITHIN_S:
            await author.write(0.25, is_one_stalled=True)
        took_s = time.perf_counter() - began
    after = await closed(server)
    return {"cut_after_s": round(took_s, 1), "cut_by": [code for code in after if after[code] > before.get(code, 0)]}


async def closed(server: Process) -> dict[str, float]:
    """Return how many connections the server closed, by code."""
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
        text = (await client.get("/metrics")).text
    found = re.findall(r'synckairos_websocket_closed_total\{code="(\d+)"\} (\S+)', text)
    return {code: float(count) for code, count in found}


async def start(parts: Parts) -> str:
    """Start a session whose cycles end by themselves."""
    people = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    spec = Create(
        SyncMode.PER_CYCLE, people, time_per_cycle_ms=CYCLE_MS, max_cycles=1_000, on_timeout=OnTimeout.ADVANCE
    )
    session_id = (await parts.sessions.create(CreateRequest(NOBODY, spec))).session.session_id
    await parts.sessions.execute(CommandRequest(NOBODY, session_id, Start(), "start"))
    return session_id


async def run(watchers: int, seconds: float, size: int) -> dict[str, Any]:
    with valkey_alone() as settings:
        async with open_parts(settings) as parts:
            server = await asyncio.to_thread(spawn_server, settings)
            try:
                session_id = await start(parts)
                async with crowd(LOOPBACK, server.ws_url, watchers, session_id) as watching:
                    author = Author(parts, session_id, watching, size)
                    # In halves around the stall, so that whatever else the machine does troubles both alike.
                    await author.write(seconds / 2, is_one_stalled=False)
                    told = await stall(author, server, session_id, seconds)
                    await author.write(seconds / 2, is_one_stalled=False)
                    told |= author.figures()
                    told |= await stuck(author, server, session_id)
            finally:
                await asyncio.to_thread(server.stop)
    return {"watchers": watchers, "stalled_s": seconds, "update_bytes": size, **told}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests slow_reader", description=__doc__)
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--bytes", type=int, default=4_096, help="about how many each update is of")
    options = parser.parse_args()
    tell("slow_reader", uvloop.run(run(options.watchers, options.seconds, options.bytes)))
