"""The least a server can do: `python -m loadtests.plain_loop HOST BYTES`, a loop of `write()` over all its sockets.

Prints its port. Accepts WebSocket clients, and for each line on stdin, a number, writes them all one frame of BYTES
with that number as its version.
"""

import asyncio
import base64
import hashlib
import sys
from typing import cast

import uvloop

from synckairos.wire.websocket_frames import text_frame

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Client(asyncio.Protocol):
    """A socket after the shortest handshake there is."""

    transports: list[asyncio.Transport] = []  # noqa: RUF012 - one server a process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        key = data.lower().partition(b"sec-websocket-key:")[0]
        value = data[len(key) + 18 :].split(b"\r\n", 1)[0].strip()
        accept = base64.b64encode(hashlib.sha1(value + _GUID).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frame_of(1, 64)
        )
        self.transports.append(self._transport)


def frame_of(version: int, size: int) -> bytes:
    head = b'{"version":%d,"state":"' % version
    return text_frame(head + b"x" * max(0, size - len(head) - 2) + b'"}')


async def serve(host: str, size: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Client, host, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        frame = frame_of(int(line), size)
        for transport in Client.transports:
            transport.write(frame)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
