"""uvicorn's HTTP protocol with bounds on a request: its headers in bytes, number and time, its body in time.

Without them a client may send for ever, and a WebSocket handshake with one header too many hangs. What is refused here,
and what is no HTTP at all, gets the same kind of answer as anything else.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Any

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
from synckairos.wire.problem_json import MEDIA_TYPE, problem_json

HEADERS_WITHIN_S = 5.0
BODY_WITHIN_S = 15.0
MAX_HEADERS = 100
MAX_HEADER_BYTES = 8_000
"""One header's, and the request line's; `websockets` reads lines of up to 8 KiB."""

MAX_HEADERS_BYTES = 32_768

WEBSOCKET_VERSION = b"13"
"""RFC 6455, section 4.4, wants it in the answer to who asks for another."""

BORROWED_METHODS = (
    *("connection_made", "connection_lost", "data_received", "handle_websocket_upgrade", "send_400_response"),
    *("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
)
BORROWED_ATTRIBUTES = ("cycle", "flow", "headers", "loop", "parser", "pipeline", "transport", "url")

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ \r\n]+ HTTP/1\.[01]\r?\n")
_METHODS = b"GET, HEAD, POST, PATCH, DELETE, OPTIONS"
"""Of all that is here; the parser stops at a method it doesn't know, before it reads which of it is meant."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection. Headers must be there within 5 s: of connecting, later of a request's first byte.

    The body must be there 15 s after them, whoever reads it.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._received = 0
        self._header_bytes = 0
        self._header_count = 0
        self._is_refused = False
        self._patience: asyncio.TimerHandle | None = None
        self._is_in_body = False
        self._body_patience: asyncio.TimerHandle | None = None
        self._latest = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        self._have_body()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._latest = data
        super().data_received(data)
        self._latest = b""
        # Here and not with the headers: most bodies come with them, and need no timer.
        if self._is_in_body and self._body_patience is None:
            self._await_body()
        if self._patience is not None:
            # All of it were headers, and the parser tells of none before its end.
            self._received += len(data)
            if self._received > MAX_HEADERS_BYTES:
                self._refuse_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._received = self._header_bytes = self._header_count = 0
        if self._patience is None:
            self._await_headers()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._bound(len(url), len(self.url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_count += 1
        self._bound(len(name) + len(value), len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._have_headers()
        if not self._is_refused:
            super().on_headers_complete()
            self._is_in_body = True

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._have_body()
        if not self._is_refused:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._have_body()
        if self._is_refused:
            return
        if [value for name, value in self.headers if name == b"sec-websocket-version"] != [WEBSOCKET_VERSION]:
            told = b"upgrade: websocket\r\nsec-websocket-version: %b\r\n" % WEBSOCKET_VERSION
            self._refuse(UpgradeRequired(f"Ask for WebSocket version {WEBSOCKET_VERSION.decode()}"), told)
            return
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it and this hold each other

    def send_400_response(self, msg: str) -> None:
        line = _REQUEST_LINE.match(self._latest)
        if line is None or line[1] in _METHODS.split(b", "):
            self._refuse(ValidationFailed.at("", "this is not HTTP/1.1 as RFC 9112 has it"))
        else:
            name = line[1].decode()[:64]
            refusal = MethodNotAllowed(f"{name} isn't possible here; {_METHODS.decode()} may be")
            self._refuse(refusal, b"allow: %b\r\n" % _METHODS)

    # -- refusing -----------------------------------------------------------------------------------------------------

    def _bound(self, more: int, one: int) -> None:
        self._header_bytes += more
        if one > MAX_HEADER_BYTES or self._header_bytes > MAX_HEADERS_BYTES or self._header_count > MAX_HEADERS:
            self._refuse_headers()

    def _refuse_headers(self) -> None:
        told = f"Send at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes, {MAX_HEADERS_BYTES} bytes together"
        self._refuse(HeadersTooLarge(told))

    def _refuse(self, error: SyncKairosError, headers: bytes = b"") -> None:
        """Answer what will never become a request, or a whole one, and close."""
        if self._is_refused:
            return
        self._is_refused = True
        self._have_headers()
        self._have_body()
        if not self._is_answering:
            self.transport.write(_render(error, headers))
        self.transport.close()

    @property
    def _is_answering(self) -> bool:
        """Whether an answer is under way, or owed to a request before: what we write would be taken for that."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        return bool(self.pipeline) or cycle.response_started or not cycle.more_body

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _await_headers(self) -> None:
        self._patience = self.loop.call_later(HEADERS_WITHIN_S, self._lose_patience)

    def _have_headers(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        self.transport.abort()

    def _await_body(self) -> None:
        self._body_patience = self.loop.call_later(BODY_WITHIN_S, self._miss_body)

    def _have_body(self) -> None:
        self._is_in_body = False
        if self._body_patience is not None:
            self._body_patience.cancel()
            self._body_patience = None

    def _miss_body(self) -> None:
        if self.flow.read_paused:
            self._await_body()  # it is us who don't read
        else:
            self._refuse(RequestTimeout(f"The body wasn't there within {BODY_WITHIN_S:.0f} s"))


def _render(error: SyncKairosError, headers: bytes) -> bytes:
    """Render an answer after which the connection is closed."""
    body = problem_json(error)
    return b"HTTP/1.1 %d %b\r\n%bcontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        error.status,
        HTTPStatus(error.status).phrase.encode(),
        headers,
        MEDIA_TYPE,
        len(body),
        body,
    )
