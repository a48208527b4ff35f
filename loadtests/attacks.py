"""Attacks within the documented limits, for the load test `abuse`. The process runs one attack.

`python -m loadtests.attacks NAME HTTP_URL WS_URL SESSION_ID PARTICIPANT_ID BROKEN_ID` prints `ready` and attacks until
the end of its standard input. Then it prints the number of answers by status. All requests come from the address
`ATTACKER`.
"""

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from loadtests.stream_attacks import (
    flood_event_streams,
    leave_bodies_unread,
    leave_event_streams_unread,
    open_event_streams,
)

ATTACKER = "127.0.9.9"
V3 = Subprotocol("synckairos.v3")

LARGE_FRAME_BYTES = 64_000
LARGE_BODY_BYTES = 65_009
FRAMES_PER_S = 104
TAILS = 98
SUBSCRIBING_SOCKETS = 50
PATCHES = 5_000
"""Commands of a simulation. Its estimated steps are nearly the most that one simulation can have."""


class Target:
    """The attacked server, with the number of its answers by status or close code."""

    def __init__(self, http_url: str, ws_url: str, session_id: str, participant_id: str, broken_id: str) -> None:
        """`session_id` is a large session with the participant, and `broken_id` a session with an invalid document."""
        address = urlsplit(http_url)
        self.ws_url = ws_url
        self.session_id = session_id
        self.participant_id = participant_id
        self.broken_id = broken_id
        self.answers: Counter[str] = Counter()
        self._host = address.hostname or ""
        self._port = address.port or 80

    def count_answer(self, status: str) -> None:
        """Count an answer by its status."""
        self.answers[status] += 1

    async def open_connection(
        self, receive_buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open an HTTP connection from the attacker's address. `receive_buffer` is the size of SO_RCVBUF in bytes."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.bind((ATTACKER, 0))
        try:
            await asyncio.get_running_loop().sock_connect(connection, (self._host, self._port))
        except BaseException:
            connection.close()
            raise
        return await asyncio.open_connection(sock=connection, limit=1 << 20 if receive_buffer is None else 1_024)

    def render_request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """Return the bytes of a request with this body as JSON."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join(
            (
                f"{method} {path} HTTP/1.1",
                f"Host: {self._host}:{self._port}",
                "Content-Type: application/json",
                f"Content-Length: {len(body)}",
                *lines,
            )
        )
        return head.encode() + b"\r\n\r\n" + body

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """Send equal requests on one connection until cancelled. Wait for each answer before the next request."""
        request = self.render_request(method, path, body, **headers)
        while True:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                reader, writer = await self.open_connection()
                try:
                    while True:
                        writer.write(request)
                        self.count_answer(await _skip_answer(reader))
                finally:
                    writer.close()
            await asyncio.sleep(0.01)

    async def open_tail(self) -> None:
        """Open a live tail of the session, and read it until the server ends it."""
        reader, writer = await asyncio.open_connection(self._host, self._port, local_addr=(ATTACKER, 0))
        path = f"/v1/sessions/{self.session_id}/events"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: text/event-stream\r\n\r\n".encode())
        self.answers[(await reader.readline()).split()[1].decode()] += 1
        while await reader.read(1 << 16):
            pass
        writer.close()

    async def connect(self) -> ClientConnection:
        """Connect a client of synckairos.v3 from the attacker's address."""
        return await connect(self.ws_url, subprotocols=[V3], local_addr=(ATTACKER, 0), max_size=None)


async def _skip_answer(reader: asyncio.StreamReader) -> str:
    """Read an answer. Return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode()
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while (size := int((await reader.readline()).split(b";")[0], 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    elif status not in ("204", "304"):
        length = int(lowered.partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or b"0")
        while length > 0:
            length -= len(await reader.read(min(length, 1 << 18))) or length
    if b"connection: close" in lowered:
        raise ConnectionResetError
    return status


def _values(size_bytes: int) -> bytes:
    """Return a JSON array of about this many bytes that is slow to parse and validate."""
    return b"[" + b",".join([b'{"a":1}'] * (size_bytes // 8)) + b"]"


async def read_snapshots(target: Target) -> None:
    """Read the audit trail of a large session with all its documents, as JSON and as CSV."""
    path = f"/v1/sessions/{target.session_id}/events?limit=200&snapshots=1"
    await asyncio.gather(target.request("GET", path), target.request("GET", path, accept="text/csv"))


async def list_large_sessions(target: Target) -> None:
    """List the large sessions."""
    await asyncio.gather(*(target.request("GET", "/v1/sessions?limit=200") for _ in range(2)))


async def send_large_frames(target: Target) -> None:
    """Send 104 frames of 64 kB a second on one socket."""
    frame = b'{"type":"PING","t0":0,"x":' + _values(LARGE_FRAME_BYTES) + b"}"
    while True:
        with suppress(ConnectionClosed, InvalidStatus, OSError):
            async with await target.connect() as socket:
                reading = asyncio.create_task(_count_messages(target, socket))
                try:
                    while True:
                        await socket.send(frame.decode())
                        await asyncio.sleep(1 / FRAMES_PER_S)
                finally:
                    reading.cancel()
        await asyncio.sleep(0.05)


async def _count_messages(target: Target, socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in socket:
            target.answers[orjson.loads(message)["type"]] += 1
    target.answers[f"closed {socket.close_code}"] += 1


async def send_large_bodies(target: Target) -> None:
    """Send bodies of 65,009 bytes on four connections, also while the requests are refused."""
    body = b'{"metadata":{"x":' + _values(LARGE_BODY_BYTES - 40) + b"}}"
    await asyncio.gather(*(target.request("PATCH", f"/v1/sessions/{uuid4()}", body) for _ in range(4)))


async def replay_commands(target: Target) -> None:
    """Send the same command with the same key repeatedly on four connections."""
    path = f"/v1/sessions/{target.session_id}/pause"
    await asyncio.gather(
        *(target.request("POST", path, b"{}", idempotency_key="one-key") for _ in range(4)),
    )


async def simulate(target: Target) -> None:
    """Simulate a session with 5,000 changes of its metadata, on two connections."""
    session = {"sync_mode": "global", "total_time_ms": 86_400_000, "participants": []}
    commands = [
        {"at_ms": at, "command": "update_metadata", "args": {"metadata": {"k": "x" * 20, str(at % 300): at}}}
        for at in range(PATCHES)
    ]
    body = orjson.dumps({"session": session, "commands": commands, "until_ms": 1_000_000})
    await asyncio.gather(*(target.request("POST", "/v1/simulate", body) for _ in range(2)))


async def read_unlimited_routes(target: Target) -> None:
    """Read the metrics and the readiness, and request upgrades, each on two connections."""
    await asyncio.gather(
        *(target.request("GET", path) for path in ("/metrics", "/ready", "/ws") for _ in range(2)),
    )


async def scan_outbox(target: Target) -> None:
    """Request the time report and the events of unknown ids, on four connections."""
    await asyncio.gather(
        *(target.request("GET", f"/v1/participants/{uuid4()}/time") for _ in range(2)),
        *(target.request("GET", f"/v1/sessions/{uuid4()}/events") for _ in range(2)),
    )


async def open_live_tails(target: Target) -> None:
    """Open 98 live tails of a session and keep them open."""
    await asyncio.gather(*(target.open_tail() for _ in range(TAILS)))
    await asyncio.Event().wait()


async def subscribe_to_unknown_sessions(target: Target) -> None:
    """Subscribe to unknown sessions on 50 sockets, as fast as the answers arrive."""

    async def subscribe() -> None:
        while True:
            with suppress(ConnectionClosed, InvalidStatus, OSError):
                async with await target.connect() as socket:
                    while True:
                        await socket.send(orjson.dumps({"type": "SUBSCRIBE", "session_id": str(uuid4())}).decode())
                        target.answers[orjson.loads(await socket.recv())["type"]] += 1
            await asyncio.sleep(0.05)

    await asyncio.gather(*(subscribe() for _ in range(SUBSCRIBING_SOCKETS)))


async def request_long_reports(target: Target) -> None:
    """Request time reports by day over ten years, of a participant of a large session, on four connections."""
    path = f"/v1/participants/{target.participant_id}/time?from=2020-01-01T00:00:00Z&bucket=day"
    await asyncio.gather(*(target.request("GET", path) for _ in range(4)))


async def use_broken_session(target: Target) -> None:
    """Read and switch a session whose document in Redis is invalid, each on two connections."""
    path = f"/v1/sessions/{target.broken_id}"
    await asyncio.gather(
        *(target.request("GET", path) for _ in range(2)),
        *(target.request("POST", f"{path}/switch", b"{}") for _ in range(2)),
    )


async def switch_large_session(target: Target) -> None:
    """Switch a large session as often as the limit of its presses allows."""
    await target.request("POST", f"/v1/sessions/{target.session_id}/switch", b"{}")


ATTACKS: dict[str, Callable[[Target], Awaitable[None]]] = {
    "snapshots": read_snapshots,
    "lists": list_large_sessions,
    "frames": send_large_frames,
    "bodies": send_large_bodies,
    "huge": switch_large_session,  # before the replays, which pause the session
    "replays": replay_commands,
    "simulations": simulate,
    "unlimited": read_unlimited_routes,
    "outbox": scan_outbox,
    "tails": open_live_tails,
    "subscribes": subscribe_to_unknown_sessions,
    "reports": request_long_reports,
    "broken": use_broken_session,
    "streams": open_event_streams,
    "batches": flood_event_streams,
    "unread_streams": leave_event_streams_unread,
    "unread_bodies": leave_bodies_unread,
}
"""The attack functions by name."""


async def run(name: str, target: Target) -> None:
    attacking = asyncio.ensure_future(ATTACKS[name](target))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    attacking.cancel()
    with suppress(asyncio.CancelledError):
        await attacking
    print(orjson.dumps(target.answers).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], Target(*sys.argv[2:7])))
