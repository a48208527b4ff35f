"""Rendering of large response bodies without blocking the event loop: in a thread, or in pieces during the sending."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

from synckairos.limits.processor_time import run_in_thread

LARGE_BYTES = 256 << 10
"""Bytes of content above which a response body is rendered in a thread or sent in pieces."""

_BLOCK_BYTES = 64 << 10


async def render_off_loop_if_large(content_bytes: int, render: Callable[[], bytes]) -> bytes:
    """Return the result of `render`. Call it in a thread if `content_bytes` exceeds `LARGE_BYTES`, otherwise directly.

    `content_bytes` is the approximate number of bytes that `render` processes. A direct call blocks the event loop.
    """
    return await run_in_thread(render) if content_bytes > LARGE_BYTES else render()


def join_in_blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces, joined to blocks of at least 64 KiB. Only the final block can be smaller.

    The pieces of a block are read from `pieces` when the caller requests the block.
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


async def stream_in_blocks(pieces: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the blocks of `join_in_blocks` as the body of a response.

    If the caller sends each block before it requests the next block, the pieces are rendered during the sending.
    """
    for block in join_in_blocks(pieces):
        yield block
