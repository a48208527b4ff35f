"""Streaming of HTTP response bodies: each piece is sent when it is produced, until stream or connection ends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from starlette.types import Receive, Send

EVENT_STREAM = b"text/event-stream"
"""Content type of live tails. They have no end, so their end by the server is no fault."""


class ByteStream(Protocol):
    """The pieces of a response body. `aclose` ends the stream at any time."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """End the stream, even while another task waits for its next piece."""


Pace = Callable[[ByteStream], AsyncGenerator[bytes, None]]
"""Function that yields the pieces of a stream, each at the time at which it may be produced and sent."""


async def send_stream(
    stream: ByteStream,
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    receive: Receive,
    send: Send,
    *,
    headers_only: bool,
    pace: Pace,
    ended: asyncio.Event | None = None,
    is_endless: bool = False,
) -> None:
    """Send a response whose body is the pieces of `stream`. Return when the stream or the connection ends.

    The pieces are sent as `pace` yields them. If the client disconnects, close `stream` immediately, even if it waits
    for its next piece, and return without an error.

    If `ended` is set, also close `stream` immediately and return without an error. The body then ends normally if
    `is_endless` is True. Otherwise it stays incomplete, so that no part looks like a whole file. If `headers_only` is
    True (HEAD requests), send an empty body and do not read `stream`. In all cases `stream` is closed at the end.

    Raises: The exceptions of `stream`. The client has then already received the status and headers.
    """
    try:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        if headers_only:
            await send({"type": "http.response.body", "body": b""})
        else:
            ended = ended or asyncio.Event()
            await _send_pieces_until_disconnect(pace(stream), receive, send, ended)
            if ended.is_set() and is_endless:
                await send({"type": "http.response.body", "body": b""})
    finally:
        await stream.aclose()


async def _send_pieces_until_disconnect(
    pieces: AsyncGenerator[bytes, None], receive: Receive, send: Send, ended: asyncio.Event
) -> None:
    async def send_pieces() -> None:
        async with aclosing(pieces):
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def wait_for_disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    sending = asyncio.create_task(send_pieces())
    others = (asyncio.create_task(wait_for_disconnect()), asyncio.create_task(ended.wait()))
    try:
        await asyncio.wait((sending, *others), return_when=asyncio.FIRST_COMPLETED)
    finally:
        has_failed = sending.done() and not sending.cancelled() and sending.exception() is not None
        for task in (sending, *others):
            task.cancel()
        await asyncio.gather(sending, *others, return_exceptions=True)
    if has_failed:
        raise sending.exception() or RuntimeError
