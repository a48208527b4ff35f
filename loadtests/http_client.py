"""Minimal HTTP/1.1 client: one keep-alive connection, one request at a time.

A complete client would use more processor time than the server that is measured.
"""

import asyncio
from typing import Self, cast
from urllib.parse import urlsplit

LENGTH = b"content-length: "
LAST_PIECE = b"\r\n0\r\n\r\n"


class HttpConnection(asyncio.Protocol):
    """One connection. `post`, `patch` and `get` return the status and the body of the response."""

    def __init__(self, host: str, token: str | None = None) -> None:
        self._common_headers = f"Host: {host}\r\n"
        if token is not None:
            self._common_headers += f"Authorization: Bearer {token}\r\n"
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._response: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def open(cls, base_url: str, token: str | None = None) -> Self:
        """Connect to the server at `base_url`. Each request has `token`, if it is not None."""
        address = urlsplit(base_url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: cls(address.netloc, token), address.hostname or "", address.port or 80
        )
        return connection

    async def post(self, path: str, body: bytes = b"", command_id: str | None = None) -> tuple[int, bytes]:
        """Send a POST. `command_id` is sent as `Idempotency-Key`."""
        return await self._request(
            "POST", path, body, "" if command_id is None else f"Idempotency-Key: {command_id}\r\n"
        )

    async def patch(self, path: str, body: bytes) -> tuple[int, bytes]:
        return await self._request("PATCH", path, body)

    async def get(self, path: str) -> tuple[int, bytes]:
        return await self._request("GET", path, b"")

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    async def _request(self, method: str, path: str, body: bytes, headers: str = "") -> tuple[int, bytes]:
        assert self._transport is not None
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._common_headers}{headers}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode() + body)
        return await self._response

    # -- callbacks of asyncio.Protocol --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class is no subclass of asyncio.Transport

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        end = received.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        at = received.find(LENGTH, 0, end)
        if at < 0:  # a stream; its pieces stay encoded in the result
            if not received.endswith(LAST_PIECE):
                return
        elif len(received) < end + int(received[at + len(LENGTH) : received.index(b"\r", at)]):
            return
        self._received = b""
        assert self._response is not None
        if not self._response.done():  # the caller was cancelled
            self._response.set_result((int(received[9:12]), received[end:]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(ConnectionError("the server closed the connection"))
