"""Large response bodies: downloads of a client are counted until they are closed."""

from collections.abc import AsyncIterator

import pytest

from synckairos.errors import TooManyConnections
from synckairos.http.large_bodies import LARGE_BYTES, MAX_DOWNLOADS, Downloads, respond_with_pieces


class Stream:
    """A stream of two pieces."""

    def __init__(self) -> None:
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"first"
        yield b"second"

    async def aclose(self) -> None:
        self.closed += 1


async def test_client_with_too_many_downloads_is_refused_until_one_is_closed() -> None:
    downloads = Downloads()
    streams = [await downloads.count("a", Stream()) for _ in range(MAX_DOWNLOADS)]
    refused = Stream()
    with pytest.raises(TooManyConnections, match=f"at most {MAX_DOWNLOADS} downloads"):
        await downloads.count("a", refused)
    assert refused.closed == 1, "its page does not stay in memory"
    other = await downloads.count("b", Stream())
    await streams[0].aclose()
    await streams[0].aclose()  # a second close frees no second place
    streams[0] = await downloads.count("a", Stream())
    with pytest.raises(TooManyConnections):
        await downloads.count("a", Stream())
    assert downloads.client_count == 2
    for stream in (*streams, other):
        await stream.aclose()
    assert downloads.client_count == 0


async def test_counted_download_has_the_pieces_of_its_stream_and_closes_it() -> None:
    stream = Stream()
    counted = await Downloads().count("a", stream)
    assert [piece async for piece in counted] == [b"first", b"second"]
    await counted.aclose()
    assert stream.closed == 1


@pytest.mark.parametrize("size", [LARGE_BYTES, LARGE_BYTES + 1])
async def test_only_a_large_body_is_a_stream(size: int) -> None:
    pieces = [b"x" * (size // 2), b"y" * (size - size // 2)]
    response = respond_with_pieces(iter(pieces), size, b"text/csv")
    assert response.content_type == b"text/csv"
    if size > LARGE_BYTES:
        assert response.stream is not None
        assert b"".join([block async for block in response.stream]) == b"".join(pieces)
    else:
        assert (response.stream, response.body) == (None, b"".join(pieces))
