"""uvicorn server with this product's listening socket, HTTP and WebSocket protocols, and graceful shutdown.

Graceful shutdown has four steps:

1. `/ready` answers 503, and each HTTP response closes its connection.
2. The hub closes all WebSocket connections in batches.
3. The server waits for the end of running HTTP requests.
4. The server aborts the remaining connections.
"""

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from errno import EADDRINUSE
from functools import partial
from typing import Any, cast

import uvicorn

from synckairos.config import BadSettings, Settings, env_variables_of
from synckairos.errors import PortTaken
from synckairos.realtime.hub import Hub
from synckairos.server.direct_write_websocket import LOGGER_NAME, BoundedWebSocketProtocol
from synckairos.server.handshake_turns import HandshakeTurns
from synckairos.server.http_protocol import BoundedHttpProtocol
from synckairos.server.timings import DEFAULT_TIMINGS, ServerTimeLimits
from synckairos.telemetry import log
from synckairos.telemetry.metrics import LOOP_LAG
from synckairos.telemetry.outages import LogThrottle

BACKLOG = 4_096
"""Maximum number of connections that wait in the kernel until the server accepts them."""

MAX_FRAME_BYTES = 65_536
"""Maximum bytes of one WebSocket message from a client."""

SEND_BUFFER_BYTES = 65_536
"""Bytes of the kernel's send buffer for one client (`SO_SNDBUF`). Linux doubles the number.

The listening socket has this option, and accepted sockets inherit it.
"""

UNSENT_BYTES = 16_384
"""Maximum bytes in the kernel's send buffer that are not sent yet (`TCP_NOTSENT_LOWAT`).

Further data stays in this process, where a newer state can still replace it.
"""

USER_TIMEOUT_MS = 25_000
"""Milliseconds after which the kernel ends a connection whose client acknowledges no data (`TCP_USER_TIMEOUT`).

The limit also applies to a client that keeps its receive window closed.
"""

RESERVED_FILES = 256
"""Number of open files that are reserved for other uses than WebSocket clients.

Such uses are store connections, HTTP requests, and connections that are refused because the instance is full.
"""

HAND_OVER_S = 1.0
"""Seconds within which a server closes its WebSocket connections, after another server has replaced it."""

LOOP_CHECK_S = 0.025
"""Seconds between two measurements of the event loop's lag. A stall can be longer by this time than its measurement."""

LATE_S = 0.1
"""Seconds by which the event loop must be late for a line in the log."""

_TASK_GRACE_S = 0.5
"""Seconds to wait for the end of request tasks at shutdown, before and after they are cancelled."""

logger = log.get_logger(__name__)

App = Callable[[Any, Any, Any], Awaitable[None]]


def hold_port(host: str, port: int) -> socket.socket:
    """Take a TCP port that other processes of this user can share, without listening on it. Port 0 selects a free port.

    The port is held until the returned socket is closed.

    Raises: PortTaken if another process has the port, BadSettings if the address cannot be used.
    """
    if port:
        listen(host, port).close()  # the check for PortTaken: a port that is shared can be shared once more
    return _bind(host, port, is_shared=True)


def listen(host: str, port: int, *, user_timeout_ms: int = USER_TIMEOUT_MS, is_shared: bool = False) -> socket.socket:
    """Open a TCP socket that listens on `host` and `port`, and return it. Port 0 selects a free port.

    `user_timeout_ms` is the `TCP_USER_TIMEOUT` of each connection in milliseconds, see `USER_TIMEOUT_MS`. With
    `is_shared`, other processes of this user can listen on the same port; the kernel then distributes the connections.

    Raises: PortTaken if another process listens on the port, BadSettings if the address cannot be used.
    """
    listener = _bind(host, port, is_shared=is_shared)
    for option, value in (("TCP_USER_TIMEOUT", user_timeout_ms), ("TCP_NOTSENT_LOWAT", UNSENT_BYTES)):
        if hasattr(socket, option):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    with _translated_errors(listener, host, port):
        listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _bind(host: str, port: int, *, is_shared: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise BadSettings(f"{env_variables_of('host')[0]}: {host} is not an address: {error}") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if is_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    with _translated_errors(listener, host, port):
        listener.bind(address)
    return listener


@contextlib.contextmanager
def _translated_errors(listener: socket.socket, host: str, port: int) -> Iterator[None]:
    """Close the socket and raise PortTaken or BadSettings if the block raises OSError."""
    try:
        yield
    except OSError as error:
        listener.close()
        if error.errno == EADDRINUSE:
            raise PortTaken(port) from None
        reason = error.strerror or error
        raise BadSettings(f"{env_variables_of('host')[0]}: cannot listen on {host} port {port}: {reason}") from None


def raise_open_file_limit(sockets: int) -> int:
    """Raise the soft limit of open files of this process, so that `sockets` clients can connect at the same time.

    Return the number of clients that can connect: `sockets`, or fewer if the hard limit is too low. The usual soft
    limit of 1,024 files protects programs that use `select`, so this program does not need it. The hard limit is the
    operator's decision and stays.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + RESERVED_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        logger.info("fewer sockets than SYNCKAIROS_WS_MAX_CONNECTIONS", sockets=hard - RESERVED_FILES, open_files=hard)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, wanted - RESERVED_FILES)


class Server(uvicorn.Server):
    """uvicorn server for an ASGI application and the WebSocket connections of a hub, on one listening socket."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        hub: Hub,
        listener: socket.socket,
        *,
        timings: ServerTimeLimits = DEFAULT_TIMINGS,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                cast(Any, app),
                http=cast(
                    Any,
                    partial(
                        BoundedHttpProtocol,
                        timings=timings,
                        is_draining=lambda: self.should_exit,
                        refusal_delay_s=hub.work.processor_time.reserve_refusal,
                        handshake_turns=HandshakeTurns(),
                    ),
                ),
                ws=cast(Any, partial(BoundedWebSocketProtocol, timings=timings)),
                ws_max_size=MAX_FRAME_BYTES,
                ws_per_message_deflate=False,
                ws_ping_interval=None,  # the hub pings
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=cast(Any, settings.keep_alive_s),  # uvicorn passes it to `call_later`
                timeout_graceful_shutdown=None,
            )
        )
        logging.getLogger(LOGGER_NAME).setLevel(logging.WARNING)
        self._hub = hub
        self._late_lines = LogThrottle(timings.late_line_s)
        self._listener = listener
        self._timings = timings
        self._drain_s = settings.drain_timeout_s
        self._close_sockets_s = settings.drain_timeout_s
        self._forced = asyncio.Event()
        """Event after a second call of `stop`."""
        self._on_drain: Callable[[], None] = lambda: None

    @property
    def port(self) -> int:
        """Return the number of the port on which the server listens."""
        port: int = self._listener.getsockname()[1]
        return port

    async def run_until_stopped(
        self, *, on_ready: Callable[[], None] = lambda: None, on_drain: Callable[[], None] = lambda: None
    ) -> None:
        """Serve until `stop` is called, then drain. Return when all connections are closed or aborted.

        After `drain_timeout_s` seconds of draining, the remaining connections are aborted. The server calls `on_ready`
        when it accepts requests, and `on_drain` when the drain begins, before the first client is disconnected.
        """
        self._on_drain = on_drain
        self._on_ready = on_ready
        await self.serve([self._listener])

    def stop(self) -> None:
        """Start to drain, and return immediately. Signal handlers of the event loop are allowed to call this method.

        If the server already drains, it then closes all WebSocket connections immediately, and does not wait for
        running HTTP requests.
        """
        if self.should_exit:
            self._forced.set()
        self.should_exit = True
        for connection in self.server_state.connections:
            if isinstance(connection, BoundedHttpProtocol):
                connection.announce_connection_close()

    def hand_over(self) -> None:
        """Stop to accept connections, and start to drain, because another server of this process accepts them now.

        All WebSocket connections are closed within `HAND_OVER_S` seconds, because they get no more messages.
        """
        for server in self.servers:
            server.close()
        self._close_sockets_s = min(HAND_OVER_S, self._drain_s)
        self.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections on `sockets`, and to measure the lag of the event loop.

        uvicorn calls this method.
        """
        await super().startup(sockets)
        self._schedule_lag_check(asyncio.get_running_loop())
        self._on_ready()

    def _schedule_lag_check(self, loop: asyncio.AbstractEventLoop) -> None:
        """Schedule a repeated measurement of how late the event loop runs a callback. It ends at shutdown."""

        used_before_s = time.thread_time()

        def observe() -> None:
            late_s = max(0.0, loop.time() - self._lag_check.when())
            LOOP_LAG.observe(late_s)
            step = self._hub.work.processor_time.steps.take_longest_step()
            if late_s >= LATE_S:
                self._log_lateness(late_s, time.thread_time() - used_before_s, step)
            self._schedule_lag_check(loop)

        self._lag_check = loop.call_later(LOOP_CHECK_S, observe)

    def _log_lateness(self, late_s: float, used_s: float, step: tuple[str, float]) -> None:
        """Log that the event loop was late, at most once a minute.

        `used_s` is the processor time of the event loop meanwhile. If it is much less than `late_s`, the machine or
        another thread had the processor. `step` is the longest step of a request, see `take_longest_step`.
        """
        if (more_before := self._late_lines.allow_next_line()) is not None:
            logger.info(
                "event loop was late",
                ms=round(late_s * 1000),
                processor_ms=round(used_s * 1000),
                longest_step=step[0],
                longest_step_ms=round(step[1] * 1000),
                more_before=more_before,
            )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_drain()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                balancers_notice = asyncio.sleep(min(self._timings.not_ready_s, self._drain_s / 4))
                draining = asyncio.ensure_future(self._drain(balancers_notice))
                forced = asyncio.ensure_future(self._forced.wait())
                try:
                    await asyncio.wait((draining, forced), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    draining.cancel()
                    forced.cancel()
                if draining.done():
                    draining.result()
                else:
                    self._hub.close_connections_at_once()
        await self._cut_connections()
        for server in self.servers:
            server.close()
        self._listener.close()
        self._lag_check.cancel()

    async def _drain(self, balancers_notice: Coroutine[Any, Any, None]) -> None:
        """Close the sockets, and wait until all connections are closed and all requests have ended.

        `balancers_notice` waits until load balancers have read `/ready`. Only then the listening socket is closed.
        """
        await asyncio.gather(self._hub.close_all_connections(self._close_sockets_s), balancers_notice)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def _cut_connections(self) -> None:
        """Abort the remaining connections, wait for their request tasks, and cancel the tasks that do not end.

        Each of the two waits takes at most `_TASK_GRACE_S` seconds.
        """
        remaining = len(self.server_state.connections)
        if remaining:
            logger.warning("clients disconnected at shutdown", connections=remaining)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # Most request tasks end when their client is disconnected. Cancel the tasks that do not end in time.
        if self.server_state.tasks:
            await asyncio.wait(tuple(self.server_state.tasks), timeout=_TASK_GRACE_S)
        for task in list(self.server_state.tasks):
            task.cancel()
        if self.server_state.tasks:
            await asyncio.wait(tuple(self.server_state.tasks), timeout=_TASK_GRACE_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Disable uvicorn's signal handlers, because `process.server` handles the signals.

        uvicorn would raise a captured signal again after shutdown.
        """
        yield
