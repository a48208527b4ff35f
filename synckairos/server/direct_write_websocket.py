"""uvicorn's WebSocket protocol with direct writes to the transport and direct delivery of messages, without ASGI.

uvicorn and the `websockets` library still do the handshake and parse the frames. ASGI would cost a queue and a task for
each connection.
"""

import asyncio
import logging
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
from websockets.protocol import Protocol, State

from synckairos.realtime.socket_interface import SOCKET_EXTENSION, Message, SocketEventReceiver
from synckairos.server.timings import DEFAULT_TIMINGS, ServerTimeLimits
from synckairos.server.unsent_bytes import count_unsent_bytes
from synckairos.wire.websocket_frames import close_frame

BORROWED_METHODS = (
    *("connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing", "shutdown"),
    *("handle_connect", "handle_close", "handle_cont", "handle_ping", "handle_pong", "handle_parser_exception"),
    *("run_asgi", "send_500_response"),
    *("send_receive_event_to_app", "receive", "send"),
)
"""Internal methods of uvicorn that `BoundedWebSocketProtocol` overrides or calls.

A test checks that uvicorn has these methods, so that an upgrade of uvicorn without them fails in the tests.
"""

BORROWED_ATTRIBUTES = (
    *("app", "close_sent", "close_timer", "conn", "curr_msg_data_type", "frames", "handshake_complete"),
    *("handshake_initiated", "logger", "loop", "queue", "read_paused", "transport"),
)
"""Internal attributes of uvicorn that `BoundedWebSocketProtocol` uses. A test checks that uvicorn has them."""

MAX_FRAGMENTS = 64
"""Maximum number of separately stored fragments of a message. More fragments are joined.

A separate tiny fragment takes forty times the memory of its content.
"""

LOGGER_NAME = "synckairos.websocket"
"""Name of the logger that uvicorn and `websockets` use here. Only warnings and errors of this logger are written."""


class _Discard:
    """Replacement for the ASGI queue and event after a receiver was attached. Ignores what uvicorn puts into them."""

    def put_nowait(self, message: object) -> None: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...


_DISCARD = _Discard()


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Protocol of one WebSocket. Implements `DirectSocket`.

    Before `attach_receiver` is called, the protocol works like uvicorn's class. After `attach_receiver` it works
    without ASGI's queue, task and scope, and the transport controls backpressure. The transport's high-water mark is
    then 0 bytes. asyncio therefore calls `pause_writing` when the kernel does not accept a whole frame, and at most one
    frame is buffered in this process.
    """

    write: Callable[[bytes], None]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        timings: ServerTimeLimits = DEFAULT_TIMINGS,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # uvicorn's logger would write two lines for each connection. One line has the query string, which can contain
        # a credential.
        self.logger = self.conn.logger = logging.getLogger(LOGGER_NAME)
        self.ready = False
        self.last_received_s = time.monotonic()
        self._close_s = timings.close_s
        self._client: SocketEventReceiver | None = None
        self._has_receiver = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self._resume_timer: asyncio.TimerHandle | None = None
        """Timer of the end of `pause_reading`. None if the reading is not paused by it."""

    # -- DirectSocket ----------------------------------------------------------------------------------------------

    def attach_receiver(self, client: SocketEventReceiver) -> None:
        """Pass all messages and events of this socket to `client`, from this call until the connection is lost.

        Messages that arrived before this call are passed during this call. The ASGI application of this socket can then
        return, and the socket stays open.
        """
        self._client = client
        self._has_receiver = True
        self.transport.set_write_buffer_limits(high=0)
        self.write = self.transport.write
        self.ready = not self.close_sent and not self.transport.is_closing()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        while not self.queue.empty():
            self._forward(cast(Message, self.queue.get_nowait()))
        # A socket with a receiver does not use these attributes. Together they take a third of the memory of an idle
        # connection.
        self.queue = self.writable = cast(Any, _DISCARD)
        del self.request, self.response
        if self.transport.is_closing():
            self._disconnect_client()

    def unsent_bytes(self) -> int:
        """Return the number of written bytes that the client has not acknowledged.

        The number includes the bytes in this process and, on Linux, the bytes in the kernel.
        """
        return count_unsent_bytes(self.transport)

    def pause_reading(self, seconds: float) -> None:
        if self._resume_timer is None and not self.transport.is_closing():
            self.transport.pause_reading()
            self._resume_timer = self.loop.call_later(seconds, self._resume_reading)

    def _resume_reading(self) -> None:
        self._resume_timer = None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self, code: int, reason: str, last_frames: Sequence[bytes] = ()) -> None:
        """Send a close frame after `last_frames`, and abort the connection if the client does not close it in time.

        The method returns at once. The limit is `ServerTimeLimits.close_s`.
        """
        self.ready = False
        # If the close frame of the client arrived together with a message, `websockets` has already answered it.
        if not self.close_sent and not self.transport.is_closing() and self.conn.state is State.OPEN:
            self.conn.send_close(code, reason)
            self.transport.write(b"".join((*last_frames, *self.conn.data_to_send())))
            self.close_sent = True
            # Replace uvicorn's timer, which never ends if the client does not read.
            self.close_timer = self.loop.call_later(self._close_s, self.transport.abort)
        self._abort_soon()

    def abort(self) -> None:
        """Close the connection immediately, without a close frame."""
        self.ready = False
        self.transport.abort()

    def _abort_soon(self) -> None:
        if self._abort_timer is None:
            self._abort_timer = self.loop.call_later(self._close_s, self.transport.abort)

    def _disconnect_client(self) -> None:
        self.ready = False
        client, self._client = self._client, None
        if client is not None:
            client.connection_lost()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.last_received_s = time.monotonic()
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.ready = False

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._client is not None and not self.close_sent and not self.transport.is_closing():
            self.ready = True
            self._client.write_resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._abort_timer, self._resume_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._disconnect_client()
        self.conn.parser.close()  # a running parser and its `conn` are a reference cycle

    def shutdown(self) -> None:
        if self._has_receiver:
            self.close(1012, "")
        else:
            super().shutdown()

    # -- overridden frame handlers of uvicorn -------------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.conn.reader.buffer:
            # Replace the parser, because a running parser keeps the handshake request in memory. A new parser also
            # works after the handshake.
            self.conn.parser = Protocol.parse(self.conn)
            next(self.conn.parser)
        if not self.handshake_complete:  # here a complete handshake means that it was refused and has no scope
            cast(dict[str, Any], self.scope["extensions"])[SOCKET_EXTENSION] = self

    def handle_cont(self, event: Frame) -> None:
        if self._allows_frame() and (event.data or event.fin):
            super().handle_cont(event)
            if len(self.frames) >= MAX_FRAGMENTS:
                self.frames = [b"".join(self.frames)]

    def _allows_frame(self) -> bool:
        """Count a received ping or fragment for the message rate limit. Return whether to handle the frame.

        Before `attach_receiver` is called, nothing is counted and the result is True. Without this count a client could
        send any number of such frames, and fragments would fill the memory.
        """
        return self._client is None or self._client.allow_control_frame()

    def handle_ping(self) -> None:
        if not self._allows_frame():
            return
        if self.transport.get_write_buffer_size():
            self.conn.data_to_send()  # discards the pong, so that pongs for a client that does not read fill no memory
        else:
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._client is not None and self._client.allow_control_frame():
            self._client.pong_received(bytes(event.data))

    def handle_close(self, event: Frame) -> None:
        self.ready = False
        super().handle_close(event)
        self._abort_soon()

    def handle_parser_exception(self) -> None:
        """Send a close frame after invalid data, and discard all further bytes of the client.

        The connection is aborted after `ServerTimeLimits.close_s` seconds. An immediate close, with unread bytes, would
        reset the connection before the client receives the close frame.
        """
        self.ready = False
        if self.close_sent:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        last_bytes = b"".join(self.conn.data_to_send())
        if self._client is not None and isinstance(self.conn.parser_exc, PayloadTooBig):
            last_bytes = close_frame(self._client.message_too_big_code, "message too big")
        self.transport.write(last_bytes)
        self.close_sent = True
        self._abort_soon()
        self.close_timer = self._abort_timer

    def send_receive_event_to_app(self) -> None:
        if not self._has_receiver:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent or self._client is None:
            return
        if self.curr_msg_data_type != "text":
            self._client.bytes_received(data)
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.close(1007, "invalid UTF-8")
        else:
            self._client.text_received(text)

    def _forward(self, message: Message) -> None:
        """Pass a message of the client to the receiver.

        `message` is an ASGI event that arrived before `attach_receiver` was called. Events without a message are
        ignored.
        """
        if message["type"] != "websocket.receive" or self._client is None:
            return
        if (text := message.get("text")) is not None:
            self._client.text_received(text)
        else:
            self._client.bytes_received(message["bytes"])

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
            if self._has_receiver:
                return
            if not self.handshake_complete:
                self.send_500_response()
        finally:
            del self.scope  # a reference cycle, because an extension of the scope is this protocol
        if self.close_timer is None:
            self.transport.close()
