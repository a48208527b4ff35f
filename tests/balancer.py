"""Minimal TCP load balancer: connects each client to the next target that accepts a connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import cast


class _Side(asyncio.Protocol):
    """One side of a relayed connection. Writes received bytes to the other side, and pauses if that side is full."""

    def __init__(self, on_made: "Callable[[_Side], None]", on_lost: "Callable[[_Side], None]") -> None:
        self._on_made = on_made
        self._on_lost = on_lost
        self.other: _Side | None = None
        self.received_early = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self.received_early += data
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)
        # Close the other side too. It still sends the bytes that were written before.
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Balancer:
    """Load balancer over `targets`, a list of (host, port). A test can change the list at any time."""

    def __init__(self, targets: list[tuple[str, int]]) -> None:
        self.targets = targets
        self.port = 0
        self._next_target: Iterator[int] = cycle(range(1 << 16))
        self._connecting: set[asyncio.Task[None]] = set()
        self._sides: set[_Side] = set()

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create_protocol(self) -> asyncio.Protocol:
        """Return the protocol object for a new client connection."""
        return _Side(self._on_accepted, self._sides.discard)

    def _on_accepted(self, client: _Side) -> None:
        self._sides.add(client)
        task = asyncio.ensure_future(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: _Side) -> None:
        """Connect a client to the first target that accepts a connection. Abort the client if all targets refuse."""
        loop, first, targets = asyncio.get_running_loop(), next(self._next_target), list(self.targets)
        assert client.transport is not None
        for offset in range(len(targets)):
            host, port = targets[(first + offset) % len(targets)]
            try:
                _, server = await loop.create_connection(
                    lambda: _Side(self._sides.add, self._sides.discard), host, port
                )
            except OSError:
                continue
            assert server.transport is not None
            client.other, server.other = server, client
            server.transport.write(client.received_early)
            if client.transport.is_closing():
                server.transport.close()
            return
        client.transport.abort()

    async def close(self) -> None:
        """Abort all connections."""
        if self._connecting:
            await asyncio.wait(self._connecting)
        for side in tuple(self._sides):
            if side.transport is not None:
                side.transport.abort()


@asynccontextmanager
async def run_balancer(targets: list[tuple[str, int]]) -> AsyncIterator[Balancer]:
    """Run a load balancer on a free port of loopback until the end of the block."""
    balancer = Balancer(targets)
    server = await asyncio.get_running_loop().create_server(balancer.create_protocol, "127.0.0.1", 0, backlog=4096)
    balancer.port = server.sockets[0].getsockname()[1]
    try:
        yield balancer
    finally:
        server.close()
        await balancer.close()
