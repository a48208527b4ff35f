"""Rendering of large response bodies without blocking the event loop: in a thread, or in pieces during the sending."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

LARGE_BYTES = 256 << 10
"""Bytes of content above which a response body is rendered in a thread or sent in pieces."""

_BLOCK_BYTES = 64 << 10


async def render_off_loop_if_large(content_bytes: int, render: Callable[[], bytes]) -> bytes:
    """Return the result of `render`, which is called in a thread if the content is large.

    `content_bytes` is the approximate number of bytes that `render` processes.
    """
    return await asyncio.to_thread(render) if content_bytes > LARGE_BYTES else render()


async def stream_in_blocks(pieces: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the pieces, joined to blocks of at least 64 KiB. Only the last block can be smaller.

    A piece is rendered only after the client has received most of the earlier pieces.
    """
    block: list[bytes] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece)
        if size >= _BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)
