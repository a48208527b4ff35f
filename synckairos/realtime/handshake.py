"""uvicorn's HTTP protocol with bounds on what comes before a request: its headers, in bytes, number and time.

Without them a client may send headers for ever, and a WebSocket handshake with one too many hangs.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEADERS_WITHIN_S = 5.0
MAX_HEADERS = 100
MAX_HEADER_BYTES = 8_000
"""One header's, and the request line's; `websockets` reads lines of up to 8 KiB."""

MAX_HEADERS_BYTES = 32_768

BORROWED_METHODS = (
    *("connection_made", "connection_lost", "data_received", "handle_websocket_upgrade"),
    *("on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete"),
)
BORROWED_ATTRIBUTES = ("loop", "parser", "transport", "url")

_RESPONSE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class RequestProtocol(HttpToolsProtocol):
    """One HTTP connection. Headers must be there within 5 s: of connecting, later of a request's first byte."""

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
        self._is_too_large = False
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_too_large:
            return
        super().data_received(data)
        if self._patience is not None:
            # All of it were headers, and the parser tells of none before its end.
            self._received += len(data)
            if self._received > MAX_HEADERS_BYTES:
                self._refuse()

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
        if not self._is_too_large:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_too_large:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_too_large:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        if self._is_too_large:
            return
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # it and this hold each other

    def _bound(self, more: int, one: int) -> None:
        self._header_bytes += more
        if one > MAX_HEADER_BYTES or self._header_bytes > MAX_HEADERS_BYTES or self._header_count > MAX_HEADERS:
            self._refuse()

    def _refuse(self) -> None:
        if not self._is_too_large:
            self._is_too_large = True
            self._have_headers()
            self.transport.write(_RESPONSE)
            self.transport.close()

    def _await_headers(self) -> None:
        self._patience = self.loop.call_later(HEADERS_WITHIN_S, self._lose_patience)

    def _have_headers(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        self.transport.abort()
