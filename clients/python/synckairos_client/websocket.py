"""The first transport of a connection: a WebSocket."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from synckairos_client.errors import error_code_in, parse_retry_after_s
from synckairos_client.socket_interface import (
    MAX_RECEIVED_BYTES,
    NO_CLOSE_FRAME,
    SUBPROTOCOL,
    MessageSocket,
    OpeningFailed,
    OpeningRefused,
    SocketClosed,
)

CLOSE_TIMEOUT_S = 1.0
"""Seconds: maximum duration of the closing handshake."""


class WebSocket:
    """An open WebSocket. Implements `MessageSocket`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @property
    def close_code(self) -> int:
        return self._socket.close_code or NO_CLOSE_FRAME

    @property
    def close_reason(self) -> str:
        return self._socket.close_reason or ""

    async def receive(self) -> bytes:
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise SocketClosed from closed

    async def send(self, message: bytes) -> None:
        try:
            await self._socket.send(message, text=True)
        except ConnectionClosed as closed:
            raise SocketClosed from closed

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code, reason)


@asynccontextmanager
async def open_websocket(
    url: str, headers: Mapping[str, str], proxy: str | None, open_timeout_s: float
) -> AsyncIterator[MessageSocket]:
    """Open a WebSocket, and close it at the end of the block.

    `url` is `ws://host:port/ws`. `headers` are sent with the handshake. `proxy` is the URL of a proxy, None for no
    proxy. `open_timeout_s` is the time limit in seconds for connecting and the handshake together.

    Raises: OpeningRefused, OpeningFailed, and other OSErrors if there is no network connection.
    """
    connecting = connect(
        url, subprotocols=[Subprotocol(SUBPROTOCOL)], additional_headers=headers, proxy=proxy, compression=None,
        ping_interval=None, max_size=MAX_RECEIVED_BYTES, open_timeout=open_timeout_s, close_timeout=CLOSE_TIMEOUT_S,
    )  # fmt: skip
    try:
        socket = await connecting
    except InvalidStatus as refused:
        answer = refused.response
        retry_after_s = parse_retry_after_s(answer.headers.get("Retry-After"))
        raise OpeningRefused(answer.status_code, error_code_in(answer.body), retry_after_s) from refused
    except InvalidHandshake as trouble:
        raise OpeningFailed(str(trouble) or type(trouble).__name__) from trouble
    try:
        if socket.subprotocol != SUBPROTOCOL:
            raise OpeningRefused(101, "NO_SUBPROTOCOL")
        yield WebSocket(socket)
    finally:
        await socket.close()
