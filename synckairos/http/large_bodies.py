"""Large response bodies, rendered in pieces during the sending, so that no body blocks the event loop."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator

from synckairos.errors import TooManyConnections
from synckairos.http.request_response import RestResponse
from synckairos.http.streaming_response import ByteStream

LARGE_BYTES = 256 << 10
"""Bytes of content above which a response body is rendered and sent in pieces."""

MAX_DOWNLOADS = 20
"""Downloads of one client that are sent at the same time. A download is a response above `LARGE_BYTES` with an end.

A download keeps up to about 5 MB in memory until the client has received it, and a client can receive slowly.
"""

_BLOCK_BYTES = 64 << 10


class Downloads:
    """The running downloads of all clients of this instance."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    async def count(self, client: str, stream: ByteStream) -> ByteStream:
        """Return a stream with the pieces of `stream`, which counts as a download of the client until it is closed.

        Raises: TooManyConnections if the client has the maximum number of downloads. `stream` is then closed.
        """
        if self._running[client] >= MAX_DOWNLOADS:
            await stream.aclose()
            raise TooManyConnections(f"A client has at most {MAX_DOWNLOADS} downloads at a time; finish one first")
        self._running[client] += 1
        return _CountedDownload(stream, lambda: self._end(client))

    def _end(self, client: str) -> None:
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]

    @property
    def client_count(self) -> int:
        """Return the number of clients with downloads."""
        return len(self._running)


class _CountedDownload:
    """A stream that calls `on_end` when it is closed for the first time."""

    def __init__(self, stream: ByteStream, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end: Callable[[], None] | None = on_end

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        on_end, self._on_end = self._on_end, None
        try:
            await self._stream.aclose()
        finally:
            if on_end is not None:
                on_end()


def stream_large_body(response: RestResponse) -> None:
    """Change a response with a large body into a stream of the same bytes, with their number in `Content-Length`.

    So at most `LARGE_BYTES` of the body are in the buffers of a connection. The caller must count the stream as a
    download.
    """
    response.headers.append((b"content-length", b"%d" % len(response.body)))
    response.stream, response.body = _stream_slices(response.body), b""


async def _stream_slices(body: bytes) -> AsyncGenerator[bytes, None]:
    for begin in range(0, len(body), LARGE_BYTES):
        yield body[begin : begin + LARGE_BYTES]


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
