"""The first dialect, as v2 spoke it: one session a socket, full states, and nothing a v2 client doesn't know."""

from synckairos.errors import InternalError, MalformedMessage, SessionNotFound, SyncKairosError
from synckairos.principal import Principal
from synckairos.realtime.connection import DialectCloseCodes, SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.presence import presence_identity
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.socket_interface import Socket
from synckairos.realtime.watcher import Subscription
from synckairos.telemetry import log
from synckairos.wire import v2_messages

NO_PARAMETER = (1008, "Missing sessionId parameter")
NO_DIALECT = (1008, "Unknown subprotocol, synckairos.v3 is known; v2 wants a sessionId parameter")
NO_UUID = (1008, "Invalid sessionId format")
DELETED = (1000, "Session deleted")

logger = log.get_logger(__name__)


class V2Connection(SocketConnection):
    """A client that watches the one session it named in the URL."""

    __slots__ = ("_session_id",)

    codes = DialectCloseCodes(going_away=1001, too_slow=1013, silent=1001, too_many_messages=1008)

    def __init__(self, hub: Hub, socket: Socket, principal: Principal, session_id: str) -> None:
        super().__init__(hub, socket, principal)
        self._session_id = session_id

    async def open(self) -> None:
        """Greet, then send the session if there is one; if not, the client waits until it is created."""
        session_id = self._session_id
        self.tell(v2_messages.connected_frame(session_id, self.hub.now_ms()))
        subscription = self.subscriptions[session_id] = Subscription(self, session_id)
        found: SessionUpdate | None = None
        try:
            found = await self.hub.join(subscription)
        except SyncKairosError as trouble:
            # The state comes as soon as the store is back; meanwhile the client has its connection.
            logger.warning("a watcher joined without a state", session_id=session_id, cause=trouble.code)
        except Exception as fault:  # what comes later is for it, too
            logger.error("a watcher joined without a state", session_id=session_id, exc_info=fault)
        if self.is_lost:
            return
        if found is not None:
            subscription.asked = v2_messages.V2ClientMessage.RECONNECT
            self.offer(subscription, found)
        self.hub.settle(subscription, found)
        self.hub.presence.enter(subscription, presence_identity(self.principal), wants=False)

    def frame_of(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        if subscription.asked is not None:
            subscription.asked = None
            return v2_messages.state_sync_frame(update.session_id, self.hub.now_ms(), update.snapshot.document)
        return update.frame("v2", _state_update)

    def received(self, text: str) -> None:
        if not self.may_ask():
            return
        try:
            asked = v2_messages.parse_v2_message(text)
        except MalformedMessage as refusal:
            self.tell(v2_messages.error_frame(refusal))
            return
        match asked:
            case v2_messages.V2ClientMessage.PING:
                self.tell(v2_messages.pong_frame(self.hub.now_ms()))
            case v2_messages.V2ClientMessage.RECONNECT:
                self.hub.spawn(self._sync())

    def received_bytes(self, data: bytes) -> None:
        if self.may_ask():
            self.tell(v2_messages.error_frame(MalformedMessage("Messages are text frames, this one is binary")))

    async def _sync(self) -> None:
        for session_id, subscription in tuple(self.subscriptions.items()):
            try:
                found = await self.hub.read(session_id)
                if found is None:
                    raise SessionNotFound(session_id)
            except SyncKairosError as refusal:
                self.tell(v2_messages.error_frame(refusal))
                continue
            except Exception as fault:  # whoever asked is answered
                logger.error("a client's request failed", session_id=session_id, exc_info=fault)
                self.tell(v2_messages.error_frame(InternalError()))
                continue
            if not self.is_lost:
                if not found.is_covered_by(subscription.heard):
                    subscription.heard = found  # what the feed still brings from before it is no news
                subscription.asked = v2_messages.V2ClientMessage.RECONNECT
                self.offer(subscription, found)

    def take(self, subscription: Subscription, update: SessionUpdate) -> None:
        if update.snapshot.deleted:
            self.tell(update.frame("v2 deleted", _session_deleted))
            self.close(*DELETED)
        elif self.socket.ready:  # and so nothing waits, no STATE_SYNC either
            self.socket.write(update.frame("v2", _state_update))
        else:
            self.offer(subscription, update)


def _state_update(update: SessionUpdate) -> bytes:
    return v2_messages.state_update_frame(update.session_id, update.server_time_ms, update.snapshot.document)


def _session_deleted(update: SessionUpdate) -> bytes:
    return v2_messages.session_deleted_frame(update.session_id, update.server_time_ms)
