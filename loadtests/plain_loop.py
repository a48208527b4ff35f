"""Plain comparison server: `python -m loadtests.plain_loop HOST BYTES` calls `write()` in a loop over all its sockets.

The process prints its port and accepts WebSocket clients. For each line on stdin, which is a version number, it sends a
frame of BYTES bytes with this version to all clients.
"""

import asyncio
import base64
import hashlib
import sys
from typing import cast

import uvloop

from synckairos.wire.websocket_frames import text_frame

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class PlainSocket(asyncio.Protocol):
    """The socket of one client, with the shortest possible handshake."""

    transports: list[asyncio.Transport] = []  # noqa: RUF012 - one server per process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        key = data.lower().partition(b"sec-websocket-key:")[0]
        value = data[len(key) + 18 :].split(b"\r\n", 1)[0].strip()
        accept = base64.b64encode(hashlib.sha1(value + _GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + version_frame(1, 64)
        )
        self.transports.append(self._transport)


def version_frame(version: int, size: int) -> bytes:
    """Return a frame with a version number and `size` bytes of payload."""
    head = b'{"version":%d,"state":"' % version
    return text_frame(head + b"x" * max(0, size - len(head) - 2) + b'"}')


async def serve(host: str, size: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(PlainSocket, host, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        frame = version_frame(int(line), size)
        for transport in PlainSocket.transports:
            transport.write(frame)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
