"""A TCP proxy between a client and a server: delays each direction by itself, cuts, and finds another server."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Forward = Callable[[bytes], bool]

NOWHERE = ("127.0.0.1", 1)
"""Where nobody listens."""


class Proxy:
    """Passes bytes on in order. `up_ms` and `down_ms` are the greatest delays to draw, by `chance`.

    `jitter` is what share of a delay is drawn; the rest is always waited.

    `stops` sees each chunk from the server and cuts the connection before the one for which it is true.
    """

    def __init__(self, target: tuple[str, int], chance: random.Random) -> None:
        self.target = target
        self.up_ms = 0.0
        self.down_ms = 0.0
        self.jitter = 1.0
        self.stops: Forward = lambda chunk: False
        self.connected_at: list[float] = []
        """When each connection came, by the loop's clock, s."""
        self.url = ""
        self._chance = chance
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def connections(self) -> int:
        return len(self.connected_at)

    def cut(self) -> None:
        """Cut all connections, as a dead network does."""
        for writer in self._writers:
            writer.transport.abort()

    def lead_nowhere(self) -> None:
        """Cut all connections, and let none through until there is a target again."""
        self.target = NOWHERE
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
                group.create_task(self._pass(reader, server_writer, lambda: self.up_ms, lambda chunk: False))
                group.create_task(self._pass(server_reader, writer, lambda: self.down_ms, lambda c: self.stops(c)))
        finally:
            self._writers -= {writer, server_writer}
            writer.transport.abort()
            server_writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_ms: Callable[[], float], stops: Forward
    ) -> None:
        try:
            while chunk := await reader.read(65_536):
                if stops(chunk):
                    self.cut()
                    break
                if most_ms():
                    await asyncio.sleep(most_ms() * self._chance.uniform(1 - self.jitter, 1) / 1000)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        # One side's end is the other's.
        writer.transport.abort()


@asynccontextmanager
async def proxy_to(url: str, seed: int = 1) -> AsyncIterator[Proxy]:
    """Stand before the server at `ws://host:port/ws`."""
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
