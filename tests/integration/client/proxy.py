"""A TCP proxy between a client and a server.

It delays each direction, cuts connections, blocks WebSockets, and can change the server.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

ShouldCut = Callable[[bytes], bool]

Upgrades = Literal["passed", "cut", "stripped", "refused"]
"""What happens to handshakes of WebSockets: passed on, connection cut, passed on without `Upgrade`, or a page with 403.

Networks block WebSockets in all of these ways.
"""

UPGRADE = re.compile(rb"\r\nUpgrade: websocket(?=\r\n)", re.IGNORECASE)

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 22\r\nConnection: close\r\n\r\n<html>blocked</html>\r\n"

NO_LISTENER = ("127.0.0.1", 1)
"""An address on which no process listens."""


class Proxy:
    """A proxy that forwards bytes in order.

    `up_ms` and `down_ms` are the maximum delays of the two directions in ms. `jitter` is the share of a delay that is
    random, from `rng`. The remaining share is fixed. `should_cut` is called with each chunk from the server. If it
    returns True, the proxy cuts all connections before it forwards the chunk.
    """

    def __init__(self, target: tuple[str, int], rng: random.Random) -> None:
        self.target = target
        self.up_ms = 0.0
        self.down_ms = 0.0
        self.jitter = 1.0
        self.should_cut: ShouldCut = lambda chunk: False
        self.upgrades: Upgrades = "passed"
        self.blocked_upgrades = 0
        self.connected_at: list[float] = []
        """The instants at which connections were opened, by the clock of the event loop, s."""
        self.url = ""
        self._rng = rng
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def connections(self) -> int:
        return len(self.connected_at)

    def cut(self) -> None:
        """Cut all connections, as a network failure does."""
        for writer in self._writers:
            writer.transport.abort()

    def block(self) -> None:
        """Cut all connections and refuse new connections until `target` is set again."""
        self.target = NO_LISTENER
        self.cut()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected_at.append(asyncio.get_running_loop().time())
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(server_writer)
        try:
            async with asyncio.TaskGroup() as group:
                passed = self._without_blocked_upgrades(reader, writer)
                group.create_task(self._forward(passed, server_writer, lambda: self.up_ms, lambda chunk: False))
                group.create_task(
                    self._forward(chunks_of(server_reader), writer, lambda: self.down_ms, lambda c: self.should_cut(c))
                )
        finally:
            self._writers -= {writer, server_writer}
            writer.transport.abort()
            server_writer.transport.abort()

    async def _without_blocked_upgrades(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncIterator[bytes]:
        async for chunk in chunks_of(reader):
            if self.upgrades == "passed" or not UPGRADE.search(chunk):
                yield chunk
                continue
            self.blocked_upgrades += 1
            if self.upgrades == "stripped":
                yield UPGRADE.sub(b"", chunk)
                continue
            if self.upgrades == "refused":
                writer.write(REFUSAL)
                await writer.drain()
                writer.write_eof()
                await reader.read()
            return

    async def _forward(
        self,
        chunks: AsyncIterator[bytes],
        writer: asyncio.StreamWriter,
        longest_ms: Callable[[], float],
        should_cut: ShouldCut,
    ) -> None:
        try:
            async for chunk in chunks:
                if should_cut(chunk):
                    self.cut()
                    break
                if longest_ms():
                    await asyncio.sleep(longest_ms() * self._rng.uniform(1 - self.jitter, 1) / 1000)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        # If one side closes the connection, the other side is closed too.
        writer.transport.abort()


async def chunks_of(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await reader.read(65_536):
        yield chunk


@asynccontextmanager
async def proxy_to(url: str, seed: int = 1) -> AsyncIterator[Proxy]:
    """Run a proxy to the server at `url`, `ws://host:port/ws`."""
    proxy = Proxy(target_of(url), random.Random(seed))
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()


def target_of(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("ws://").removesuffix("/ws").split(":")
    return host, int(port)
