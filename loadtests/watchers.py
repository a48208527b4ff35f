"""A process with many watchers: `python -m loadtests.watchers URL COUNT [SESSION]`.

With a session id, the watchers use synckairos.v3 and subscribe to this session. Without a session id they use v2, and
the URL names the session.

The process prints `ready` when all watchers have a first message with a version. Then it prints one line for each
version that all watchers have: the version, and the number of frames that all watchers together have received. The
watchers do as little work as possible, so that the measured time is the time of the server.
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
PARALLEL_CONNECTS = 64
PING, PONG = 0x89, 0x8A
ZERO_MASK = (0, 0, 0, 0)
"""Mask of a client's frame (RFC 6455). Zeros are enough, because there is no proxy between client and server."""


class Progress:
    """The versions and frames that all watchers have received."""

    def __init__(self, watchers: int) -> None:
        self.frames = 0
        self.version_of_all = 0
        self._watchers_by_version = Counter({0: watchers})

    def advance(self, before: int, version: int) -> None:
        """Count that a watcher changed from version `before` to `version`.

        Print a line if all watchers now have the version.
        """
        counts = self._watchers_by_version
        counts[before] -= 1
        counts[version] += 1
        if not counts[before]:
            del counts[before]
            self.version_of_all = min(counts)
            os.write(1, b"%d %d\n" % (self.version_of_all, self.frames))


class Watcher(asyncio.Protocol):
    """A WebSocket client that reads only the version in each frame, from the first kilobyte of the frame."""

    def __init__(self, progress: Progress, url: str, session_id: str) -> None:
        self._progress = progress
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
                message = f'{{"type":"SUBSCRIBE","session_id":"{self._session_id}"}}'.encode()
                self._transport.write(bytes((0x81, 0x80 | len(message), *ZERO_MASK)) + message)
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
                self._transport.write(bytes((PONG, 0x80 | size, *ZERO_MASK)) + data[begin : begin + size])
            else:
                self._on_frame(data, begin, begin + size)
            at = begin + size
        self._buffer = data[at:]

    def _on_frame(self, data: bytes, begin: int, end: int) -> None:
        found = _VERSION.search(data, begin, end)
        if found is not None:
            before, self._version = self._version, int(found[1])
            self._progress.frames += 1
            self._progress.advance(before, self._version)

    def connection_lost(self, exc: Exception | None) -> None:
        print(f"a watcher lost its connection: {exc!r}", file=sys.stderr)
        os._exit(1)


async def watch(url: str, count: int, session_id: str) -> None:
    progress, parts, loop = Progress(count), urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80

    async def connect() -> None:
        _, watcher = await loop.create_connection(lambda: Watcher(progress, url, session_id), host, port)
        assert await watcher.upgraded, "refused"

    for first in range(0, count, PARALLEL_CONNECTS):
        await asyncio.gather(*(connect() for _ in range(min(PARALLEL_CONNECTS, count - first))))
    os.write(1, b"ready\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    uvloop.run(watch(sys.argv[1], int(sys.argv[2]), "".join(sys.argv[3:])))
