"""One asynchronous HTTP/1.1 connection, whose answers can be read while they arrive.

`rest.py` uses `http.client` in threads instead: its requests are short, and they belong to no event loop.
"""

import asyncio
import http.client
import io
import ssl
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

MAX_LINE_BYTES = 65_536
"""Bytes: maximum size of the head of an answer, and of one part of a body that is read."""

_BROKEN = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, http.client.HTTPException, ValueError)


class HttpConnection:
    """An open connection to an HTTP server. It has one request at a time, whose answer must be read to its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.status = 0
        """Status of the last answer."""
        self.headers = http.client.HTTPMessage()
        """Headers of the last answer."""
        self._reader = reader
        self._writer = writer
        self._host = host
        self._is_chunked = False
        self._left: int | None = 0
        """Bytes of the body or of its present chunk that are not read yet. None: the body ends with the connection."""

    @classmethod
    async def open(cls, base_url: str, proxy: str | None) -> Self:
        """Connect to the server at `base_url`, directly or through the HTTP proxy with the URL `proxy`.

        Raises: OSError without a connection.
        """
        url = urlsplit(base_url)
        is_tls, host = url.scheme == "https", url.hostname or ""
        port = url.port or (443 if is_tls else 80)
        hop = url if proxy is None else urlsplit(proxy)
        reader, writer = await asyncio.open_connection(
            hop.hostname,
            port if proxy is None else hop.port or 80,
            ssl=ssl.create_default_context() if is_tls and proxy is None else None,
            limit=MAX_LINE_BYTES,
        )
        connection = cls(reader, writer, url.netloc.rpartition("@")[2])
        try:
            if proxy is not None:
                await connection._open_tunnel(f"{host}:{port}", host if is_tls else None)
        except BaseException:
            connection.abort()
            raise
        return connection

    def abort(self) -> None:
        """Close the connection immediately. A call that reads raises ConnectionError, or gets the end of the body."""
        self._writer.transport.abort()

    async def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a request, and read the head of its answer into `status` and `headers`.

        Raises: OSError if there is no answer.
        """
        lengths = {"Content-Length": str(len(body))} if body else {}
        fields = {"Host": self._host, **headers, **lengths}
        if any("\r" in text or "\n" in text for text in (target, *fields, *fields.values())):
            raise ValueError("A header contains a line break")
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        await self._writer.drain()
        await self._read_head()

    async def read_part(self) -> bytes:
        """Return the next part of the body as soon as it arrives, empty bytes at the end of the body.

        Raises: OSError if the connection ends within the body.
        """
        try:
            if self._is_chunked and self._left == 0:
                await self._begin_chunk()
            if self._left == 0:
                return b""
            size = MAX_LINE_BYTES if self._left is None else min(self._left, MAX_LINE_BYTES)
            part = await self._reader.read(size)
            if self._left is None:
                return part
            if not part:
                raise ConnectionResetError("the connection ended within the body")
            self._left -= len(part)
            if self._is_chunked and self._left == 0:
                await self._reader.readexactly(2)
            return part
        except _BROKEN as fault:
            raise ConnectionResetError(f"the answer is not complete: {fault}") from fault

    async def read_all(self, limit: int = MAX_LINE_BYTES) -> bytes:
        """Return the whole body. Raises: OSError if it has more than `limit` bytes, or is not complete."""
        body = b""
        while part := await self.read_part():
            body += part
            if len(body) > limit:
                raise ConnectionAbortedError(f"the answer has more than {limit} bytes")
        return body

    async def _open_tunnel(self, target: str, tls_host: str | None) -> None:
        self._writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode("latin-1"))
        await self._read_head()
        if self.status != 200:
            raise ConnectionRefusedError(f"the proxy answers {self.status}")
        if tls_host is not None:
            await self._writer.start_tls(ssl.create_default_context(), server_hostname=tls_host)

    async def _read_head(self) -> None:
        try:
            while True:
                line, _, fields = (await self._reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
                self.status = int(line.split(maxsplit=2)[1])
                if self.status >= 200:
                    break
            self.headers = http.client.parse_headers(io.BytesIO(fields))
            length = self.headers.get("Content-Length")
            self._is_chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
            has_no_length = self._is_chunked or self.status in (204, 304)
            self._left = 0 if has_no_length else None if length is None else int(length)
        except (*_BROKEN, IndexError) as fault:
            raise ConnectionResetError("there is no HTTP answer") from fault

    async def _begin_chunk(self) -> None:
        size_text = (await self._reader.readuntil(b"\r\n")).partition(b";")[0]
        self._left = int(size_text, 16)
        if self._left == 0:
            while await self._reader.readuntil(b"\r\n") != b"\r\n":
                pass
            self._is_chunked = False
