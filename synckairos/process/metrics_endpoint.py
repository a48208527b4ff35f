"""`GET /metrics` and `GET /health` of a worker, which serves nothing else over HTTP.

A worker has few requests of this kind and no clients of its own, so this small server takes the place of uvicorn. Each
connection answers one request.
"""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from synckairos.config import BadSettings, Settings, env_variables_of
from synckairos.errors import InsecureTransport, PortTaken
from synckairos.http.client_address import CallerResolver
from synckairos.identity.metrics_token import MetricsToken
from synckairos.process.process_group import ProcessGroup
from synckairos.telemetry import log
from synckairos.telemetry.metrics import CONTENT_TYPE, render_metrics

REQUEST_TIMEOUT_S = 5.0
"""Seconds from the connection to the end of the request, and then to the end of the answer."""

MAX_REQUEST_BYTES = 8_192
"""Maximum bytes of the request line and the headers."""

MAX_CONNECTIONS = 32
"""Maximum number of open connections. Further connections are closed at once."""

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
}

logger = log.get_logger(__name__)


def check_metrics_settings(settings: Settings) -> None:
    """Check that a worker with these settings may answer `/metrics`.

    Raises: BadSettings if `metrics_port` is set and other machines could read the metrics without a token, or if the
    deployment has authentication and no metrics token.
    """
    if settings.metrics_port is None:
        return
    settings.refuse_unprotected_exposure()
    if settings.auth != "none" and settings.metrics_token is None:
        port, token, auth = (env_variables_of(name)[0] for name in ("metrics_port", "metrics_token", "auth"))
        raise BadSettings(f"{port}: set {token} too, because {auth} is {settings.auth}")


@asynccontextmanager
async def open_metrics_endpoint(settings: Settings, group: ProcessGroup | None = None) -> AsyncIterator[None]:
    """Answer `/metrics` on `settings.metrics_port` during the block. If the port is not set, do nothing.

    The processes of `group` share the port, and each answers with the metrics of all of them.

    Raises: PortTaken if another process listens on the port, BadSettings if the address cannot be used.
    """
    port = settings.metrics_port
    if port is None:
        yield
        return
    check_metrics_settings(settings)
    endpoint = _MetricsEndpoint(settings, _render_own_metrics if group is None else group.render_metrics)
    try:
        server = await asyncio.start_server(
            endpoint.handle, settings.host, port, limit=MAX_REQUEST_BYTES, reuse_port=group is not None
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(port) from None
        raise BadSettings(
            f"{env_variables_of('metrics_port')[0]}: cannot listen on {settings.host} port {port}: "
            f"{error.strerror or error}"
        ) from None
    logger.info("serving metrics", host=settings.host, port=server.sockets[0].getsockname()[1])
    try:
        yield
    finally:
        server.close()
        await endpoint.close()


class _MetricsEndpoint:
    def __init__(self, settings: Settings, render: Callable[[], Awaitable[bytes]]) -> None:
        self._render = render
        callers = CallerResolver(settings.trusted_proxies)
        token = settings.metrics_token
        self._token = (
            None
            if token is None
            else MetricsToken(token.get_secret_value(), lambda scope: settings.insecure or callers.is_secure(scope))
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._rendering = asyncio.Lock()

    def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the request of a new connection in a task of its own."""
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="metrics request")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Abort all open connections."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            status, body, headers = await self._answer(reader, writer)
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                writer.write(_render_head(status, len(body), headers) + body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass  # the caller disconnected, or does not read
        finally:
            writer.transport.abort()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[int, bytes, dict[str, str]]:
        """Read a request. Return the status, the body and the additional headers of the answer."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return 408, b"", {}
        except asyncio.LimitOverrunError:
            return 431, b"", {}
        except asyncio.IncompleteReadError:
            return 400, b"", {}
        request_line, *lines = head[:-4].split(b"\r\n")
        words = request_line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return 400, b"", {}
        method, path = words[0], words[1].partition(b"?")[0]
        if path not in (b"/metrics", b"/health"):
            return 404, b"", {}
        if method != b"GET":
            return 405, b"", {"Allow": "GET"}
        if path == b"/health":
            return 200, b'{"status":"ok"}', {"Content-Type": "application/json"}
        pairs = [line.partition(b":")[::2] for line in lines]
        scope = {
            "type": "http",
            "headers": [(name.lower(), value.strip(b" \t")) for name, value in pairs],
            "client": writer.get_extra_info("peername"),
        }
        with contextlib.suppress(InsecureTransport):
            if self._token is None or self._token.accepts(scope):
                async with self._rendering:
                    text = await self._render()
                return 200, text, {"Content-Type": CONTENT_TYPE}
            return 401, b"", {"WWW-Authenticate": "Bearer"}
        return 400, b"the token needs HTTPS", {"Content-Type": "text/plain"}


async def _render_own_metrics() -> bytes:
    return await asyncio.to_thread(render_metrics, "worker")


def _render_head(status: int, body_bytes: int, headers: dict[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Length: {body_bytes}",
        "Connection: close",
        "Cache-Control: no-store",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
