"""ASGI application behind `/ws`: accepts or refuses the handshake and selects the dialect.

It handles only the handshake. Afterwards the connection adopts the server's socket and ASGI is not used.
"""

import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

from synckairos.principal import Principal
from synckairos.realtime import v2_connection, v3_connection
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.connection import SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.socket_interface import SOCKET_EXTENSION, AdoptableSocket, Receive, Scope, Send, Socket
from synckairos.realtime.v2_connection import V2Connection
from synckairos.realtime.v3_connection import V3Connection
from synckairos.wire.field_types import parse_uuid
from synckairos.wire.v3_messages import SUBPROTOCOL

PATH = "/ws"

CREDENTIAL_PREFIX = "synckairos.bearer."
"""Begin of a subprotocol that carries a token, because browsers cannot send headers with a WebSocket."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A subprotocol's name by RFC 6455: a token of RFC 9110."""

RETRY_AFTER_S = 5
DRAINING_RETRY_AFTER_S = 1
"""Seconds in `Retry-After` while this instance drains: load balancers soon use other instances."""


class WebSocketEndpoint:
    """Accepts WebSockets for a hub.

    `allows_origin` decides on the Origin of an ASGI scope; `principal_for` returns its principal.
    """

    def __init__(
        self,
        hub: Hub,
        commands: CommandHandler,
        *,
        allows_origin: Callable[[Scope], bool],
        principal_for: Callable[[Scope], Principal],
    ) -> None:
        self._hub = hub
        self._commands = commands
        self._allows_origin = allows_origin
        self._principal_for = principal_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one WebSocket. The server must provide an `AdoptableSocket` and HTTP responses as extensions."""
        await receive()  # websocket.connect
        principal = self._principal_for(scope)
        uses_v3 = SUBPROTOCOL in scope.get("subprotocols", ())
        if scope["path"] != PATH:
            await _refuse(send, 404, b"The WebSocket is at /ws")
        elif not self._allows_origin(scope):
            await _refuse(send, 403, b"This Origin may not connect")
        elif self._hub.is_draining:
            await _refuse(send, 503, b"This instance stops; try again", DRAINING_RETRY_AFTER_S)
        elif not uses_v3 and self._hub.is_full(principal.address):
            await _refuse(send, 503, b"Too many connections; try again", RETRY_AFTER_S)
        elif uses_v3:
            await self._accept_v3(principal, scope, send)
        else:
            await self._accept_v2(principal, scope, send)

    async def _accept_v2(self, principal: Principal, scope: Scope, send: Send) -> None:
        # Name the first offered subprotocol, as v2 does. Some clients fail the handshake if the answer names none.
        await send({"type": "websocket.accept", "subprotocol": _first_name(scope.get("subprotocols", ()))})
        text = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("sessionId", [""])[0]
        try:
            session_id = parse_uuid(text)
        except ValueError:
            # Closed after the handshake, because a browser does not see a close code before it.
            if text:
                await _close(send, *v2_connection.NO_UUID)
            else:
                await _close(
                    send, *(v2_connection.NO_DIALECT if scope.get("subprotocols") else v2_connection.NO_PARAMETER)
                )
            return
        await self._connect(scope, lambda socket: V2Connection(self._hub, socket, principal, session_id))

    async def _accept_v3(self, principal: Principal, scope: Scope, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        if self._hub.is_full(principal.address):
            await _close(send, *v3_connection.TOO_MANY_CONNECTIONS)
            return
        await self._connect(scope, lambda socket: V3Connection(self._hub, socket, principal, self._commands))

    async def _connect(self, scope: Scope, build: Callable[[Socket], SocketConnection]) -> None:
        """Give an accepted socket to a new connection; return when the dialect has started."""
        socket: AdoptableSocket = scope["extensions"][SOCKET_EXTENSION]
        connection = build(socket)
        self._hub.add(connection)
        socket.adopt(connection)
        await connection.open()


def _first_name(subprotocols: Iterable[str]) -> str | None:
    """Return the first offered subprotocol, None if none is a valid name. Credentials are never repeated."""
    names = (each for each in subprotocols if _TOKEN.fullmatch(each))
    return next((each for each in names if not each.startswith(CREDENTIAL_PREFIX)), None)


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _refuse(send: Send, status: int, reason: bytes, retry_after_s: int | None = None) -> None:
    """Refuse the handshake with an HTTP response."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reason, "more_body": False})
