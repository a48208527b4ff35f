"""A TCP balancer, the least there is: each connection goes to the next of its targets that takes it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import cast


class _End(asyncio.Protocol):
    """One end of a connection: what comes is written to the other, whose pace it takes."""

    def __init__(self, made: "Callable[[_End], None]", lost: "Callable[[_End], None]") -> None:
        self._made = made
        self._lost = lost
        self.other: _End | None = None
        self.early = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)
        # One side's end is the other's; what was written before it still goes out.
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Balancer:
    """Spreads connections over `targets`, (host, port) each; the list may change at any time."""

    def __init__(self, targets: list[tuple[str, int]]) -> None:
        self.targets = targets
        self.port = 0
        self._turn: Iterator[int] = cycle(range(1 << 16))
        self._connecting: set[asyncio.Task[None]] = set()
        self._ends: set[_End] = set()

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def accept(self) -> asyncio.Protocol:
        return _End(self._accepted, self._ends.discard)

    def _accepted(self, client: _End) -> None:
        self._ends.add(client)
        task = asyncio.ensure_future(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: _End) -> None:
        loop, first, targets = asyncio.get_running_loop(), next(self._turn), list(self.targets)
        assert client.transport is not None
        for at in range(len(targets)):
            host, port = targets[(first + at) % len(targets)]
            try:
                _, server = await loop.create_connection(lambda: _End(self._ends.add, self._ends.discard), host, port)
            except OSError:
                continue
            assert server.transport is not None
            client.other, server.other = server, client
            server.transport.write(client.early)
            if client.transport.is_closing():
                server.transport.close()
            return
        client.transport.abort()

    async def close(self) -> None:
        """Cut all there are."""
        if self._connecting:
            await asyncio.wait(self._connecting)
        for end in tuple(self._ends):
            if end.transport is not None:
                end.transport.abort()


@asynccontextmanager
async def balancer(targets: list[tuple[str, int]]) -> AsyncIterator[Balancer]:
    balancing = Balancer(targets)
    server = await asyncio.get_running_loop().create_server(balancing.accept, "127.0.0.1", 0, backlog=4096)
    balancing.port = server.sockets[0].getsockname()[1]
    try:
        yield balancing
    finally:
        server.close()
        await balancing.close()
