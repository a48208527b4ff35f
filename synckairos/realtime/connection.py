"""One client: a newest-wins slot for each session it watches, and a short queue for what may not be dropped.

Written by the socket's own backpressure: nothing is timed, nothing grows. Knows neither dialect; each is a subclass.
"""

import time
from collections import deque
from dataclasses import dataclass

from synckairos.principal import Principal
from synckairos.realtime.hub import Hub
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.socket_interface import Socket
from synckairos.realtime.watcher import Subscription
from synckairos.telemetry.metrics import WEBSOCKET_CLOSED, WEBSOCKET_CONFLATED, WEBSOCKET_MESSAGES
from synckairos.wire.websocket_frames import PING_FRAME

QUEUE = 64
"""Frames that may wait for a client; they are small, and one more than this says that it is too slow."""

PING_AFTER_S = 20.0
SILENT_AFTER_S = 40.0
STUCK_AFTER_S = 15.0

MESSAGES_A_SECOND = 200
MESSAGES_AT_ONCE = 400


@dataclass(frozen=True, slots=True)
class DialectCloseCodes:
    """What a dialect's sockets are closed with, and why."""

    going_away: int
    too_slow: int
    silent: int
    too_many_messages: int
    too_big: int = 1009


class SocketConnection:
    """A socket's client, and one of the hub's watchers."""

    __slots__ = (
        *("_allowance", "_allowed_at", "_pinged", "_queue", "_stalled_at", "_stalled_with"),
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
        self._pinged = False
        self._stalled_at = 0.0
        self._stalled_with = 0
        self._allowance = float(MESSAGES_AT_ONCE)
        self._allowed_at = time.monotonic()

    @property
    def too_big_code(self) -> int:
        return self.codes.too_big

    @property
    def is_behind(self) -> bool:
        """Tell whether frames that may not be dropped wait for this client."""
        return bool(self._queue)

    @property
    def room(self) -> int:
        """Return how many more of them can wait."""
        return QUEUE - len(self._queue or ())

    # -- to the client ------------------------------------------------------------------------------------------------

    def tell(self, frame: bytes) -> None:
        """Send a frame that may not be dropped; one that can't be kept either ends the connection."""
        if self.socket.ready:
            self.socket.write(frame)
        elif not self.is_lost:
            if self._queue is None:
                self._queue = deque()
            if len(self._queue) >= QUEUE:
                self.close(self.codes.too_slow, "too slow")
            else:
                self._queue.append(frame)

    def offer(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Send a newer state, or let it wait in its slot instead of the one there."""
        if self.socket.ready:
            self.socket.write(self.frame_of(subscription, update))
            subscription.sent = update
        else:
            if subscription.pending is not None:
                WEBSOCKET_CONFLATED.inc()
            subscription.pending = update

    def show(self, frame: bytes) -> bool:
        """Send a frame if the client takes it at once; tell whether it did."""
        if not self.socket.ready:
            return False
        self.socket.write(frame)
        return True

    def frame_of(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        """Render a state for this client, at the moment it is written."""
        raise NotImplementedError

    def resumed(self) -> None:
        """Write what waited, now that the socket takes more."""
        self._stalled_at = 0.0  # as much may wait again by the next check, and isn't stuck
        socket, queue = self.socket, self._queue
        while queue and socket.ready:
            socket.write(queue.popleft())
        if socket.ready:
            self._queue = None
            for subscription in self.subscriptions.values():
                if (update := subscription.pending) is not None and socket.ready:
                    subscription.pending = None
                    self.offer(subscription, update)

    def going_away(self, spread_s: float) -> None:
        """Hear that this instance stops; all its clients are sent away within `spread_s`."""

    def send_away(self) -> None:
        """Leave all sessions and say goodbye, because this instance stops."""
        self.close(self.codes.going_away, "going away")

    def close(self, code: int, reason: str) -> None:
        """Leave all sessions and say goodbye, after what may not be dropped; who is too slow gets no more of that."""
        if not self.is_lost:
            WEBSOCKET_CLOSED.labels(code).inc()
        last = tuple(self._queue or ()) if code != self.codes.too_slow else ()
        self._forget()
        self.socket.close(code, reason, last)

    async def open(self) -> None:
        """Do what a dialect does before the client asked for anything; the socket is open."""

    # -- from the client ----------------------------------------------------------------------------------------------

    def received(self, text: str) -> None:
        """Take a message."""
        raise NotImplementedError

    def received_bytes(self, data: bytes) -> None:
        """Take a binary message."""
        raise NotImplementedError

    def ponged(self, payload: bytes) -> None:
        """Hear the answer to a ping."""

    def lost(self) -> None:
        """Hear from the socket that nobody is there any more."""
        self._forget()
        self.hub.forget(self)

    def may_ask(self) -> bool:
        """Count a message; False, and the connection closed, where there were too many."""
        WEBSOCKET_MESSAGES.inc()
        return self.may_send()

    def may_send(self) -> bool:
        """Count what a client sent, a message or less; False, and the connection closed, where it was too much."""
        now = time.monotonic()
        refill = (now - self._allowed_at) * MESSAGES_A_SECOND
        self._allowance, self._allowed_at = min(MESSAGES_AT_ONCE, self._allowance + refill) - 1, now
        if self._allowance < 0:
            self.close(self.codes.too_many_messages, "too many messages")
        return self._allowance >= 0

    # -- what happens to sessions -------------------------------------------------------------------------------------

    def take(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Hear of a version that is newer than all before."""
        raise NotImplementedError

    # -- health -------------------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Ping a quiet client, let go of one that is silent or stuck. `now` is `time.monotonic()`."""
        socket = self.socket
        if not socket.ready:
            waiting = socket.waiting()
            if not self._stalled_at or waiting < self._stalled_with:
                self._stalled_at = now
            elif now - self._stalled_at > STUCK_AFTER_S:
                self.close(self.codes.too_slow, "too slow")
            self._stalled_with = waiting
            return
        self._stalled_at = 0.0
        quiet_s = now - socket.heard_at
        if quiet_s <= PING_AFTER_S:
            self._pinged = False
        elif not self._pinged:
            self._pinged = True
            socket.write(PING_FRAME)
        elif quiet_s > SILENT_AFTER_S:
            self.close(self.codes.silent, "silent")

    def _forget(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._queue = None
            self.hub.leave(list(self.subscriptions.values()))
            self.subscriptions.clear()
