"""Socket of the fallback transport: frames to the client as Server-Sent Events, frames from the client in batches.

It has the interface of a WebSocket, so that `V3Connection` works on both transports without a difference. The body of
an HTTP response takes the events from it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from synckairos.realtime.socket_interface import SocketEventReceiver
from synckairos.wire.event_stream_events import close_event, event_for_frame, open_event, received_event
from synckairos.wire.event_streams import FrameBatch

TRANSPORT_EXTENSION = "synckairos.stream_transport"
"""Name of the ASGI extension in `scope["extensions"]`. The extension's value is the `StreamTransport`."""

UNSENT_BYTES = 16_384
"""Bytes of events from which on further frames must wait in the connection, where a newer state can replace them."""

CLOSE_S = 2.0
"""Seconds in which a client must read the last events of a stream. Then the server aborts the connection."""


class StreamTransport(Protocol):
    """The HTTP connection under a stream."""

    def begin_stream(self) -> None:
        """Prepare the connection for a stream: buffer at most one piece in this process."""

    def unsent_bytes(self) -> int:
        """Return the number of written bytes that the client has not acknowledged, see `Socket.unsent_bytes`."""

    async def wait_until_writable(self) -> None:
        """Wait until the operating system accepts data, or the client is disconnected."""

    def abort_stream(self) -> None:
        """Close the connection immediately."""


class EventStreamSocket:
    """The socket of one event stream. Implements `Socket` for a connection and `ByteStream` for an HTTP response.

    The caller must call `attach_receiver`, and `aclose` in all cases.
    """

    def __init__(self, stream_id: str, transport: StreamTransport, *, close_s: float = CLOSE_S) -> None:
        """Create a socket whose first event names `stream_id`. `close_s` is the time limit of `close` in seconds."""
        self.ready = True
        self.last_received_s = time.monotonic()
        self._transport = transport
        self._close_s = close_s
        self._client: SocketEventReceiver | None = None
        self._on_end: Callable[[], None] = lambda: None
        self._events = [open_event(stream_id)]
        self._size = 0
        """Bytes of the frames in `_events`."""
        self._has_events = asyncio.Event()
        self._received = 0
        """Number of the last batch that was passed to the receiver."""
        self._must_confirm = False
        self._paused_until_s = 0.0
        self._is_closing = False
        self._abort_timer: asyncio.TimerHandle | None = None
        transport.begin_stream()

    def attach_receiver(self, client: SocketEventReceiver, on_end: Callable[[], None]) -> None:
        """Pass all batches and events of this socket to `client`. Call `on_end` once after the end of the stream."""
        self._client = client
        self._on_end = on_end

    # -- from the client ----------------------------------------------------------------------------------------------

    def receive_batch(self, batch: FrameBatch) -> None:
        """Pass the frames of the client's next batch to the receiver, and confirm the batch.

        A batch that was received already is only confirmed again. A batch whose predecessor is missing is ignored, and
        so is each batch while the reading is paused: the client sends a batch again until it is confirmed.
        """
        client, now_s = self._client, time.monotonic()
        if client is None or self._is_closing or now_s < self._paused_until_s or not client.allow_control_frame():
            return
        self.last_received_s = now_s
        if batch.sequence == self._received + 1:
            self._received += 1
            if batch.pong is not None:
                client.pong_received(bytes.fromhex(batch.pong))
            for text in batch.frames:
                if not self._is_closing:
                    client.text_received(text)
        if not self._is_closing:
            self._must_confirm = True
            self._has_events.set()

    def pause_reading(self, seconds: float) -> None:
        now_s = time.monotonic()
        if now_s >= self._paused_until_s:
            self._paused_until_s = now_s + seconds

    # -- to the client ------------------------------------------------------------------------------------------------

    def write(self, frame: bytes) -> None:
        """Append a frame to the events. Call this only while `ready` is True."""
        event = event_for_frame(frame)
        self._events.append(event)
        self._size += len(event)
        self.ready = self._size < UNSENT_BYTES
        self._has_events.set()

    def unsent_bytes(self) -> int:
        return self._size + self._transport.unsent_bytes()

    def close(self, code: int, reason: str, last_frames: Sequence[bytes] = ()) -> None:
        """Send `last_frames` and the event `close`, then end the stream. Return immediately.

        The connection is aborted if the client does not read the events within the time limit.
        """
        self.ready = False
        if not self._is_closing:
            self._is_closing = True
            self._events += (*map(event_for_frame, last_frames), close_event(code, reason))
            self._has_events.set()
            self._abort_timer = asyncio.get_running_loop().call_later(self._close_s, self.abort)

    def abort(self) -> None:
        """Close the connection immediately, without the event `close`."""
        self.ready = False
        self._is_closing = True
        self._has_events.set()
        self._transport.abort_stream()

    # -- the body of the response -------------------------------------------------------------------------------------

    def __aiter__(self) -> "EventStreamSocket":
        return self

    async def __anext__(self) -> bytes:
        """Return all events that wait, as soon as the operating system accepts data."""
        while True:
            await self._transport.wait_until_writable()
            if events := self._take_events():
                return events
            if self._is_closing:
                raise StopAsyncIteration
            self._has_events.clear()
            await self._has_events.wait()

    def _take_events(self) -> bytes:
        if self._must_confirm:
            self._must_confirm = False
            # The confirmation is last, so that a client has the direct answers to its frames before it.
            at = len(self._events) - 1 if self._is_closing else len(self._events)
            self._events.insert(at, received_event(self._received))
        events, self._events, self._size = b"".join(self._events), [], 0
        if not self.ready and not self._is_closing and self._client is not None:
            self.ready = True
            self._client.write_resumed()
        return events

    async def aclose(self) -> None:
        """End the stream: report the lost connection to the receiver. Further calls have no effect."""
        self.ready = False
        self._is_closing = True
        self._has_events.set()
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        client, self._client = self._client, None
        if client is not None:
            client.connection_lost()
            self._on_end()
