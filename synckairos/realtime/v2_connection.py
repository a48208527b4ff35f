"""Connection of the v2 dialect: one session for each socket, full states, and only the messages of v2."""

from synckairos.errors import (
    InternalError,
    MalformedMessage,
    RateLimitExceeded,
    SessionNotFound,
    StoreUnavailable,
    SyncKairosError,
)
from synckairos.limits.work_limits import FREE_BYTES, UNKNOWN_SESSIONS
from synckairos.principal import Principal
from synckairos.realtime.connection import DialectCloseCodes, SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.presence import presence_identity
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.socket_interface import Socket
from synckairos.realtime.watcher_interface import Subscription
from synckairos.revocations.credential_ends import EndReason
from synckairos.telemetry import log
from synckairos.wire import v2_messages

NO_PARAMETER = (1008, "Missing sessionId parameter")
TOO_MANY_UNKNOWN = (1013, "Too many unknown sessions; try again")
NO_DIALECT = (1008, "Unknown subprotocol. Use synckairos.v3, or add a sessionId parameter for v2")
NO_CREDENTIAL = (1008, "Unauthorized")
NO_UUID = (1008, "Invalid sessionId format")
DELETED = (1000, "Session deleted")
FORBIDDEN = (1008, "Forbidden")
UNDECIDED = (1013, "The rights cannot be checked now; try again")

logger = log.get_logger(__name__)


class V2Connection(SocketConnection):
    """Connection of a v2 client. The client watches the one session that its URL names."""

    __slots__ = ("_session_id",)

    codes = DialectCloseCodes(
        going_away=1001,
        too_slow=1013,
        silent=1001,
        too_many_messages=1008,
        credential_ends={each: (1008, each.value) for each in EndReason},
    )

    def __init__(self, hub: Hub, socket: Socket, principal: Principal, session_id: str) -> None:
        super().__init__(hub, socket, principal)
        self._session_id = session_id

    async def handshake_completed(self) -> None:
        """Send CONNECTED, then the session's state.

        If the session does not exist, or if its state cannot be read now, the connection stays open. The connection
        sends the state when the session is created, or when the store is available again.
        """
        session_id = self._session_id
        self.send_or_queue(v2_messages.connected_frame(session_id, self.hub.now_ms()))
        try:
            role = await self.find_role(session_id)
        except SessionNotFound:
            return  # the connection stays open without a state, as for a session that does not exist
        except StoreUnavailable:
            self.close(*UNDECIDED)
            return
        subscription = self.subscriptions[session_id] = Subscription(self, session_id)
        current: SessionUpdate | None = None
        try:
            with self.hub.work.charge_if_due(self.principal.limited_client_id, UNKNOWN_SESSIONS) as charge:
                current = await self.hub.subscribe(subscription)
                charge.is_due = current is None
        except RateLimitExceeded:  # other handshakes have used the budget since the check of this handshake
            self.close(*TOO_MANY_UNKNOWN)
            return
        except SyncKairosError as fault:
            # The connection stays open. The client gets the state when the store is available again.
            logger.warning("a watcher subscribed without a state", session_id=session_id, cause=fault.code)
        except Exception as fault:  # the connection stays open, because later versions can still be sent
            logger.error("a watcher subscribed without a state", session_id=session_id, exc_info=fault)
        if self.is_lost:
            return
        if current is not None:
            subscription.limit_rows(current)
            subscription.sync_request = v2_messages.V2ClientMessage.RECONNECT
            self.send_or_conflate(subscription, current)
        self.hub.activate_subscription(subscription, current)
        self.hub.presence.add(subscription, presence_identity(self.principal, role), wants_frames=False)

    def end_without_right(self, subscription: Subscription) -> None:
        """Close the connection, because this dialect has no message for the end of a subscription."""
        self.close(*FORBIDDEN)

    def end_undecided(self, subscription: Subscription) -> None:
        """Close the connection with a code after which the client connects again."""
        self.close(*UNDECIDED)

    def render_update(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        if subscription.sync_request is not None:
            subscription.sync_request = None
            document = update.document_for(subscription.only)
            return v2_messages.state_sync_frame(update.session_id, self.hub.now_ms(), document)
        return _state_update_frame_for(update, subscription.only)

    def text_received(self, text: str) -> None:
        self._handle(text)

    def bytes_received(self, data: bytes) -> None:
        """Handle a binary message as if it was a text message, because some v2 clients send binary messages."""
        self._handle(data)

    def _handle(self, message: str | bytes) -> None:
        if not self.allow_message():
            return
        if len(message) > FREE_BYTES:
            self.send_or_queue(v2_messages.error_frame(MalformedMessage(f"A message has at most {FREE_BYTES:,} bytes")))
            return
        try:
            request = v2_messages.parse_v2_message(message)
        except MalformedMessage as refusal:
            self.send_or_queue(v2_messages.error_frame(refusal))
            return
        match request:
            case v2_messages.V2ClientMessage.PING:
                self.send_or_queue(v2_messages.pong_frame(self.hub.now_ms()))
            case v2_messages.V2ClientMessage.RECONNECT:
                self.hub.spawn_request_task(self._resync())

    async def _resync(self) -> None:
        """Answer a RECONNECT message with STATE_SYNC, or with an error if the state cannot be read."""
        if not self.subscriptions and not self.is_lost:
            self.send_or_queue(v2_messages.error_frame(SessionNotFound(self._session_id)))
        for session_id, subscription in tuple(self.subscriptions.items()):
            try:
                self.hub.credential_ends.require_valid(self.principal)
                current = await self.hub.read_current(subscription.session_name)
                if current is None:
                    raise SessionNotFound(session_id)
            except SyncKairosError as refusal:
                self.send_or_queue(v2_messages.error_frame(refusal))
                continue
            except Exception as fault:  # the client must get an answer
                logger.error("a client's request failed", session_id=session_id, exc_info=fault)
                self.send_or_queue(v2_messages.error_frame(InternalError()))
                continue
            if not self.is_lost:
                if not current.is_covered_by(subscription.notified):
                    subscription.notified = current  # the hub then ignores late feed messages of earlier versions
                subscription.sync_request = v2_messages.V2ClientMessage.RECONNECT
                self.send_or_conflate(subscription, current)

    def notify_of_update(self, subscription: Subscription, update: SessionUpdate) -> None:
        if update.snapshot.deleted:
            self.send_or_queue(update.cached_frame("v2 deleted", _render_session_deleted))
            self.close(*DELETED)
        elif self.socket.ready:  # a ready socket has no unsent state, and no RECONNECT waits for its STATE_SYNC
            self.socket.write(_state_update_frame_for(update, subscription.only))
        else:
            self.send_or_conflate(subscription, update)


def _state_update_frame_for(update: SessionUpdate, only: str | None) -> bytes:
    def render(update: SessionUpdate) -> bytes:
        return v2_messages.state_update_frame(update.session_id, update.server_time_ms, update.document_for(only))

    return update.cached_frame("v2" if only is None else ("v2", only), render)


def _render_session_deleted(update: SessionUpdate) -> bytes:
    return v2_messages.session_deleted_frame(update.session_id, update.server_time_ms)
