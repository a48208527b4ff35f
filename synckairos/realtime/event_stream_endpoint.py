"""Endpoint of the fallback transport: opens the event streams of v3 clients and connects them to the hub."""

import asyncio
from collections.abc import Callable

from synckairos.errors import Forbidden, InstanceDraining
from synckairos.principal import Principal
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.event_stream_socket import TRANSPORT_EXTENSION, EventStreamSocket
from synckairos.realtime.handshake_authentication import HandshakeAuthentication
from synckairos.realtime.hub import Hub
from synckairos.realtime.sign_in import SignIns
from synckairos.realtime.socket_interface import Scope
from synckairos.realtime.v3_connection import V3Connection
from synckairos.store.stream_channels import StreamChannels
from synckairos.telemetry.metrics import EVENT_STREAMS


class EventStreamEndpoint:
    """Opens event streams. Each stream is a connection of the hub, like a WebSocket.

    `allows_origin` returns whether the `Origin` header of an ASGI scope is allowed. `handshakes` authenticates clients.
    `sign_ins` handles AUTH and REFRESH. `channels` carry the batches of the clients.
    """

    def __init__(
        self,
        hub: Hub,
        commands: CommandHandler,
        channels: StreamChannels,
        *,
        allows_origin: Callable[[Scope], bool],
        handshakes: HandshakeAuthentication,
        sign_ins: SignIns,
    ) -> None:
        self._hub = hub
        self._commands = commands
        self._channels = channels
        self._allows_origin = allows_origin
        self._handshakes = handshakes
        self._sign_ins = sign_ins

    async def open_stream(self, scope: Scope, sender: Principal) -> EventStreamSocket:
        """Open a stream for a request, and return the body of its response. The caller must call `aclose`.

        `sender` is the principal of the request's token, without rights if the request has no token. Only requests of
        the same identity can send frames to the stream. The server must support the extension `TRANSPORT_EXTENSION`.

        Raises: Forbidden, InstanceDraining, TooManyConnections, RateLimitExceeded, Unauthorized and the other errors of
            credentials, StoreUnavailable.
        """
        if not self._allows_origin(scope):
            raise Forbidden("This Origin may not connect")
        if self._hub.is_draining:
            raise InstanceDraining
        principal, refusal = await self._handshakes.authenticate_and_charge(scope, uses_v3=True)
        if refusal is not None:
            try:
                raise refusal
            finally:
                del refusal  # with it, this frame and the traceback of the refusal would be a reference cycle
        self._hub.require_place(principal)
        stream_id = self._channels.make_stream_id()
        socket = EventStreamSocket(stream_id, scope["extensions"][TRANSPORT_EXTENSION])
        connection = V3Connection(
            self._hub, socket, principal, self._commands, self._sign_ins, self._handshakes.bind_origin(scope)
        )
        self._hub.add_connection(connection)
        EVENT_STREAMS.inc()
        channel: str | None = None

        def end() -> None:
            EVENT_STREAMS.dec()
            if channel is not None:
                self._channels.unsubscribe(channel)

        socket.attach_receiver(connection, end)
        try:
            await connection.handshake_completed()
            channel = await self._channels.subscribe(stream_id, sender, socket.receive_batch)
        except (asyncio.CancelledError, Exception):
            await socket.aclose()
            raise
        return socket
