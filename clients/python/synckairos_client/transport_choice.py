"""The transport of the next connection: a WebSocket, or an event stream after two WebSockets without a message."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

import orjson

from synckairos_client.errors import error_for_http_status
from synckairos_client.event_stream import open_event_stream
from synckairos_client.server_url import server_url
from synckairos_client.socket_interface import UPGRADE_REQUIRED, MessageSocket, OpeningRefused, Transport
from synckairos_client.token_source import TokenSource
from synckairos_client.websocket import open_websocket

WantedTransport = Literal["auto"] | Transport

MAX_FAILED_UPGRADES = 2
"""Number of WebSockets without a message after which the next connection is an event stream."""

FIRST_TRIAL_S = 20.0
"""Seconds on an event stream until the client tries a WebSocket the first time. The delay doubles with each trial."""

LONGEST_TRIAL_S = 600.0
"""Seconds: maximum delay between two trials."""

TRIAL_TIMEOUT_S = 10.0
"""Seconds in which a WebSocket must have an answer of the server."""


class TransportChoice:
    """Selects the transport of each connection of a client, and opens it.

    `url` is `ws://host:port/ws`. `headers` are sent with each request. `proxy` is the URL of a proxy, None for no
    proxy. `open_timeout_s` is the time limit in seconds for opening a connection. `first_trial_s` replaces
    `FIRST_TRIAL_S` in tests.
    """

    def __init__(
        self,
        wanted: WantedTransport,
        url: str,
        tokens: TokenSource,
        headers: Mapping[str, str],
        proxy: str | None,
        open_timeout_s: float,
        first_trial_s: float = FIRST_TRIAL_S,
    ) -> None:
        if wanted not in ("auto", "websocket", "event-stream"):
            raise ValueError(f"transport is auto, websocket or event-stream, not {wanted!r}")
        self.current: Transport = "event-stream" if wanted == "event-stream" else "websocket"
        """The transport of the present connection, or of the last one."""
        self._is_auto = wanted == "auto"
        self._url = url
        self._tokens = tokens
        self._headers = headers
        self._proxy = proxy
        self._open_timeout_s = open_timeout_s
        self._failed_upgrades = 0
        self._upgrade_refusal: OpeningRefused | None = None
        """The answer to the last handshake of a WebSocket, None if it had no answer or was accepted."""
        self._first_trial_s = self._trial_s = first_trial_s

    def open(self) -> AbstractAsyncContextManager[MessageSocket]:
        """Select the transport of the next connection, and open it with the newest token.

        Raises: OpeningRefused, OpeningFailed, and other OSErrors if there is no network connection.
        """
        if self._is_auto:
            is_blocked = self._failed_upgrades >= MAX_FAILED_UPGRADES
            self.current = "event-stream" if is_blocked else "websocket"
        if self.current == "websocket":
            return open_websocket(self._url, self._all_headers(), self._proxy, self._open_timeout_s)
        return open_event_stream(server_url(self._url), self._all_headers, self._proxy, self._open_timeout_s)

    def note_end(self, has_received: bool) -> None:
        """Note that an open connection ended. `has_received` is whether it had a message of the server."""
        self._upgrade_refusal = None
        self._count(has_received)

    def note_failure(self, fault: OSError) -> None:
        """Note that a connection could not be opened, without an answer of HTTP."""
        if not isinstance(fault, ConnectionRefusedError | socket.gaierror):  # these say nothing about the transport
            self._upgrade_refusal = None if self.current == "websocket" else self._upgrade_refusal
            self._count(has_received=False)

    def is_refusal_permanent(self, refused: OpeningRefused) -> bool:
        """Note that opening was refused. Return whether the client must not connect again.

        If the answer to a WebSocket is not from the server, the network can block WebSockets. Then an event stream must
        be refused too before the client ends. An event stream that only an older server refuses does not end it.
        """
        is_permanent = error_for_http_status(refused.status) is not None
        if not self._is_auto:
            return is_permanent
        if self.current == "event-stream":
            first = self._upgrade_refusal
            self._count(has_received=False)
            return is_permanent and first is not None and error_for_http_status(first.status) is not None
        if refused.code not in (None, UPGRADE_REQUIRED):
            return is_permanent
        self._upgrade_refusal = refused
        self._count(has_received=False)
        return False

    def _count(self, has_received: bool) -> None:
        if self.current == "websocket":
            self._failed_upgrades = 0 if has_received else self._failed_upgrades + 1
        elif not has_received:
            # If both transports fail, the server or the network is away, and they take turns.
            self._failed_upgrades = MAX_FAILED_UPGRADES - 1

    @property
    def is_fallback(self) -> bool:
        """Return whether the present connection should be replaced when WebSockets work again."""
        return self._is_auto and self.current == "event-stream"

    async def wait_until_websockets_work(self) -> None:
        """Try WebSockets from time to time, and return when the server has answered over one of them."""
        while True:
            await asyncio.sleep(self._trial_s)
            self._trial_s = min(self._trial_s * 2, LONGEST_TRIAL_S)
            if await self._is_websocket_answered():
                self._failed_upgrades, self._trial_s = 0, self._first_trial_s
                return

    async def _is_websocket_answered(self) -> bool:
        opening = open_websocket(self._url, self._all_headers(), self._proxy, TRIAL_TIMEOUT_S)
        try:
            async with asyncio.timeout(TRIAL_TIMEOUT_S), opening as trial:
                # The answer to a PING shows that messages pass, and not only the handshake.
                await trial.send(orjson.dumps({"type": "PING", "t0": 0}))
                await trial.receive()
                return True
        except (OSError, OpeningRefused):
            return False

    def _all_headers(self) -> dict[str, str]:
        token = self._tokens.newest
        return {**self._headers} if token is None else {**self._headers, "Authorization": f"Bearer {token}"}
