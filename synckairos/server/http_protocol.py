"""uvicorn's HTTP protocol with limits on a request: size, number and duration of headers, duration of the body.

Without the limits a client could send a request for ever, and a WebSocket handshake with too many headers would hang.
This module answers refused requests, and bytes that are not HTTP, with the error format of the REST API.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from synckairos.errors import (
    HeadersTooLarge,
    MethodNotAllowed,
    RequestTimeout,
    SyncKairosError,
    UpgradeRequired,
    ValidationFailed,
)
from synckairos.realtime.event_stream_socket import TRANSPORT_EXTENSION
from synckairos.server.handshake_turns import HandshakeTurns
from synckairos.server.http_stream_transport import HttpStreamTransport
from synckairos.server.timings import DEFAULT_TIMINGS, ServerTimeLimits
from synckairos.wire.problem_json import MEDIA_TYPE, problem_json

MAX_HEADERS = 100
"""Maximum number of headers of a request."""

MAX_HEADER_BYTES = 8_000
"""Maximum bytes of one header, and of the request target. The `websockets` library reads lines of up to 8 KiB."""

MAX_HEADERS_BYTES = 32_768
"""Maximum bytes of the request target and all headers of a request together."""

MAX_CHUNK_BYTES = 16_384
"""Maximum bytes of the sizes and extensions of all chunks of a body, beside `CHUNK_BYTES_PER_BYTE`."""

CHUNK_BYTES_PER_BYTE = 8
"""Bytes of sizes and extensions of chunks that are allowed for each byte of the body. A chunk can have one byte."""

WEBSOCKET_VERSION = b"13"
"""The supported WebSocket version. By RFC 6455, section 4.4, a refusal of another version must name this version."""

BORROWED_METHODS = (
    *("connection_made", "connection_lost", "data_received", "handle_websocket_upgrade", "send_400_response"),
    *("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
    "_start_asgi_task",
)
"""Internal methods of uvicorn that `BoundedHttpProtocol` overrides. A test checks that uvicorn has these methods."""

BORROWED_ATTRIBUTES = ("client", "cycle", "flow", "headers", "loop", "parser", "pipeline", "scope", "transport", "url")
"""Internal attributes of uvicorn that `BoundedHttpProtocol` uses. A test checks that uvicorn has these attributes."""

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ \r\n]+ HTTP/1\.[01]\r?\n")
_METHODS = b"GET, HEAD, POST, PATCH, DELETE, OPTIONS"
"""The HTTP methods of all paths together, for the `Allow` header of a refusal.

The parser stops at an unknown method before it reads the path, so the methods of the path are not available.
"""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Protocol of one HTTP connection. One timer limits the duration of the headers, another that of the body.

    The header timer of the first request starts with the connection. For later requests it starts with the first byte
    of the request. The body timer starts when the headers are complete.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        timings: ServerTimeLimits = DEFAULT_TIMINGS,
        is_draining: Callable[[], bool] = lambda: False,
        refusal_delay_s: Callable[[str], float] = lambda address: 0.0,
        handshake_turns: HandshakeTurns,
    ) -> None:
        """Create the protocol of a connection that is not made yet.

        `refusal_delay_s` returns the seconds for which a refusal to a client of this address is held back.
        `handshake_turns` are those of all connections of the server.
        """
        super().__init__(config, server_state, app_state, _loop)
        self._handshake_turns = handshake_turns
        self._refusal_delay_s = refusal_delay_s
        self._timings = timings
        self._is_draining = is_draining
        self._received = 0
        self._header_bytes = 0
        self._header_count = 0
        self._is_refused = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._is_in_body = False
        self._raw_body_bytes = self._body_bytes = 0
        """Bytes of the body as received, about, and bytes of the content of the body."""
        self._has_completed = False
        """Whether the latest data has the end of a request."""
        self._body_timer: asyncio.TimerHandle | None = None
        self._latest_data = b""
        self._running: RequestResponseCycle | None = None
        """The latest request that the application handles. `cycle` is the latest request that has arrived."""
        self._extensions: dict[str, dict[Any, Any]] = {}
        """The ASGI extensions of all requests of this connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {TRANSPORT_EXTENSION: HttpStreamTransport(transport, self.flow)}  # type: ignore[dict-item]
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self._stop_body_timer()
        super().connection_lost(exc)
        # uvicorn notifies only the latest request. If it waits behind an endless stream, the stream would never end.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._latest_data = data
        self._has_completed = False
        super().data_received(data)
        self._latest_data = b""
        # Start the timer here, after all received bytes are parsed. Most bodies arrive together with the headers, are
        # already complete here, and need no timer.
        if self._is_in_body and self._body_timer is None:
            self._start_body_timer()
        if self._has_completed:
            # The data also has earlier requests, and the parser does not report the position of the incomplete request.
            return
        if self._is_in_body:
            self._count_chunk_bytes(len(data))
        if self._header_timer is not None:
            # The headers are incomplete, so all received bytes are headers. The parser reports only complete headers.
            self._received += len(data)
            if self._received > MAX_HEADERS_BYTES:
                self._refuse_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions
        self._received = self._header_bytes = self._header_count = 0
        if self._header_timer is None:
            self._start_header_timer()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_header_bytes(len(url), len(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        # The parser also reports trailers, which follow the body. A trailer must not be used as a header (RFC 9110,
        # section 6.5.1). uvicorn would append the trailer to the headers that the application reads. A trailer could
        # then forge `X-Forwarded-For` behind a trusted proxy.
        if not self._is_in_body:
            super().on_header(name, value)
        self._header_count += 1
        self._count_header_bytes(len(name) + len(value), len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._stop_header_timer()
        if not self._is_refused:
            self._refuse_wrong_host()
        if not self._is_refused:
            super().on_headers_complete()
            self._is_in_body = True
            self._raw_body_bytes = -self._header_bytes  # the latest data can begin with the headers
            self._body_bytes = 0
            if self._is_draining():
                self.announce_connection_close()

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            self._body_bytes += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_completed = True
        self._stop_body_timer()
        if not self._is_refused:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._stop_body_timer()
        if self._is_refused:
            return
        if [value for name, value in self.headers if name == b"sec-websocket-version"] != [WEBSOCKET_VERSION]:
            headers = b"upgrade: websocket\r\nsec-websocket-version: %b\r\n" % WEBSOCKET_VERSION
            self._refuse(UpgradeRequired(f"Use WebSocket version {WEBSOCKET_VERSION.decode()}"), headers)
            return
        if self._handshake_turns.try_begin(self._resume_websocket_upgrade):
            self._pass_to_websocket_protocol()
        else:
            self.transport.pause_reading()

    def _resume_websocket_upgrade(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._pass_to_websocket_protocol()

    def _pass_to_websocket_protocol(self) -> None:
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # breaks the reference cycle between the parser and this object

    def send_400_response(self, msg: str) -> None:
        line = _REQUEST_LINE.match(self._latest_data)
        if line is None or line[1] in _METHODS.split(b", "):
            self._refuse(ValidationFailed.at_path("", "the request is not HTTP/1.1 according to RFC 9112"))
        else:
            name = line[1].decode()[:64]
            refusal = MethodNotAllowed(f"{name} is not supported; the methods are {_METHODS.decode()}")
            self._refuse(refusal, b"allow: %b\r\n" % _METHODS)

    def announce_connection_close(self) -> None:
        """Add `Connection: close` to the responses of all received requests whose response has not started.

        The server calls this method when it begins to drain. A load balancer then sends its next request through
        another connection, and not through a connection that is about to be closed.
        """
        cycles: list[RequestResponseCycle | None] = [self.cycle, *(cycle for cycle, _ in self.pipeline)]
        for cycle in cycles:
            if cycle is not None and not cycle.response_started:
                cycle.keep_alive = False

    # -- refusals -----------------------------------------------------------------------------------------------------

    def _count_header_bytes(self, added: int, size: int) -> None:
        """Add `added` to the sum of header bytes. Refuse the request if a header limit is exceeded.

        `size` is the number of bytes of this header, or of the part of the request target that has arrived.
        """
        self._header_bytes += added
        if size > MAX_HEADER_BYTES or self._header_bytes > MAX_HEADERS_BYTES or self._header_count > MAX_HEADERS:
            self._refuse_headers()

    def _count_chunk_bytes(self, received: int) -> None:
        """Count bytes of an incomplete body. Refuse the request if chunk sizes and extensions take too many bytes."""
        self._raw_body_bytes += received
        others = self._raw_body_bytes - self._body_bytes
        if others > MAX_CHUNK_BYTES + MAX_HEADERS_BYTES + CHUNK_BYTES_PER_BYTE * self._body_bytes:
            self._refuse(ValidationFailed.at_path("", "the chunks of the body have too long extensions"))

    def _refuse_wrong_host(self) -> None:
        """Refuse a request that has no `Host` header or several (RFC 9112, section 3.2).

        HTTP/1.0 allows requests without a `Host` header.
        """
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            self._refuse(ValidationFailed.at_path("Host", "should be sent exactly once"))

    def _refuse_headers(self) -> None:
        detail = f"Send at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes, {MAX_HEADERS_BYTES} bytes together"
        self._refuse(HeadersTooLarge(detail))

    def _refuse(self, error: SyncKairosError, headers: bytes = b"") -> None:
        """Send `error` with additional `headers` as response to the current request, then close the connection.

        Send no response if an earlier response is incomplete, see `_is_response_due`. A client that opens a connection
        for each such request would take much processor time, so the response is held back while others are active.
        """
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_header_timer()
        self._stop_body_timer()
        response = b"" if self._is_response_due else _render_response(error, headers)
        delay_s = self._refusal_delay_s("" if self.client is None else self.client[0])
        if delay_s > 0:
            self.loop.call_later(delay_s, self._close_with, response)
        else:
            self._close_with(response)

    def _close_with(self, response: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(response)
            self.transport.close()

    @property
    def _is_response_due(self) -> bool:
        """Return whether an earlier response on this connection is incomplete.

        A client would read an error response as a part of the earlier response.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        return bool(self.pipeline) or cycle.response_started or not cycle.more_body

    # -- timers -------------------------------------------------------------------------------------------------------

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(self._timings.headers_s, self._headers_overdue)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _headers_overdue(self) -> None:
        self._header_timer = None
        if self.flow.read_paused:
            self._start_header_timer()  # the server answers earlier requests and does not read further headers
        else:
            self.transport.abort()

    def _start_body_timer(self) -> None:
        self._body_timer = self.loop.call_later(self._timings.body_s, self._body_overdue)

    def _stop_body_timer(self) -> None:
        self._is_in_body = False
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _body_overdue(self) -> None:
        if self.flow.read_paused:
            self._start_body_timer()  # the application does not read the body, so the client does not cause the delay
        else:
            self._refuse(RequestTimeout(f"The body did not arrive within {self._timings.body_s:.0f} s"))


def _render_response(error: SyncKairosError, headers: bytes) -> bytes:
    """Return the bytes of an HTTP error response with `Connection: close`. Each of `headers` ends with CRLF."""
    body = problem_json(error)
    return b"HTTP/1.1 %d %b\r\n%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        error.status,
        HTTPStatus(error.status).phrase.encode(),
        headers,
        MEDIA_TYPE,
        len(body),
        body,
    )
