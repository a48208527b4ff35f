"""The ASGI application behind `/ws`: who may come in, and which dialect is spoken.

Handles the handshake alone; from then on the socket and its connection do without ASGI where they can.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from synckairos.principal import Principal
from synckairos.realtime import v2
from synckairos.realtime.hub import Hub
from synckairos.realtime.protocol import SocketProtocol
from synckairos.realtime.socket import EXTENSION, AsgiSocket, Receive, Scope, Send
from synckairos.realtime.v2 import V2Connection
from synckairos.wire.fields import as_uuid

RETRY_AFTER_S = 5


class Endpoint:
    """Accepts sockets for a hub.

    `allows` says whether an upgrade's Origin is fine, `principal_of` who asks; both look at the scope.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        allows: Callable[[Scope], bool],
        principal_of: Callable[[Scope], Principal],
    ) -> None:
        self._hub = hub
        self._allows = allows
        self._principal_of = principal_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if not self._allows(scope):
            await _refuse(scope, send, 403, b"This Origin may not connect")
        elif self._hub.is_draining or self._hub.is_full:
            await _refuse(scope, send, 503, b"No more connections here; try again")
        else:
            await self._speak_v2(scope, receive, send)

    async def _speak_v2(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("sessionId", [""])[0]
        try:
            session_id = as_uuid(asked)
        except ValueError:
            # A browser sees a close code only after the handshake, so it is accepted first.
            code, reason = v2.NO_UUID if asked else v2.NO_PARAMETER
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return
        direct = scope["extensions"].get(EXTENSION) if "extensions" in scope else None
        if isinstance(direct, SocketProtocol):
            connection = V2Connection(self._hub, direct, self._principal_of(scope))
            self._hub.add(connection)
            direct.adopt(connection)
            await connection.open(session_id)
        else:
            socket = AsgiSocket(send)
            connection = V2Connection(self._hub, socket, self._principal_of(scope))
            self._hub.add(connection)
            self._hub.spawn(connection.open(session_id))
            await socket.run(connection, receive)


async def _refuse(scope: Scope, send: Send, status: int, why: bytes) -> None:
    """Answer the handshake by HTTP where the server can, by its plain 403 where not."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    if "websocket.http.response" not in extensions:
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": why, "more_body": False})
