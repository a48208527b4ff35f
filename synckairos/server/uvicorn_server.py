"""uvicorn as this product runs it: our listening socket, our two protocols, our way to stop.

Stops in order: not ready → watchers sent away in batches → HTTP requests under way → whoever is left is cut.
"""

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from errno import EADDRINUSE
from typing import Any, cast

import uvicorn

from synckairos.config import Settings
from synckairos.errors import PortTaken
from synckairos.realtime.hub import Hub
from synckairos.server.http_protocol import BoundedHttpProtocol
from synckairos.server.websocket_protocol import QUIET, BoundedWebSocketProtocol
from synckairos.telemetry import log
from synckairos.telemetry.metrics import LOOP_LAG

BACKLOG = 4_096
MAX_FRAME_BYTES = 65_536
SEND_BUFFER_BYTES = 65_536
"""What the kernel keeps for a client that doesn't read (Linux doubles it); accepted sockets inherit it."""

UNSENT_BYTES = 16_384
"""Of which at most this much isn't on its way yet: what waits longer is better replaced than kept."""

USER_TIMEOUT_MS = 25_000
"""How long sent bytes may stay unacknowledged, and a window closed, before the kernel ends the connection."""

NOT_READY_S = 1.0
"""How long a draining server answers at least (a quarter of its time at most), so that `/ready` is seen to say no."""

LAST_SECOND_S = 0.5

OTHER_FILES = 256
"""Files kept free of sockets: stores, requests, what is refused while we are full."""

LOOK_AT_LOOP_S = 0.025
"""How often to see whether the event loop is late; a stall is felt but for at most this much of it."""

logger = log.get_logger(__name__)

App = Callable[[Any, Any, Any], Awaitable[None]]


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 takes a free one. Raises: PortTaken."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    for option, value in (("TCP_USER_TIMEOUT", USER_TIMEOUT_MS), ("TCP_NOTSENT_LOWAT", UNSENT_BYTES)):
        if hasattr(socket, option):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == EADDRINUSE:
            raise PortTaken(port) from None
        raise
    listener.setblocking(False)
    return listener


def raise_open_file_limit(sockets: int) -> int:
    """Let this process have that many sockets beside its other files; return how many it may have, if fewer.

    The usual soft limit of 1,024 files is one for programs that use `select`; the hard one is what was decided.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        logger.info("fewer sockets than SYNCKAIROS_WS_MAX_CONNECTIONS", sockets=hard - OTHER_FILES, open_files=hard)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, wanted - OTHER_FILES)


class Server(uvicorn.Server):
    """Serves an ASGI application and a hub on one listening socket."""

    def __init__(self, app: App, settings: Settings, hub: Hub, listener: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                cast(Any, app),
                http=BoundedHttpProtocol,
                ws=BoundedWebSocketProtocol,
                ws_max_size=MAX_FRAME_BYTES,
                ws_per_message_deflate=False,
                ws_ping_interval=None,  # the hub pings
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=None,
            )
        )
        logging.getLogger(QUIET).setLevel(logging.WARNING)
        self._hub = hub
        self._listener = listener
        self._drain_s = settings.drain_timeout_s
        self._on_drain: Callable[[], None] = lambda: None

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    async def run_until_stopped(
        self, *, on_ready: Callable[[], None] = lambda: None, on_drain: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until `stop`, then drain; returns when nobody is connected any more, `drain_timeout_s` later at most.

        `on_ready` is called when requests are answered, `on_drain` before the first client is sent away.
        """
        self._on_drain = on_drain
        self._on_ready = on_ready
        await self.serve([self._listener])

    def stop(self) -> None:
        """Begin to drain; again: cut everybody at once. Safe in a signal handler of the event loop."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._feel_loop(asyncio.get_running_loop())
        self._on_ready()

    def _feel_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note how late the loop comes to this, again and again until the end."""

        def look() -> None:
            LOOP_LAG.observe(max(0.0, loop.time() - self._looked.when()))
            self._feel_loop(loop)

        self._looked = loop.call_later(LOOK_AT_LOOP_S, look)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_drain()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                seen = asyncio.sleep(min(NOT_READY_S, self._drain_s / 4))
                await asyncio.gather(self._hub.drain(self._drain_s), seen)
                for server in self.servers:
                    server.close()
                for connection in list(self.server_state.connections):
                    connection.shutdown()
                while self.server_state.connections or self.server_state.tasks:
                    if self.force_exit:
                        break
                    await asyncio.sleep(0.02)
        await self._cut()
        for server in self.servers:
            server.close()
        self._listener.close()
        self._looked.cancel()

    async def _cut(self) -> None:
        """End what is left without asking."""
        left = len(self.server_state.connections)
        if left:
            logger.warning("clients cut at shutdown", connections=left)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # Requests whose client is gone end by themselves; what still doesn't is cancelled.
        if self.server_state.tasks:
            await asyncio.wait(tuple(self.server_state.tasks), timeout=LAST_SECOND_S)
        for task in list(self.server_state.tasks):
            task.cancel()
        if self.server_state.tasks:
            await asyncio.wait(tuple(self.server_state.tasks), timeout=LAST_SECOND_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever composes the process: uvicorn would raise them again when it is done."""
        yield
