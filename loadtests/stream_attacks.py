"""Attacks through event streams, and by clients that do not read their answers, for the load test `abuse`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import orjson

OPENING_CONNECTIONS = 20
FLOODED_STREAMS = 20
BATCH_FRAMES = 64
UNREAD_STREAMS = 100
UNREAD_BODIES_PER_S = 50
RECEIVE_BUFFER_BYTES = 4_096


class StreamTarget(Protocol):
    """The attacked server."""

    session_id: str
    """The id of a large session."""

    def count_answer(self, status: str) -> None:
        """Count an answer by its status."""

    async def open_connection(
        self, receive_buffer: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open an HTTP connection from the attacker's address. `receive_buffer` is the size of SO_RCVBUF in bytes."""

    def render_request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the bytes of a request with this body as JSON."""


async def _open_stream(
    target: StreamTarget, receive_buffer: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    """Open an event stream. Return its connection and the stream id, an empty text if the server refused it."""
    reader, writer = await target.open_connection(receive_buffer)
    writer.write(target.render_request("GET", "/v3/stream"))
    status = (await reader.readline()).split(b" ")[1].decode()
    target.count_answer(status)
    if status != "200":
        return reader, writer, ""
    while not (line := await reader.readline()).startswith(b"data: "):
        if not line:
            raise ConnectionResetError
    return reader, writer, orjson.loads(line.removeprefix(b"data: "))["stream_id"]


async def _repeat(attack: Callable[[], Awaitable[None]]) -> None:
    """Attack until cancelled. Begin again when the server closes the connection."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError, IndexError, ValueError):
            await attack()
        await asyncio.sleep(0.01)


async def _send_batches(target: StreamTarget, stream_id: str, frames: list[str]) -> None:
    """Send batches with these frames on one connection, as fast as the answers arrive, until the stream is closed."""
    reader, writer = await target.open_connection()
    try:
        sequence, status = 0, b"204"
        while status != b"404":
            sequence += 1
            body = orjson.dumps({"stream_id": stream_id, "sequence": sequence, "frames": frames})
            writer.write(target.render_request("POST", "/v3/frames", body))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = head.split(b" ", 2)[1]
            target.count_answer(f"batch {status.decode()}")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or b"0"))
    finally:
        writer.close()


async def open_event_streams(target: StreamTarget) -> None:
    """Open event streams on 20 connections, and close each at once."""

    async def open_and_close() -> None:
        _, writer, _ = await _open_stream(target)
        writer.close()

    await asyncio.gather(*(_repeat(open_and_close) for _ in range(OPENING_CONNECTIONS)))


async def flood_event_streams(target: StreamTarget) -> None:
    """Send batches of 64 messages on 20 event streams, as fast as the answers arrive."""
    frames = [orjson.dumps({"type": "PING", "t0": number}).decode() for number in range(BATCH_FRAMES)]

    async def flood() -> None:
        reader, writer, stream_id = await _open_stream(target)

        async def read() -> None:
            while await reader.read(1 << 16):
                pass

        reading = asyncio.create_task(read())
        try:
            await _send_batches(target, stream_id, frames)
        finally:
            reading.cancel()
            writer.close()

    await asyncio.gather(*(_repeat(flood) for _ in range(FLOODED_STREAMS)))


async def leave_event_streams_unread(target: StreamTarget) -> None:
    """Subscribe to a large session on 100 event streams, and read nothing more."""
    subscribe = orjson.dumps({"type": "SUBSCRIBE", "id": "s", "session_id": target.session_id}).decode()

    async def subscribe_and_wait() -> None:
        _, writer, stream_id = await _open_stream(target, RECEIVE_BUFFER_BYTES)
        try:
            await _send_batches(target, stream_id, [subscribe])
        finally:
            writer.close()

    await asyncio.gather(*(_repeat(subscribe_and_wait) for _ in range(UNREAD_STREAMS)))


async def leave_bodies_unread(target: StreamTarget) -> None:
    """Read a large session on 50 new connections a second, and read no answer beyond its status."""
    writers: list[asyncio.StreamWriter] = []
    while True:
        with suppress(OSError, IndexError):
            reader, writer = await target.open_connection(RECEIVE_BUFFER_BYTES)
            writers.append(writer)
            writer.write(target.render_request("GET", f"/v1/sessions/{target.session_id}"))
            target.count_answer((await reader.readline()).split(b" ")[1].decode())
        await asyncio.sleep(1 / UNREAD_BODIES_PER_S)
