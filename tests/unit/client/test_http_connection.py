"""Answers of an HTTP server, in each form of a body, complete and broken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from synckairos_client.http_connection import HttpConnection

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def connection_to(*answers: bytes) -> AsyncIterator[HttpConnection]:
    """Connect to a server that writes each answer in small pieces after one request, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                for at in range(0, len(answer), 7):
                    writer.write(answer[at : at + 7])
                    await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(20):
        connection = await HttpConnection.open(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", None)
        try:
            yield connection
        finally:
            connection.abort()


async def answer_of(connection: HttpConnection) -> tuple[int, bytes]:
    await connection.request("GET", "/", {})
    return connection.status, await connection.read_all()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", (200, b"hello")),
        (OK + b"Content-Length: 0\r\n\r\n", (200, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\n!!!\r\n0\r\n\r\n",
            (200, b"hello!!!"),
        ),
        (OK + b"transfer-encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nTrailer: x\r\n\r\n", (200, b"a")),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", (200, b"a")),
        (OK + b"\r\nuntil the end", (200, b"until the end")),
    ],
    ids=["length", "empty", "no-content", "chunks", "trailer", "early-hints", "until-the-end"],
)
async def test_answer_is_read_to_its_end(answer: bytes, expected: tuple[int, bytes]) -> None:
    async with connection_to(answer) as connection:
        assert await answer_of(connection) == expected


async def test_connection_has_several_requests_one_after_the_other() -> None:
    chunked = OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    async with connection_to(chunked, b"HTTP/1.1 204 X\r\n\r\n", chunked) as connection:
        assert [await answer_of(connection) for _ in range(3)] == [(200, b"ab"), (204, b""), (200, b"ab")]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        OK + b"X: " + b"x" * 70_000,
        OK + b"Content-Length: 9\r\n\r\nhello",
        OK + b"Content-Length: much\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
        OK + b"\r\n" + b"x" * 70_000,
    ],
    ids=["none", "other-protocol", "no-status", "status-words", "long-head", "short-body", "length-words", "cut-chunk",
         "chunk-words", "cut-after-chunk", "long-body"],
)  # fmt: skip
async def test_broken_answer_is_a_network_error(answer: bytes) -> None:
    async with connection_to(answer) as connection:
        with pytest.raises(OSError):  # noqa: PT011  the kind of network error does not matter
            await answer_of(connection)


@pytest.mark.parametrize("header", [{"X": "a\r\nY: b"}, {"X\r\nY": "b"}], ids=["value", "name"])
async def test_header_with_a_line_break_is_refused(header: dict[str, str]) -> None:
    async with connection_to(b"") as connection:
        with pytest.raises(ValueError, match="line break"):
            await connection.request("GET", "/", header)
