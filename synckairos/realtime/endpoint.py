"""The ASGI application behind `/ws`: who may come in, and which dialect is spoken.

Handles the handshake alone; from then on the socket and its connection do without ASGI where they can.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from synckairos.principal import Principal
from synckairos.realtime import v2_connection, v3_connection
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.connection import SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.socket_interface import EXTENSION, AdoptableSocket, AsgiSocket, Receive, Scope, Send, Socket
from synckairos.realtime.v2_connection import V2Connection
from synckairos.realtime.v3_connection import V3Connection
from synckairos.wire.field_types import parse_uuid
from synckairos.wire.v3_messages import SUBPROTOCOL

PATH = "/ws"

RETRY_AFTER_S = 5
DRAINING_RETRY_AFTER_S = 1
"""Until whoever balances the load has seen that we are not ready: others are."""


class WebSocketEndpoint:
    """Accepts sockets for a hub.

    `allows` says whether an upgrade's Origin is fine, `principal_for` who asks; both look at the scope.
    """

    def __init__(
        self,
        hub: Hub,
        commands: CommandHandler,
        *,
        allows: Callable[[Scope], bool],
        principal_for: Callable[[Scope], Principal],
    ) -> None:
        self._hub = hub
        self._commands = commands
        self._allows = allows
        self._principal_of = principal_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        principal = self._principal_of(scope)
        speaks_v3 = SUBPROTOCOL in scope.get("subprotocols", ())
        if scope["path"] != PATH:
            await _refuse(scope, send, 404, b"The WebSocket is at /ws")
        elif not self._allows(scope):
            await _refuse(scope, send, 403, b"This Origin may not connect")
        elif self._hub.is_draining:
            await _refuse(scope, send, 503, b"Going away; try again", DRAINING_RETRY_AFTER_S)
        elif not speaks_v3 and self._hub.is_full(principal.address):
            await _refuse(scope, send, 503, b"No more connections here; try again", RETRY_AFTER_S)
        elif speaks_v3:
            await self._speak_v3(principal, scope, receive, send)
        else:
            await self._speak_v2(principal, scope, receive, send)

    async def _speak_v2(self, principal: Principal, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("sessionId", [""])[0]
        try:
            session_id = parse_uuid(asked)
        except ValueError:
            # A browser sees a close code only after the handshake, so it is accepted first.
            why_not = v2_connection.NO_DIALECT if scope.get("subprotocols") else v2_connection.NO_PARAMETER
            await _close(send, *(v2_connection.NO_UUID if asked else why_not))
            return
        await self._run(lambda socket: V2Connection(self._hub, socket, principal, session_id), scope, receive, send)

    async def _speak_v3(self, principal: Principal, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        if self._hub.is_full(principal.address):
            await _close(send, *v3_connection.TOO_MANY_CONNECTIONS)
            return
        await self._run(lambda socket: V3Connection(self._hub, socket, principal, self._commands), scope, receive, send)

    async def _run(
        self, make: Callable[[Socket], SocketConnection], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Connect an accepted socket; returns at once where the server hands it over, at its end where not."""
        direct: AdoptableSocket | None = (scope.get("extensions") or {}).get(EXTENSION)
        if direct is not None:
            connection = make(direct)
            self._hub.add(connection)
            direct.adopt(connection)
            await connection.open()
        else:
            socket = AsgiSocket(send)
            connection = make(socket)
            self._hub.add(connection)
            self._hub.spawn(connection.open())
            await socket.run(connection, receive)


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _refuse(scope: Scope, send: Send, status: int, why: bytes, retry_after_s: int | None = None) -> None:
    """Answer the handshake by HTTP where the server can, by its plain 403 where not."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    if "websocket.http.response" not in extensions:
        await _close(send, 1008, "")
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": why, "more_body": False})
