"""One WebSocket client: the newest unsent state of each session, and a short queue of frames that must not be dropped.

The socket's backpressure controls all writes, so no buffer grows. The subclasses implement the two dialects.
"""

import time
from collections import deque
from dataclasses import dataclass

from synckairos.principal import Principal
from synckairos.realtime.hub import Hub
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.socket_interface import Socket
from synckairos.realtime.watcher_interface import Subscription
from synckairos.telemetry.metrics import WEBSOCKET_CLOSED, WEBSOCKET_CONFLATED, WEBSOCKET_MESSAGES
from synckairos.wire.websocket_frames import PING_FRAME

MAX_QUEUED_FRAMES = 64
"""Frames queued for a client, at most. They are small, so a client with more queued frames is too slow."""

MESSAGES_A_SECOND = 200
"""Messages a second that a client may send on average."""

MESSAGES_AT_ONCE = 400
"""Messages that a client may send in a burst."""


@dataclass(frozen=True, slots=True)
class DialectCloseCodes:
    """Close codes of a dialect, by reason."""

    going_away: int
    too_slow: int
    silent: int
    too_many_messages: int
    too_big: int = 1009


class SocketConnection:
    """A WebSocket client: a `SocketClient` for its socket, and a `Watcher` for the hub."""

    __slots__ = (
        *("_allowance", "_allowance_at_s", "_is_pinged", "_queue", "_stalled_at_s", "_stalled_bytes"),
        *("hub", "is_lost", "principal", "socket", "subscriptions"),
    )

    codes: DialectCloseCodes

    def __init__(self, hub: Hub, socket: Socket, principal: Principal) -> None:
        self.hub = hub
        self.socket = socket
        self.principal = principal
        self.subscriptions: dict[str, Subscription] = {}
        self.is_lost = False
        self._queue: deque[bytes] | None = None
        self._is_pinged = False
        self._stalled_at_s = 0.0
        self._stalled_bytes = 0
        self._allowance = float(MESSAGES_AT_ONCE)
        self._allowance_at_s = time.monotonic()

    @property
    def message_too_big_code(self) -> int:
        return self.codes.too_big

    @property
    def has_queued_frames(self) -> bool:
        return bool(self._queue)

    @property
    def queue_space(self) -> int:
        """Return the number of frames that can still be queued."""
        return MAX_QUEUED_FRAMES - len(self._queue or ())

    # -- to the client ------------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Send or queue a frame that must not be dropped; close the connection if the queue is full."""
        if self.socket.ready:
            self.socket.write(frame)
        elif not self.is_lost:
            if self._queue is None:
                self._queue = deque()
            if len(self._queue) >= MAX_QUEUED_FRAMES:
                self.close(self.codes.too_slow, "too slow")
            else:
                self._queue.append(frame)

    def send_update(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Send a newer state, or keep it as the newest unsent state in place of an older one."""
        if self.socket.ready:
            self.socket.write(self.render_update(subscription, update))
            subscription.sent = update
        else:
            if subscription.unsent is not None:
                WEBSOCKET_CONFLATED.inc()
            subscription.unsent = update

    def send_if_ready(self, frame: bytes) -> bool:
        """Send a frame if the socket is ready; return whether it was sent."""
        if not self.socket.ready:
            return False
        self.socket.write(frame)
        return True

    def render_update(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        """Render a state for this client, at the moment when it is written."""
        raise NotImplementedError

    def write_resumed(self) -> None:
        """Write queued frames and unsent states, because the socket takes more."""
        self._stalled_at_s = 0.0  # the socket made progress, although as many bytes may be queued at the next check
        socket, queue = self.socket, self._queue
        while queue and socket.ready:
            socket.write(queue.popleft())
        if socket.ready:
            self._queue = None
            for subscription in self.subscriptions.values():
                if (update := subscription.unsent) is not None and socket.ready:
                    subscription.unsent = None
                    self.send_update(subscription, update)

    def announce_shutdown(self, spread_s: float) -> None:
        """Announce that this instance stops; it closes all connections within `spread_s` seconds."""

    def close_for_shutdown(self) -> None:
        """Unsubscribe from all sessions and close the connection, because this instance stops."""
        self.close(self.codes.going_away, "going away")

    def close(self, code: int, reason: str) -> None:
        """Unsubscribe from all sessions, send the queued frames, unless the client is too slow, and close."""
        if not self.is_lost:
            WEBSOCKET_CLOSED.labels(code).inc()
        last_frames = tuple(self._queue or ()) if code != self.codes.too_slow else ()
        self._unsubscribe_all()
        self.socket.close(code, reason, last_frames)

    async def open(self) -> None:
        """Start the dialect after the handshake, before the client's first message."""

    # -- from the client ----------------------------------------------------------------------------------------------

    def text_received(self, text: str) -> None:
        raise NotImplementedError

    def bytes_received(self, data: bytes) -> None:
        raise NotImplementedError

    def pong_received(self, payload: bytes) -> None:
        """Take the payload of a pong."""

    def connection_lost(self) -> None:
        """Remove this connection from the hub, because the socket is closed."""
        self._unsubscribe_all()
        self.hub.remove(self)

    def allow_message(self) -> bool:
        """Count a message. Return False, after closing the connection, if the client sent too many."""
        WEBSOCKET_MESSAGES.inc()
        return self.allow_frame()

    def allow_frame(self) -> bool:
        """Count a frame. Return False, after closing the connection, if the client sent too many."""
        now_s = time.monotonic()
        refill = (now_s - self._allowance_at_s) * MESSAGES_A_SECOND
        self._allowance, self._allowance_at_s = min(MESSAGES_AT_ONCE, self._allowance + refill) - 1, now_s
        if self._allowance < 0:
            self.close(self.codes.too_many_messages, "too many messages")
        return self._allowance >= 0

    # -- from the hub -------------------------------------------------------------------------------------------------

    def notify(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Take a version that is newer than all before."""
        raise NotImplementedError

    def check_liveness(self, now_s: float) -> None:
        """Ping a quiet client, and close the connection of a silent or stuck client.

        `now_s` is `time.monotonic()`. A client is stuck if it takes no byte of the unsent data.
        """
        socket, timings = self.socket, self.hub.timings
        if not socket.ready:
            unsent_bytes = socket.unsent_bytes()
            if not self._stalled_at_s or unsent_bytes < self._stalled_bytes:
                self._stalled_at_s = now_s
            elif now_s - self._stalled_at_s > timings.stuck_after_s:
                self.close(self.codes.too_slow, "too slow")
            self._stalled_bytes = unsent_bytes
            return
        self._stalled_at_s = 0.0
        quiet_s = now_s - socket.last_received_s
        if quiet_s <= timings.ping_after_s:
            self._is_pinged = False
        elif not self._is_pinged:
            self._is_pinged = True
            socket.write(PING_FRAME)
        elif quiet_s > timings.silent_after_s:
            self.close(self.codes.silent, "silent")

    def _unsubscribe_all(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._queue = None
            self.hub.unsubscribe(list(self.subscriptions.values()))
            self.subscriptions.clear()
