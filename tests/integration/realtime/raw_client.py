"""WebSocket client on a plain socket. It reads only when a test reads, and sends no pongs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def handshake(target: str, *headers: str) -> bytes:
    """Return the request of a WebSocket."""
    lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", *headers, "", ""]
    return "\r\n".join(lines).encode()


class RawClient:
    """A connection to a server on loopback."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def upgrade(self, target: str, *headers: str) -> bytes:
        """Request a WebSocket and return the head of the response."""
        await self.send(handshake(target, *headers))
        return await self.head()

    async def head(self) -> bytes:
        """Return the bytes up to an empty line. If the server closes before, return all bytes."""
        while b"\r\n\r\n" not in self._buffer and await self._more():
            pass
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    async def rest(self) -> bytes:
        """Return all bytes until the server closes the connection."""
        while await self._more():
            pass
        rest, self._buffer = self._buffer, b""
        return rest

    async def frame(self) -> tuple[int, bytes] | None:
        """Return the opcode and the payload of the next frame. Return None after the final frame."""
        while True:
            size = self._buffer[1] if len(self._buffer) > 1 else 0
            begin = {126: 4, 127: 10}.get(size, 2)
            if len(self._buffer) >= begin:
                end = begin + (size if begin == 2 else int.from_bytes(self._buffer[2:begin], "big"))
                if len(self._buffer) >= end:
                    opcode, payload = self._buffer[0] & 0x0F, self._buffer[begin:end]
                    self._buffer = self._buffer[end:]
                    return opcode, payload
            if not await self._more():
                return None

    async def versions_until(self, version: int) -> list[int]:
        """Return the versions of all received states, until the state with the version `version`."""
        found: list[int] = []
        while version not in found:
            frame = await self.frame()
            assert frame is not None, found
            if frame[0] == 1 and (state := orjson.loads(frame[1]).get("state")):
                found.append(state["version"])
        return found

    async def close_code(self) -> int | None:
        """Read until the server closes, and return the code of the close frame. Return None without a close frame."""
        code = None
        while (frame := await self.frame()) is not None:
            if frame[0] == 8:
                code = int.from_bytes(frame[1][:2], "big")
        return code

    async def _more(self) -> bool:
        try:
            async with asyncio.timeout(20):
                data = await asyncio.get_running_loop().sock_recv(self._sock, 1 << 20)
        except ConnectionError:
            return False
        self._buffer += data
        return bool(data)


@asynccontextmanager
async def raw_client(port: int, receive_buffer: int = 0) -> AsyncIterator[RawClient]:
    """Connect to `port`. `receive_buffer` is the kernel's receive buffer in bytes; 0 uses the default size."""
    with socket.socket() as sock:
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        yield RawClient(sock)
