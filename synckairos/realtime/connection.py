"""WebSocket connection of one client, common to both dialects: backpressure, message rate limit and liveness.

For a slow client the connection keeps the newest unsent state of each session, and a short queue of frames that must
not be dropped. Only the socket's backpressure starts and stops writes, so no buffer grows. `V2Connection` and
`V3Connection` implement the dialects.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from synckairos.errors import SessionNotFound
from synckairos.limits.work_limits import UNKNOWN_SESSIONS
from synckairos.principal import Principal, Role
from synckairos.realtime.hub import Hub
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.socket_interface import Socket
from synckairos.realtime.subscription_rights import apply_rights_to_subscriptions
from synckairos.realtime.watcher_interface import Subscription
from synckairos.revocations.credential_ends import EndReason
from synckairos.telemetry.metrics import WEBSOCKET_CLOSED, WEBSOCKET_CONFLATED, WEBSOCKET_MESSAGES
from synckairos.wire.websocket_frames import PING_FRAME

MAX_QUEUED_FRAMES = 64
"""Maximum number of frames in the queue of one client.

Queued frames are small. A client that does not receive even these frames is too slow.
"""

MESSAGES_A_SECOND = 200
"""Maximum average number of messages per second from one client."""

MESSAGES_AT_ONCE = 400
"""Maximum number of messages from one client in a burst, before the average rate applies."""


@dataclass(frozen=True, slots=True)
class DialectCloseCodes:
    """WebSocket close codes of a dialect, by the reason for the close.

    `credential_ends` has the close code and the reason text for each end of a credential.
    """

    going_away: int
    too_slow: int
    silent: int
    too_many_messages: int
    credential_ends: Mapping[EndReason, tuple[int, str]]
    too_big: int = 1009


class SocketConnection:
    """WebSocket connection of one client. Implements `SocketEventReceiver` and `Watcher`."""

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
        """Return the close code for a message that is too large."""
        return self.codes.too_big

    @property
    def has_queued_frames(self) -> bool:
        """Return whether frames wait in the queue until the socket is ready."""
        return bool(self._queue)

    @property
    def free_queue_slots(self) -> int:
        """Return how many more frames the queue can hold. It holds at most `MAX_QUEUED_FRAMES` frames."""
        return MAX_QUEUED_FRAMES - len(self._queue or ())

    # -- to the client ------------------------------------------------------------------------------------------------

    def send_or_queue(self, frame: bytes) -> None:
        """Send a frame that must not be dropped, or queue the frame if the socket is not ready.

        If the queue already has `MAX_QUEUED_FRAMES` frames, drop the frame and the queue, and close the connection.
        """
        if self.socket.ready:
            self.socket.write(frame)
        elif not self.is_lost:
            if self._queue is None:
                self._queue = deque()
            if len(self._queue) >= MAX_QUEUED_FRAMES:
                self.close(self.codes.too_slow, "too slow")
            else:
                self._queue.append(frame)

    def send_or_conflate(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Send an update, or keep the update as the newest unsent state if the socket is not ready.

        The kept update replaces an older unsent state of the same session.
        """
        if self.socket.ready:
            self.socket.write(self.render_update(subscription, update))
            subscription.sent = update
        else:
            if subscription.unsent is not None:
                WEBSOCKET_CONFLATED.inc()
            subscription.unsent = update

    def try_send_frame(self, frame: bytes) -> bool:
        """Send a frame if the socket is ready. Return whether the frame was sent."""
        if not self.socket.ready:
            return False
        self.socket.write(frame)
        return True

    def render_update(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        """Return the frame that sends the state of an update in this dialect. Each dialect must override this method.

        The caller must write the frame immediately. If the subscription has an unanswered request for the state, the
        frame is the answer to that request, and the method marks the request as answered.
        """
        raise NotImplementedError

    def write_resumed(self) -> None:
        """Write queued frames, then unsent states, until all are written or the socket is not ready any more.

        The socket calls this method when it is ready again.
        """
        # The socket made progress. The next liveness check can still find the same number of unsent bytes.
        self._stalled_at_s = 0.0
        socket, queue = self.socket, self._queue
        while queue and socket.ready:
            socket.write(queue.popleft())
        if socket.ready:
            self._queue = None
            for subscription in self.subscriptions.values():
                if (update := subscription.unsent) is not None and socket.ready:
                    subscription.unsent = None
                    self.send_or_conflate(subscription, update)

    def warn_of_end(self, within_ms: int) -> None:
        """Do nothing. A dialect with a warning before the end of the credential overrides this method."""

    def end_with_credential(self, reason: EndReason) -> None:
        """Unsubscribe from all sessions and begin to close the connection, because its credential has ended."""
        self.close(*self.codes.credential_ends[reason])

    def apply_rights(self) -> None:
        """Check all subscriptions again, after the credential or the member rows of the client have changed."""
        apply_rights_to_subscriptions(self, self.hub.presence)

    def announce_shutdown(self, spread_s: float) -> None:
        """Do nothing. A dialect with an announcement of the shutdown overrides this method."""

    def close_for_shutdown(self) -> None:
        """Unsubscribe from all sessions and begin to close the connection, at shutdown of the instance."""
        self.close(self.codes.going_away, "going away")

    def close(self, code: int, reason: str) -> None:
        """Unsubscribe from all sessions, send the queued frames and begin to close the connection.

        The method does not wait for the end of the connection. If `code` is the dialect's code for a client that is too
        slow, the queued frames are dropped instead.
        """
        if not self.is_lost:
            WEBSOCKET_CLOSED.labels(code).inc()
        last_frames = tuple(self._queue or ()) if code != self.codes.too_slow else ()
        self._unsubscribe_all()
        self.socket.close(code, reason, last_frames)

    async def handshake_completed(self) -> None:
        """Do nothing. A dialect that sends messages after the handshake overrides this method.

        The endpoint calls this method one time, after the handshake.
        """

    # -- from the client ----------------------------------------------------------------------------------------------

    def text_received(self, text: str) -> None:
        """Handle a text message of the client. Each dialect must override this method."""
        raise NotImplementedError

    def bytes_received(self, data: bytes) -> None:
        """Handle a binary message of the client. Each dialect must override this method."""
        raise NotImplementedError

    def pong_received(self, payload: bytes) -> None:
        """Ignore a pong. A dialect that measures the round-trip time overrides this method."""

    def connection_lost(self) -> None:
        """Unsubscribe from all sessions and remove this connection from the hub.

        The socket calls this method after the connection has ended.
        """
        self._unsubscribe_all()
        self.hub.remove_connection(self)

    def allow_message(self) -> bool:
        """Count a received message for metrics and message rate limit. Return whether to handle the message.

        If the client exceeds the message rate limit, close the connection and return False.
        """
        WEBSOCKET_MESSAGES.inc()
        return self.allow_control_frame()

    def allow_control_frame(self) -> bool:
        """Count a received frame for the message rate limit, and return whether to handle the frame.

        If the client exceeds the message rate limit, close the connection and return False.
        """
        now_s = time.monotonic()
        refill = (now_s - self._allowance_at_s) * MESSAGES_A_SECOND
        self._allowance, self._allowance_at_s = min(MESSAGES_AT_ONCE, self._allowance + refill) - 1, now_s
        if self._allowance < 0:
            self.close(self.codes.too_many_messages, "too many messages")
        return self._allowance >= 0

    # -- from the hub -------------------------------------------------------------------------------------------------

    def notify_of_update(self, subscription: Subscription, update: SessionUpdate) -> None:
        """Send an update to the client, or keep the update for later. Each dialect must override this method.

        See `Watcher.notify_of_update`.
        """
        raise NotImplementedError

    def check_liveness(self, now_s: float) -> None:
        """Ping a quiet client, and close the connection of a silent or stuck client.

        `now_s` is `time.monotonic()`. The limits are in `RealtimeTimeLimits`. A client is quiet after `ping_after_s`
        seconds without data from it, and silent after `silent_after_s` seconds. A client is stuck if the number of its
        unsent bytes does not fall for `stuck_after_s` seconds.
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

    async def find_role(self, session_id: str) -> Role:
        """Return the role of the client on a session. The session is read only if its labels decide the role.

        Raises: SessionNotFound if the client cannot reach the session. RateLimitExceeded if the client has asked for
            too many sessions that it cannot reach. StoreUnavailable.
        """
        if not self.principal.depends_on_labels:
            return await self.hub.find_role(self.principal, session_id)
        client = self.principal.limited_client_id
        with self.hub.work.charge_if_due(client, UNKNOWN_SESSIONS) as charge:
            try:
                return await self.hub.find_role(self.principal, session_id)
            except SessionNotFound:
                charge.is_due = True
                raise

    def end_without_right(self, subscription: Subscription) -> None:
        """End a subscription that the client is not allowed to have any more. Each dialect must override this."""
        raise NotImplementedError

    def end_undecided(self, subscription: Subscription) -> None:
        """End a subscription whose rights cannot be decided now. Each dialect must override this method."""
        raise NotImplementedError

    def drop_subscription(self, session_id: str) -> None:
        """End the subscription to a session without a message to the client. Without a subscription, do nothing."""
        subscription = self.subscriptions.pop(session_id, None)
        if subscription is not None:
            self.hub.unsubscribe([subscription])

    def _unsubscribe_all(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._queue = None
            self.hub.unsubscribe(list(self.subscriptions.values()))
            self.subscriptions.clear()
