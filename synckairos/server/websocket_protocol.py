"""uvicorn's WebSocket protocol with its transport opened up: prebuilt frames out, messages in without a task each.

The handshake and the parsing stay uvicorn's and `websockets`'. What is borrowed of uvicorn's insides stands in
`BORROWED`; a test holds every name of it, so an upgrade that moves one fails there and not in production.
"""

import asyncio
import fcntl
import logging
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import Protocol

from synckairos.realtime.socket_interface import EXTENSION, Message, SocketClient
from synckairos.wire.websocket_frames import close_frame

BORROWED_METHODS = (
    *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing", "shutdown"),
    *("handle_connect", "handle_close", "handle_cont", "handle_ping", "handle_pong", "handle_parser_exception"),
    *("run_asgi", "send_500_response"),
    *("send_receive_event_to_app", "receive", "send"),
)
BORROWED_ATTRIBUTES = (
    *("app", "close_sent", "close_timer", "conn", "curr_msg_data_type", "frames", "handshake_complete"),
    *("handshake_initiated", "logger", "loop", "queue", "read_paused", "transport"),
)

GOODBYE_S = 2.0
"""How long a client may take to answer a close before its transport is cut."""

PIECES = 64
"""Pieces of a message that are kept as they came; a tiny one weighs forty times what it holds."""

QUIET = "synckairos.websocket"
"""The logger that uvicorn and `websockets` are given: of theirs only warnings are worth a line."""


class _Nowhere:
    """Stands in for the queue and the event of ASGI, which uvicorn goes on to tell of what happens."""

    def put_nowait(self, message: object) -> None: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...


_NOWHERE = _Nowhere()


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. Until `adopt` it is uvicorn's own; from then on it does without ASGI's queue, task and scope.

    Backpressure is the transport's: with a high-water mark of 0 it says `pause_writing` as soon as the kernel doesn't
    take a frame whole, so at most one frame waits in this process.
    """

    write: Callable[[bytes], None]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Theirs would log two lines a connection, one of them with the query, which may hold a ticket.
        self.logger = self.conn.logger = logging.getLogger(QUIET)
        self.ready = False
        self.heard_at = time.monotonic()
        self._client: SocketClient | None = None
        self._adopted = False
        self._goodbye: asyncio.TimerHandle | None = None

    # -- Socket -------------------------------------------------------------------------------------------------------

    def adopt(self, client: SocketClient) -> None:
        """Hand the accepted socket over: messages go to `client`, and the ASGI application may return."""
        self._client = client
        self._adopted = True
        self.transport.set_write_buffer_limits(high=0)
        self.write = self.transport.write
        self.ready = not self.close_sent and not self.transport.is_closing()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        while not self.queue.empty():
            self._tell(cast(Message, self.queue.get_nowait()))
        # An idle connection needs none of these; together they are a third of what it weighs.
        self.queue = self.writable = cast(Any, _NOWHERE)
        del self.request, self.response
        if self.transport.is_closing():
            self._lose()

    def waiting(self) -> int:
        """Return how many bytes wait for the client, here and, on Linux, in the kernel."""
        in_process: int = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        if sock is None or sys.platform != "linux":
            return in_process
        try:
            in_kernel: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
        except (OSError, ValueError):
            return in_process
        return in_process + in_kernel

    def close(self, code: int, reason: str, last: Sequence[bytes] = ()) -> None:
        self.ready = False
        if not self.close_sent and not self.transport.is_closing():
            self.conn.send_close(code, reason)
            self.transport.write(b"".join((*last, *self.conn.data_to_send())))
            self.close_sent = True
            # Theirs waits for ever on a client that doesn't read.
            self.close_timer = self.loop.call_later(GOODBYE_S, self.transport.abort)
        self._abort_soon()

    def abort(self) -> None:
        self.ready = False
        self.transport.abort()

    def _abort_soon(self) -> None:
        if self._goodbye is None:
            self._goodbye = self.loop.call_later(GOODBYE_S, self.transport.abort)

    def _lose(self) -> None:
        self.ready = False
        client, self._client = self._client, None
        if client is not None:
            client.lost()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.heard_at = time.monotonic()
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.ready = False

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._client is not None and not self.close_sent and not self.transport.is_closing():
            self.ready = True
            self._client.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._goodbye is not None:
            self._goodbye.cancel()
        super().connection_lost(exc)
        self._lose()

    def shutdown(self) -> None:
        if self._adopted:
            self.close(1012, "")
        else:
            super().shutdown()

    # -- what uvicorn does with frames --------------------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.conn.reader.buffer:
            # Their parser holds the request as long as it runs; after the handshake a new one does as well.
            self.conn.parser = Protocol.parse(self.conn)
            next(self.conn.parser)
        if not self.handshake_complete:  # else it was refused, and there is no scope
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = self

    def handle_cont(self, event: Frame) -> None:
        if self._may_send() and (event.data or event.fin):
            super().handle_cont(event)
            if len(self.frames) >= PIECES:
                self.frames = [b"".join(self.frames)]

    def _may_send(self) -> bool:
        """Count a frame that is no message: without a bound these would keep us as busy, and pieces pile up."""
        return self._client is None or self._client.may_send()

    def handle_ping(self) -> None:
        if not self._may_send():
            return
        if self.transport.get_write_buffer_size():
            self.conn.data_to_send()  # a client that pings and doesn't read gets no pile of pongs
        else:
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._client is not None and self._client.may_send():
            self._client.ponged(bytes(event.data))

    def handle_close(self, event: Frame) -> None:
        self.ready = False
        super().handle_close(event)
        self._abort_soon()

    def handle_parser_exception(self) -> None:
        """Say why, and read on into the void: closing with bytes unread would reset the connection before that."""
        self.ready = False
        if self.close_sent:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        farewell = b"".join(self.conn.data_to_send())
        if self._client is not None and isinstance(self.conn.parser_exc, PayloadTooBig):
            farewell = close_frame(self._client.too_big_code, "message too big")
        self.transport.write(farewell)
        self.close_sent = True
        self._abort_soon()
        self.close_timer = self._goodbye

    def send_receive_event_to_app(self) -> None:
        if not self._adopted:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent or self._client is None:
            return
        if self.curr_msg_data_type != "text":
            self._client.received_bytes(data)
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.close(1007, "invalid UTF-8")
        else:
            self._client.received(text)

    def _tell(self, message: Message) -> None:
        if message["type"] != "websocket.receive" or self._client is None:
            return
        if (text := message.get("text")) is not None:
            self._client.received(text)
        else:
            self._client.received_bytes(message["bytes"])

    # -- the ASGI application -----------------------------------------------------------------------------------------

    async def run_asgi(self) -> None:
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:
            self.logger.exception("a socket's application failed")
            self.send_500_response()
        else:
            if self._adopted:
                del self.scope
                return
            if not self.handshake_complete:
                self.send_500_response()
        if self.close_timer is None:
            self.transport.close()
