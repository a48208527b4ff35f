"""Large response bodies, rendered in pieces during the sending, so that no body blocks the event loop."""

from collections.abc import AsyncGenerator, Iterable, Iterator

from synckairos.http.request_response import RestResponse

LARGE_BYTES = 256 << 10
"""Bytes of content above which a response body is rendered and sent in pieces."""

_BLOCK_BYTES = 64 << 10


def respond_with_pieces(pieces: Iterator[bytes], content_bytes: int, content_type: bytes) -> RestResponse:
    """Return a response whose body is these pieces. If the body is large, it is a stream.

    `content_bytes` is the approximate size of the body, from which the function decides. A piece of a stream is taken
    from `pieces` when it is sent.
    """
    if content_bytes > LARGE_BYTES:
        return RestResponse(stream=stream_in_blocks(pieces), content_type=content_type)
    return RestResponse(b"".join(pieces), content_type=content_type)


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
