"""A crowd of watchers in a process of its own: `python -m loadtests.crowd URL COUNT [SESSION]`.

With a session they speak synckairos.v3 and subscribe to it, else v2, and the URL says what they watch.

Says `ready` when all are connected and have a first message with a version, then one line for each version that the
last of them has got: the version, and how many frames all have got so far. Clients are as cheap as they can be, so that
they measure the server and not themselves.
"""

import asyncio
import base64
import os
import re
import resource
import sys
from collections import Counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

_VERSION = re.compile(rb'"version":(\d+)')
CONNECTS_AT_ONCE = 64
PING, PONG = 0x89, 0x8A


class Crowd:
    """What all watchers have got."""

    def __init__(self, size: int) -> None:
        self.frames = 0
        self.everybody_has = 0
        self._newest = Counter({0: size})

    def got(self, before: int, version: int) -> None:
        """Note that a watcher went on from one version to another."""
        newest = self._newest
        newest[before] -= 1
        newest[version] += 1
        if not newest[before]:
            del newest[before]
            self.everybody_has = min(newest)
            os.write(1, b"%d %d\n" % (self.everybody_has, self.frames))


class Watcher(asyncio.Protocol):
    """One WebSocket client that looks at nothing but versions. Frames must hold one within their first kilobyte."""

    def __init__(self, crowd: Crowd, url: str, session_id: str) -> None:
        self._crowd = crowd
        self._url = urlsplit(url)
        self._session_id = session_id
        self._buffer = b""
        self._is_open = False
        self._version = 0
        self.upgraded = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        target = f"{self._url.path or '/'}?{self._url.query}"
        dialect = "Sec-WebSocket-Protocol: synckairos.v3\r\n" if self._session_id else ""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            f"GET {target} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"{dialect}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._is_open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            self._is_open = head.startswith(b"HTTP/1.1 101")
            self.upgraded.set_result(self._is_open)
            if self._session_id:
                asked = f'{{"type":"SUBSCRIBE","session_id":"{self._session_id}"}}'.encode()
                # A mask of zeros is as good as any where nobody stands in between.
                self._transport.write(bytes((0x81, 0x80 | len(asked), 0, 0, 0, 0)) + asked)
        at = 0
        while len(data) - at >= 2:
            size, begin = data[at + 1], at + 2
            if size == 126:
                size, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < begin + size:
                break
            if data[at] == PING:
                self._transport.write(bytes((PONG, 0x80 | size, 0, 0, 0, 0)) + data[begin : begin + size])
            else:
                self._frame(data, begin, begin + size)
            at = begin + size
        self._buffer = data[at:]

    def _frame(self, data: bytes, begin: int, end: int) -> None:
        found = _VERSION.search(data, begin, end)
        if found is not None:
            before, self._version = self._version, int(found[1])
            self._crowd.frames += 1
            self._crowd.got(before, self._version)

    def connection_lost(self, exc: Exception | None) -> None:
        print(f"a watcher was cut: {exc!r}", file=sys.stderr)
        os._exit(1)


async def watch(url: str, count: int, session_id: str) -> None:
    crowd, parts, loop = Crowd(count), urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80

    async def join() -> None:
        _, watcher = await loop.create_connection(lambda: Watcher(crowd, url, session_id), host, port)
        assert await watcher.upgraded, "refused"

    for at in range(0, count, CONNECTS_AT_ONCE):
        await asyncio.gather(*(join() for _ in range(min(CONNECTS_AT_ONCE, count - at))))
    os.write(1, b"ready\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(watch(sys.argv[1], int(sys.argv[2]), "".join(sys.argv[3:])))
