"""Rendering of large response bodies without blocking the event loop: in a thread, or in pieces during the sending."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

LARGE_BYTES = 256 << 10
"""Bytes of content above which a response body is rendered in a thread or sent in pieces."""

_BLOCK_BYTES = 64 << 10


async def render_off_loop_if_large(content_bytes: int, render: Callable[[], bytes]) -> bytes:
    """Return the result of `render`. Call it in a thread if `content_bytes` exceeds `LARGE_BYTES`, otherwise directly.

    `content_bytes` is the approximate number of bytes that `render` processes. A direct call blocks the event loop.
    """
    return await asyncio.to_thread(render) if content_bytes > LARGE_BYTES else render()


async def stream_in_blocks(pieces: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the pieces, joined to blocks of at least 64 KiB. Only the final block can be smaller.

    `pieces` is read only when the caller requests the next block. So if the caller sends each block before it requests
    the next block, the pieces are rendered during the sending.
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
