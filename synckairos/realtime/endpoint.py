"""ASGI application for `/ws`: accepts or refuses the WebSocket handshake and selects the dialect (v2 or v3).

The application handles only the handshake. Then a connection receives from the server's socket directly, without ASGI.
"""

import re
from collections.abc import Callable, Iterable

from synckairos.errors import RateLimitExceeded, SyncKairosError, TooManyConnections, Unauthorized
from synckairos.identity.credentials import SUBPROTOCOL_PREFIX
from synckairos.limits.running_request import idle_wait
from synckairos.principal import Principal
from synckairos.realtime import v2_connection
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.connection import SocketConnection
from synckairos.realtime.handshake_authentication import HandshakeAuthentication, query_value
from synckairos.realtime.hub import Hub
from synckairos.realtime.sign_in import SignIns
from synckairos.realtime.socket_interface import SOCKET_EXTENSION, DirectSocket, Receive, Scope, Send, Socket
from synckairos.realtime.v2_connection import V2Connection
from synckairos.realtime.v3_connection import V3Connection
from synckairos.realtime.v3_sign_in import TOO_MANY_CONNECTIONS
from synckairos.telemetry.metrics import RATE_LIMITED
from synckairos.wire.field_types import parse_uuid
from synckairos.wire.v3_messages import SUBPROTOCOL

PATH = "/ws"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Pattern of a valid subprotocol name. RFC 6455 allows the characters of a token of RFC 9110."""

DRAINING_RETRY_AFTER_S = 1
"""Seconds in `Retry-After` while this instance drains. Short, because load balancers soon use other instances."""


class WebSocketEndpoint:
    """ASGI application that accepts WebSockets and adds their connections to a hub.

    `allows_origin` returns whether the `Origin` header of an ASGI scope is allowed. `handshakes` authenticates clients.
    `sign_ins` handles AUTH and REFRESH. `record_refusal` gets the address and the code of each refused credential.
    """

    def __init__(
        self,
        hub: Hub,
        commands: CommandHandler,
        *,
        allows_origin: Callable[[Scope], bool],
        handshakes: HandshakeAuthentication,
        sign_ins: SignIns,
        record_refusal: Callable[[str, str], None] | None = None,
    ) -> None:
        self._hub = hub
        self._commands = commands
        self._allows_origin = allows_origin
        self._handshakes = handshakes
        self._sign_ins = sign_ins
        self._record_refusal = record_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle the handshake of one WebSocket.

        The server must support two ASGI extensions: `SOCKET_EXTENSION` and `websocket.http.response`.
        """
        await receive()  # websocket.connect
        uses_v3 = SUBPROTOCOL in scope.get("subprotocols", ())
        if scope["path"] != PATH:
            await _refuse(send, 404, f"The WebSocket is at {scope.get('root_path', '')}{PATH}".encode())
        elif not self._allows_origin(scope):
            await _refuse(send, 403, b"This Origin may not connect")
        elif self._hub.is_draining:
            await _refuse(send, 503, b"This instance stops; try again", DRAINING_RETRY_AFTER_S)
        else:
            principal, refusal = await self._handshakes.authenticate_and_charge(scope, uses_v3)
            # A client with many handshakes at once waits for at most a second, and is not refused for this.
            await self._hub.work.processor_time.run(
                principal.limited_client_id,
                lambda: self._admit(principal, refusal, uses_v3, scope, send),
                is_rate_limited=False,
            )

    async def _admit(
        self, principal: Principal, refusal: SyncKairosError | None, uses_v3: bool, scope: Scope, send: Send
    ) -> None:
        """Accept or refuse a handshake. `refusal` is the error that refuses it, None if there is none."""
        if isinstance(refusal, RateLimitExceeded):
            RATE_LIMITED.labels("ws").inc()
        elif refusal is not None and refusal.status in (401, 403) and self._record_refusal is not None:
            self._record_refusal(principal.address, refusal.code)
        excess = self._find_excess(principal)
        if excess is not None:
            # Clients that try again at once, or all at the same time, would take much processor time.
            with idle_wait():
                await self._hub.work.processor_time.delay_refusal(principal.limited_client_id)
        if refusal is not None and (uses_v3 or refusal.status not in (401, 403)):
            await _refuse_with(send, refusal)
        elif not uses_v3 and excess is not None:
            await _refuse_with(send, excess)
        elif uses_v3:
            await self._accept_v3(principal, scope, send)
        else:
            await self._accept_v2(principal, refusal, scope, send)

    async def _accept_v2(self, principal: Principal, refusal: SyncKairosError | None, scope: Scope, send: Send) -> None:
        # Select the first offered subprotocol, as v2 does. Some clients fail if the response selects no subprotocol.
        await send({"type": "websocket.accept", "subprotocol": _first_name(scope.get("subprotocols", ()))})
        if refusal is not None:
            # Close after the handshake, because a browser does not show the status of a refused handshake.
            await _close(send, *v2_connection.NO_CREDENTIAL)
            return
        text = query_value(scope, "sessionId") or ""
        try:
            session_id = parse_uuid(text)
        except ValueError:
            # Close after the handshake, because a browser does not show a close code of a refused handshake.
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
        if self._find_excess(principal) is not None:
            await _close(send, *TOO_MANY_CONNECTIONS)
            return
        await self._connect(
            scope,
            lambda socket: V3Connection(
                self._hub,
                socket,
                principal,
                self._commands,
                self._sign_ins,
                self._handshakes.bind_origin(scope),
            ),
        )

    def _find_excess(self, principal: Principal) -> TooManyConnections | None:
        """Return the refusal if a further connection of the principal would exceed a limit, None if it would not."""
        try:
            self._hub.require_place(principal)
        except TooManyConnections as refusal:
            # With the traceback, the refusal and the frame of the caller would be a reference cycle.
            return refusal.with_traceback(None)
        return None

    async def _connect(self, scope: Scope, build: Callable[[Socket], SocketConnection]) -> None:
        """Build a connection for the accepted socket and attach it. Return after `handshake_completed`."""
        socket: DirectSocket = scope["extensions"][SOCKET_EXTENSION]
        connection = build(socket)
        self._hub.add_connection(connection)
        socket.attach_receiver(connection)
        await connection.handshake_completed()


def _first_name(subprotocols: Iterable[str]) -> str | None:
    """Return the first offered subprotocol with a valid name; None if there is no such subprotocol.

    Subprotocols with credentials are skipped, because the response would repeat the credentials.
    """
    names = (each for each in subprotocols if _TOKEN.fullmatch(each))
    return next((each for each in names if not each.startswith(SUBPROTOCOL_PREFIX)), None)


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})


async def _refuse_with(send: Send, error: SyncKairosError) -> None:
    """Refuse the handshake with the status and the message of an error."""
    challenge = error.challenge if isinstance(error, Unauthorized) else None
    await _refuse(send, error.status, error.message.encode(), getattr(error, "retry_after_s", None), challenge)


async def _refuse(
    send: Send, status: int, reason: bytes, retry_after_s: int | None = None, challenge: str | None = None
) -> None:
    """Refuse the handshake with a plain-text HTTP response.

    `retry_after_s` is the value of `Retry-After`, and `challenge` that of `WWW-Authenticate`. None omits the header.
    """
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    if challenge is not None:
        headers.append((b"www-authenticate", challenge.encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reason, "more_body": False})
