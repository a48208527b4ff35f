"""Answers that come piece by piece: sent as they are made, and ended as soon as nobody reads them any more."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from starlette.types import Receive, Send


async def send_stream(
    stream: AsyncGenerator[bytes, None],
    status: int,
    headers: Sequence[tuple[bytes, bytes]],
    receive: Receive,
    send: Send,
    *,
    head: bool,
) -> None:
    """Send every piece of `stream`; a client that leaves cancels it, wherever it waits."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    if head:
        await send({"type": "http.response.body", "body": b""})
        return

    async def pour() -> None:
        async for piece in stream:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    pouring = asyncio.create_task(pour())
    leaving = asyncio.create_task(until_gone())
    try:
        await asyncio.wait((pouring, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        pouring_failed = pouring.done() and not pouring.cancelled() and pouring.exception() is not None
        for task in (pouring, leaving):
            task.cancel()
        await asyncio.gather(pouring, leaving, return_exceptions=True)
        await stream.aclose()
    if pouring_failed:
        raise pouring.exception() or RuntimeError
