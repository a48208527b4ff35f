"""Connection of the dialect `synckairos.v3`: many sessions for each socket, deltas, resuming, idempotent commands."""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from synckairos.clock.model import EventType
from synckairos.errors import InternalError, MalformedMessage, SessionNotFound, SyncKairosError, TooManySubscriptions
from synckairos.principal import Principal
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.connection import DialectCloseCodes, SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.presence import presence_identity
from synckairos.realtime.round_trip_time import RoundTripTime
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.socket_interface import Socket
from synckairos.realtime.watcher_interface import Subscription
from synckairos.telemetry import log
from synckairos.wire import v3_messages
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.input_warnings import command_warnings
from synckairos.wire.request_bodies import COMMAND_BODIES
from synckairos.wire.session_json import extract_updated_at_ms, may_compensate_lag

InboxRequest = v3_messages.Subscribe | v3_messages.Unsubscribe | v3_messages.Command
"""Requests that are handled in order. PING is answered at once."""

MAX_SUBSCRIPTIONS = 32
MAX_INBOX = 512
"""Requests in a client's inbox, at most."""

MAX_INBOX_CHARACTERS = 8 << 20
"""Characters of all requests in an inbox, at most: 256 times the largest metadata. Parsed, they take 20 times more."""

NO_SUCH_SESSION = (4504, "no such session")
DELETED = (4510, "deleted")
TOO_MANY_CONNECTIONS = (4520, "too many connections")

logger = log.get_logger(__name__)


class V3Connection(SocketConnection):
    """A client of the v3 dialect. Its requests are handled in order, PINGs at once."""

    __slots__ = ("_close_when_idle", "_commands", "_inbox", "_queue_empty", "_round_trip_time")

    codes = DialectCloseCodes(going_away=4000, too_slow=4001, silent=4002, too_many_messages=1008, too_big=4513)

    def __init__(self, hub: Hub, socket: Socket, principal: Principal, commands: CommandHandler) -> None:
        super().__init__(hub, socket, principal)
        self._commands = commands
        self._inbox: deque[tuple[InboxRequest, int]] | None = None
        """Requests that are not started, each with its characters. None while no task handles them."""
        self._close_when_idle: tuple[int, str] | None = None
        """Code and reason to close with when the inbox is empty, unless the client watches a session then."""
        self._queue_empty: asyncio.Future[None] | None = None
        """Done when no frame is queued for the client; None if no request waits for that."""
        self._round_trip_time: RoundTripTime | None = None

    # -- from the client ----------------------------------------------------------------------------------------------

    def text_received(self, text: str) -> None:
        received_ms = self.hub.now_ms()
        if not self.allow_message():
            return
        try:
            request = v3_messages.parse_v3_message(text)
        except SyncKairosError as refusal:
            self.send(v3_messages.error_frame(refusal, received_ms, v3_messages.read_message_id(text)))
            return
        size = len(text)
        if isinstance(request, v3_messages.Ping):
            self.send(v3_messages.pong_frame(request, received_ms, self.hub.now_ms(), self.hub.server_time.error_ms))
        elif self._inbox is None:
            self._inbox = deque(((request, size),))
            self.hub.spawn(self._handle_inbox())
        elif len(self._inbox) >= MAX_INBOX or sum(each for _, each in self._inbox) > MAX_INBOX_CHARACTERS - size:
            self.close(self.codes.too_many_messages, "too many messages")
        else:
            self._inbox.append((request, size))

    def bytes_received(self, data: bytes) -> None:
        if self.allow_message():
            refusal = MalformedMessage("Messages are text frames, this one is binary")
            self.send(v3_messages.error_frame(refusal, self.hub.now_ms()))

    async def _handle_inbox(self) -> None:
        """Handle the requests in order. The task ends when the inbox is empty, so that an idle client has no task."""
        inbox = self._inbox
        assert inbox is not None
        try:
            while inbox and not self.is_lost:
                request, _ = inbox.popleft()
                try:
                    await self._handle(request)
                except Exception as fault:  # the client must get an answer, also to its later requests
                    logger.error("a client's request failed", session_id=request.session_id, exc_info=fault)
                    if isinstance(request, v3_messages.Subscribe):
                        self._drop_subscription(request.session_id)
                    self.send(
                        v3_messages.error_frame(InternalError(), self.hub.now_ms(), request.id, request.session_id)
                    )
        finally:
            self._inbox = None
            close_with, self._close_when_idle = self._close_when_idle, None
            if close_with is not None:
                self._close_if_unused(close_with)

    async def _handle(self, request: InboxRequest) -> None:
        match request:
            case v3_messages.Command():
                await self._execute(request)
            case v3_messages.Subscribe():
                await self._wait_for_empty_queue()
                if not self.is_lost:
                    await self._subscribe(request)
            case v3_messages.Unsubscribe():
                self._unsubscribe(request)

    async def _wait_for_empty_queue(self) -> None:
        """Wait until no frame is queued.

        The missed versions of one session fit into the queue. Those of all sessions of a slow client would not.
        """
        while self.has_queued_frames:
            self._queue_empty = asyncio.get_running_loop().create_future()
            await self._queue_empty

    def _wake_if_queue_empty(self) -> None:
        if self._queue_empty is not None and not self.has_queued_frames:
            if not self._queue_empty.done():
                self._queue_empty.set_result(None)
            self._queue_empty = None

    def _close_if_unused(self, close_with: tuple[int, str]) -> None:
        """Close the connection if it watches no session, after all requests in the inbox are answered."""
        if self.subscriptions:
            return
        if self._inbox is None:
            self.close(*close_with)
        else:
            self._close_when_idle = close_with

    async def _execute(self, request: v3_messages.Command) -> None:
        try:
            answer = await self._commands.execute(self.principal, request, self._round_trip_ms_for(request))
        except SyncKairosError as refusal:
            # A saved refusal is the same at each replay, so its time is that of the state it was decided on.
            at_ms = self.hub.now_ms() if refusal.document is None else extract_updated_at_ms(refusal.document)
            self.send(v3_messages.error_frame(refusal, at_ms, request.id, request.session_id))
            return
        at_ms = extract_updated_at_ms(answer.snapshot.document)
        expired = answer.expired_participant_id
        receipt = answer.lag_receipt if request.command == "switch" else None
        warnings = list(command_warnings(COMMAND_BODIES[request.command], request.args))
        self.send(
            v3_messages.command_ack_frame(
                request.id, request.session_id, *answer.snapshot.position, at_ms, expired, receipt, warnings
            )
        )

    # -- lag ----------------------------------------------------------------------------------------------------------

    def pong_received(self, payload: bytes) -> None:
        if self._round_trip_time is not None:
            self._round_trip_time.receive_pong(payload, self.socket.last_received_s)

    def _measure_round_trip(self) -> None:
        """Ping the client to measure the round-trip time."""
        if self._round_trip_time is None:
            self._round_trip_time = RoundTripTime()
        if self.socket.ready and (ping := self._round_trip_time.start_ping(time.monotonic())):
            self.socket.write(ping)

    def _round_trip_ms_for(self, request: v3_messages.Command) -> int | None:
        """Return the measured round-trip time if a command claims lag, and measure again for the next claim."""
        if "lag_ms" not in request.args:
            return None
        self._measure_round_trip()
        return None if self._round_trip_time is None else self._round_trip_time.mean_ms

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def _subscribe(self, request: v3_messages.Subscribe) -> None:
        session_id = request.session_id
        self._drop_subscription(session_id)
        subscription = Subscription(self, session_id)
        try:
            identity = presence_identity(self.principal, request.participant_id)
            if len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
                raise TooManySubscriptions(MAX_SUBSCRIPTIONS)
            self.subscriptions[session_id] = subscription
            current = await self.hub.subscribe(subscription)
            if current is None:
                raise SessionNotFound(session_id)
            missed = await self._read_missed(request, current)
        except SyncKairosError as refusal:
            self._drop_subscription(session_id)
            self.send(v3_messages.error_frame(refusal, self.hub.now_ms(), request.id, session_id))
            if isinstance(refusal, SessionNotFound):
                self._close_if_unused(NO_SUCH_SESSION)
            return
        if self.is_lost:
            return
        if may_compensate_lag(current.snapshot.document):
            self._measure_round_trip()
        if missed is None or _count_frames(missed) > self.queue_space:
            subscription.sync_request = request
            self.send_update(subscription, current)
        else:
            self._send_missed(request, missed)
            subscription.sent = current
        self.hub.activate(subscription, current)
        self.hub.presence.add(subscription, identity, wants_frames=request.presence is not False)

    def _unsubscribe(self, request: v3_messages.Unsubscribe) -> None:
        self._drop_subscription(request.session_id)
        if request.id is not None:
            self.send(v3_messages.ack_frame(request.id, request.session_id, self.hub.now_ms()))

    def _drop_subscription(self, session_id: str) -> None:
        subscription = self.subscriptions.pop(session_id, None)
        if subscription is not None:
            self.hub.unsubscribe([subscription])

    async def _read_missed(self, request: v3_messages.Subscribe, current: SessionUpdate) -> list[SessionUpdate] | None:
        """Return the versions from the client's own to the current one; None if not all of them are kept.

        A kept version with another tag is not the client's: the store lost that one and issued its number again.
        """
        if request.version is None or request.epoch != current.epoch or request.version > current.version:
            return None
        missed = [current] if request.version == current.version else await self._read_kept(request.version, current)
        if [each.version for each in missed] != [*range(request.version, current.version + 1)]:
            return None
        return missed if request.tag in (None, missed[0].snapshot.tag) else None

    async def _read_kept(self, version: int, current: SessionUpdate) -> list[SessionUpdate]:
        """Return the kept versions from `version` to the current one, oldest first."""
        kept: list[SessionUpdate] = []
        for each in await self.hub.read_history(current):
            if each.epoch != current.epoch or each.version < version:
                break
            kept.insert(0, each)
        return kept

    def _send_missed(self, request: v3_messages.Subscribe, missed: list[SessionUpdate]) -> None:
        """Send the missed versions, each with its event. If no version was missed, send an empty delta."""
        members = {"recovered": True} if request.id is None else {"reply_to": request.id, "recovered": True}
        if len(missed) == 1:
            (update,) = missed
            version = update.version
            frame = v3_messages.state_delta_frame(
                *_key(update), version, version, update.server_time_ms, b"{}", **members
            )
            self.send(frame)
        for before, after in itertools.pairwise(missed):
            if after.is_event:
                self.send(_render_event(after))
            patch = after.patch_from(before)
            if patch is None:
                frame = v3_messages.state_frame(
                    "STATE_UPDATE",
                    *_key(after),
                    after.version,
                    after.server_time_ms,
                    after.snapshot.document,
                    **members,
                )
            else:
                frame = v3_messages.state_delta_frame(
                    *_key(after), before.version, after.version, after.server_time_ms, patch, **members
                )
            self.send(frame)

    # -- to the client ------------------------------------------------------------------------------------------------

    def notify(self, subscription: Subscription, update: SessionUpdate) -> None:
        sent, socket = subscription.sent, self.socket
        if sent is not None and not update.is_event and socket.ready:  # so no state is unsent, and no STATE_SYNC is due
            frame = update.deltas.get(sent.serial)
            if frame is not None:
                # Hot path: the whole cost of a watcher, except the first one with the same version sent before.
                socket.write(frame)
                subscription.sent = update
                return
        if update.is_event:
            self.send(update.frame("v3 event", _render_event))
        if not update.snapshot.deleted:
            self.send_update(subscription, update)
            return
        self._drop_subscription(subscription.session_id)
        self._close_if_unused(DELETED)

    def render_update(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        request, sent = subscription.sync_request, subscription.sent
        if isinstance(request, v3_messages.Subscribe):
            subscription.sync_request = None
            return _render_state_sync(request, update, self.hub.now_ms())
        # After the store lost versions, the version may go back. Send the full state: a delta would look outdated.
        if sent is None or sent.epoch != update.epoch or sent.version >= update.version:
            return update.frame("v3", _render_state_update)
        frame = update.deltas.get(sent.serial)
        if frame is None:
            frame = update.deltas[sent.serial] = _render_change(sent, update)
        return frame

    def write_resumed(self) -> None:
        super().write_resumed()
        self.hub.presence.send_owed(self)
        self._wake_if_queue_empty()

    def _unsubscribe_all(self) -> None:
        super()._unsubscribe_all()
        self._wake_if_queue_empty()

    def announce_shutdown(self, spread_s: float) -> None:
        # The client reconnects at a random instant; the latest one is after the last connection was closed.
        retry_after_ms = random.randint(0, 1_000 + int(spread_s * 1_000))  # noqa: S311 - jitter
        self.send(v3_messages.goaway_frame(retry_after_ms, self.hub.now_ms()))


def _count_frames(missed: Sequence[SessionUpdate]) -> int:
    """Return the number of frames from the first of these versions to the last."""
    return max(1, sum(1 + each.is_event for each in missed[1:]))


def _render_event(update: SessionUpdate) -> bytes:
    return v3_messages.event_frame(update.message or _deletion_message(update), update.server_time_ms)


def _deletion_message(update: SessionUpdate) -> FeedMessage:
    """Return the feed message of a deletion of which only the tombstone is known."""
    at_ms = extract_updated_at_ms(update.snapshot.document)
    return FeedMessage(update.session_id, update.snapshot, EventType.SESSION_DELETED, at_ms)


def _render_state_sync(request: v3_messages.Subscribe, update: SessionUpdate, now_ms: int) -> bytes:
    members: dict[str, Any] = {} if request.id is None else {"reply_to": request.id}
    if request.has_position:
        members["recovered"] = False
    return v3_messages.state_frame(
        "STATE_SYNC", *_key(update), update.version, now_ms, update.snapshot.document, **members
    )


def _render_state_update(update: SessionUpdate) -> bytes:
    return v3_messages.state_frame(
        "STATE_UPDATE", *_key(update), update.version, update.server_time_ms, update.snapshot.document
    )


def _render_change(sent: SessionUpdate, update: SessionUpdate) -> bytes:
    """Render the delta from the state sent before, or the full state if it is not larger.

    A full state that skips versions names the version sent before.
    """
    patch = update.patch_from(sent)
    if patch is not None:
        frame = v3_messages.state_delta_frame(*_key(update), sent.version, update.version, update.server_time_ms, patch)
        if len(frame) < len(update.snapshot.document):
            return frame
    if sent.version + 1 == update.version:
        return update.frame("v3", _render_state_update)
    at_ms = update.server_time_ms
    return v3_messages.state_frame(
        "STATE_UPDATE", *_key(update), update.version, at_ms, update.snapshot.document, from_version=sent.version
    )


def _key(update: SessionUpdate) -> tuple[str, str, str]:
    return update.session_id, update.epoch, update.snapshot.tag
