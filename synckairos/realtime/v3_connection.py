"""`synckairos.v3`: many sessions a socket, deltas, resuming, commands that happen once."""

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
from synckairos.realtime.watcher import Subscription
from synckairos.telemetry import log
from synckairos.wire import v3_messages
from synckairos.wire.feed_message import FeedMessage
from synckairos.wire.session_json import extract_updated_at_ms, may_compensate_lag

Request = v3_messages.Subscribe | v3_messages.Unsubscribe | v3_messages.Command
"""What is done in order."""

MAX_SUBSCRIPTIONS = 32
MAX_WAITING = 512
"""Messages of one client that may wait for those before them."""

WAITING_CHARACTERS = 8 << 20
"""Of how much text they are at most, 256 times the largest metadata; as values it takes up to twenty times as much."""

NO_SUCH_SESSION = (4504, "no such session")
DELETED = (4510, "deleted")
TOO_MANY_CONNECTIONS = (4520, "too many connections")

logger = log.get_logger(__name__)


class V3Connection(SocketConnection):
    """A client of the third dialect. What it asks is done in the order it was asked, PINGs at once."""

    __slots__ = ("_commands", "_goodbye", "_inbox", "_room", "_round_trip")

    codes = DialectCloseCodes(going_away=4000, too_slow=4001, silent=4002, too_many_messages=1008, too_big=4513)

    def __init__(self, hub: Hub, socket: Socket, principal: Principal, commands: CommandHandler) -> None:
        super().__init__(hub, socket, principal)
        self._commands = commands
        self._inbox: deque[tuple[Request, int]] | None = None
        """What wasn't begun yet, each with how many characters it was; None where nobody works on it."""
        self._goodbye: tuple[int, str] | None = None
        """What to close with once all that was asked is answered, if nothing is watched then."""
        self._room: asyncio.Future[None] | None = None
        """Done when nothing waits for the client to read, while somebody wants to know."""
        self._round_trip: RoundTripTime | None = None

    # -- from the client ----------------------------------------------------------------------------------------------

    def received(self, text: str) -> None:
        received_ms = self.hub.now_ms()
        if not self.may_ask():
            return
        try:
            asked = v3_messages.parse_v3_message(text)
        except SyncKairosError as refusal:
            self.tell(v3_messages.error_frame(refusal, received_ms, v3_messages.read_message_id(text)))
            return
        if isinstance(asked, v3_messages.Ping):
            self.tell(v3_messages.pong_frame(asked, received_ms, self.hub.now_ms(), self.hub.server_time.error_ms))
        elif self._inbox is None:
            self._inbox = deque(((asked, len(text)),))
            self.hub.spawn(self._work())
        elif len(self._inbox) >= MAX_WAITING or sum(size for _, size in self._inbox) > WAITING_CHARACTERS - len(text):
            self.close(self.codes.too_many_messages, "too many messages")
        else:
            self._inbox.append((asked, len(text)))

    def received_bytes(self, data: bytes) -> None:
        if self.may_ask():
            refusal = MalformedMessage("Messages are text frames, this one is binary")
            self.tell(v3_messages.error_frame(refusal, self.hub.now_ms()))

    async def _work(self) -> None:
        """Do what was asked, one after the other; ends with the inbox, so that an idle client has no task."""
        inbox = self._inbox
        assert inbox is not None
        try:
            while inbox and not self.is_lost:
                asked, _ = inbox.popleft()
                try:
                    await self._do(asked)
                except Exception as fault:  # whoever asked is answered, and so is what comes after
                    logger.error("a client's request failed", session_id=asked.session_id, exc_info=fault)
                    if isinstance(asked, v3_messages.Subscribe):
                        self._drop(asked.session_id)
                    self.tell(v3_messages.error_frame(InternalError(), self.hub.now_ms(), asked.id, asked.session_id))
        finally:
            self._inbox = None
            goodbye, self._goodbye = self._goodbye, None
            if goodbye is not None:
                self._part(goodbye)

    async def _do(self, asked: Request) -> None:
        match asked:
            case v3_messages.Command():
                await self._carry_out(asked)
            case v3_messages.Subscribe():
                await self._have_room()
                if not self.is_lost:
                    await self._subscribe(asked)
            case v3_messages.Unsubscribe():
                self._unsubscribe(asked)

    async def _have_room(self) -> None:
        """Wait until nothing waits for the client to read: one session's missed versions fit into the queue, those of
        all its sessions would not, where it reads at a phone's pace.
        """
        while self.is_behind:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _make_room(self) -> None:
        if self._room is not None and not self.is_behind:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def _part(self, goodbye: tuple[int, str]) -> None:
        """Close where nothing is watched any more; what was asked is answered before."""
        if self.subscriptions:
            return
        if self._inbox is None:
            self.close(*goodbye)
        else:
            self._goodbye = goodbye

    async def _carry_out(self, asked: v3_messages.Command) -> None:
        try:
            answer = await self._commands.carry_out(self.principal, asked, self._lag_ms(asked))
        except SyncKairosError as refusal:
            # A decided refusal comes out the same each time, so its time is that of the state it was decided on.
            at_ms = self.hub.now_ms() if refusal.document is None else extract_updated_at_ms(refusal.document)
            self.tell(v3_messages.error_frame(refusal, at_ms, asked.id, asked.session_id))
            return
        snapshot = answer.snapshot
        at_ms = extract_updated_at_ms(snapshot.document)
        expired = answer.expired_participant_id
        receipt = answer.lag_receipt if asked.command == "switch" else None
        self.tell(
            v3_messages.command_ack_frame(asked.id, asked.session_id, *snapshot.position, at_ms, expired, receipt)
        )

    # -- lag ----------------------------------------------------------------------------------------------------------

    def ponged(self, payload: bytes) -> None:
        if self._round_trip is not None:
            self._round_trip.pong(payload, self.socket.heard_at)

    def _measure(self) -> None:
        """Ping a client that may claim lag."""
        if self._round_trip is None:
            self._round_trip = RoundTripTime()
        if self.socket.ready and (ping := self._round_trip.ping(time.monotonic())):
            self.socket.write(ping)

    def _lag_ms(self, asked: v3_messages.Command) -> int | None:
        """Return what is known of the lag that a command claims; who claims some is measured again for the next."""
        if "lag_ms" not in asked.args:
            return None
        self._measure()
        return None if self._round_trip is None else self._round_trip.lag_ms

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def _subscribe(self, asked: v3_messages.Subscribe) -> None:
        session_id = asked.session_id
        self._drop(session_id)
        subscription = Subscription(self, session_id)
        try:
            who = presence_identity(self.principal, asked.participant_id)
            if len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
                raise TooManySubscriptions(MAX_SUBSCRIPTIONS)
            self.subscriptions[session_id] = subscription
            found = await self.hub.join(subscription)
            if found is None:
                raise SessionNotFound(session_id)
            missed = await self._missed(asked, found)
        except SyncKairosError as refusal:
            self._drop(session_id)
            self.tell(v3_messages.error_frame(refusal, self.hub.now_ms(), asked.id, session_id))
            if isinstance(refusal, SessionNotFound):
                self._part(NO_SUCH_SESSION)
            return
        if self.is_lost:
            return
        if may_compensate_lag(found.snapshot.document):
            self._measure()
        if missed is None or _frames_of(missed) > self.room:
            subscription.asked = asked
            self.offer(subscription, found)
        else:
            self._recover(asked, missed)
            subscription.sent = found
        self.hub.settle(subscription, found)
        self.hub.presence.enter(subscription, who, wants=asked.presence is not False)

    def _unsubscribe(self, asked: v3_messages.Unsubscribe) -> None:
        self._drop(asked.session_id)
        if asked.id is not None:
            self.tell(v3_messages.ack_frame(asked.id, asked.session_id, self.hub.now_ms()))

    def _drop(self, session_id: str) -> None:
        subscription = self.subscriptions.pop(session_id, None)
        if subscription is not None:
            self.hub.leave([subscription])

    async def _missed(self, asked: v3_messages.Subscribe, found: SessionUpdate) -> list[SessionUpdate] | None:
        """Return the versions from the client's own to the one found; None where not all of them are kept.

        One of another tag isn't the client's own: the store lost that, and issued its number anew.
        """
        if asked.version is None or asked.epoch != found.epoch or asked.version > found.version:
            return None
        missed = [found] if asked.version == found.version else await self._kept(asked.version, found)
        if [each.version for each in missed] != [*range(asked.version, found.version + 1)]:
            return None
        return missed if asked.tag in (None, missed[0].snapshot.tag) else None

    async def _kept(self, version: int, found: SessionUpdate) -> list[SessionUpdate]:
        """Return what is kept from a version to the one found, oldest first."""
        kept: list[SessionUpdate] = []
        for each in await self.hub.history(found):
            if each.epoch != found.epoch or each.version < version:
                break
            kept.insert(0, each)
        return kept

    def _recover(self, asked: v3_messages.Subscribe, missed: list[SessionUpdate]) -> None:
        """Send what the client missed, each version with its event; nothing missed is an empty delta."""
        more = {"recovered": True} if asked.id is None else {"reply_to": asked.id, "recovered": True}
        if len(missed) == 1:
            (here,) = missed
            told = v3_messages.state_delta_frame(
                *_name(here), here.version, here.version, here.server_time_ms, b"{}", **more
            )
            self.tell(told)
        for before, after in itertools.pairwise(missed):
            if after.is_event:
                self.tell(_event(after))
            patch = after.patch_from(before)
            if patch is None:
                told = v3_messages.state_frame(
                    "STATE_UPDATE", *_name(after), after.version, after.server_time_ms, after.snapshot.document, **more
                )
            else:
                told = v3_messages.state_delta_frame(
                    *_name(after), before.version, after.version, after.server_time_ms, patch, **more
                )
            self.tell(told)

    # -- to the client ------------------------------------------------------------------------------------------------

    def take(self, subscription: Subscription, update: SessionUpdate) -> None:
        sent, socket = subscription.sent, self.socket
        if sent is not None and not update.is_event and socket.ready:  # and so nothing waits, no STATE_SYNC either
            frame = update.deltas.get(sent.serial)
            if frame is not None:
                # What a watcher costs, but for the first of those who were sent the same before.
                socket.write(frame)
                subscription.sent = update
                return
        if update.is_event:
            self.tell(update.frame("v3 event", _event))
        if not update.snapshot.deleted:
            self.offer(subscription, update)
            return
        self._drop(subscription.session_id)
        self._part(DELETED)

    def frame_of(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        asked, sent = subscription.asked, subscription.sent
        if isinstance(asked, v3_messages.Subscribe):
            subscription.asked = None
            return _state_sync(asked, update, self.hub.now_ms())
        # A store that lost versions goes back: the truth as a whole, for a patch looks like an old one.
        if sent is None or sent.epoch != update.epoch or sent.version >= update.version:
            return update.frame("v3", _state_update)
        frame = update.deltas.get(sent.serial)
        if frame is None:
            frame = update.deltas[sent.serial] = _smaller(sent, update)
        return frame

    def resumed(self) -> None:
        super().resumed()
        self.hub.presence.catch_up(self)
        self._make_room()

    def _forget(self) -> None:
        super()._forget()
        self._make_room()

    def going_away(self, spread_s: float) -> None:
        # All come back at another time, after the last of them was sent away.
        retry_after_ms = random.randint(0, 1_000 + int(spread_s * 1_000))  # noqa: S311 - jitter
        self.tell(v3_messages.goaway_frame(retry_after_ms, self.hub.now_ms()))


def _frames_of(missed: Sequence[SessionUpdate]) -> int:
    """Return how many frames lead from the first of these versions to the last."""
    return max(1, sum(1 + each.is_event for each in missed[1:]))


def _event(update: SessionUpdate) -> bytes:
    return v3_messages.event_frame(update.message or _deletion(update), update.server_time_ms)


def _deletion(update: SessionUpdate) -> FeedMessage:
    """Return what the message said of which only the tombstone is known."""
    at_ms = extract_updated_at_ms(update.snapshot.document)
    return FeedMessage(update.session_id, update.snapshot, EventType.SESSION_DELETED, at_ms)


def _state_sync(asked: v3_messages.Subscribe, update: SessionUpdate, now_ms: int) -> bytes:
    more: dict[str, Any] = {} if asked.id is None else {"reply_to": asked.id}
    if asked.has_position:
        more["recovered"] = False
    document = update.snapshot.document
    return v3_messages.state_frame("STATE_SYNC", *_name(update), update.version, now_ms, document, **more)


def _state_update(update: SessionUpdate) -> bytes:
    document = update.snapshot.document
    return v3_messages.state_frame("STATE_UPDATE", *_name(update), update.version, update.server_time_ms, document)


def _smaller(sent: SessionUpdate, update: SessionUpdate) -> bytes:
    """Return the delta from what was sent last, or the full state where that is no larger; a jump says from where."""
    patch = update.patch_from(sent)
    if patch is not None:
        told = v3_messages.state_delta_frame(*_name(update), sent.version, update.version, update.server_time_ms, patch)
        if len(told) < len(update.snapshot.document):
            return told
    if sent.version + 1 == update.version:
        return update.frame("v3", _state_update)
    at_ms = update.server_time_ms
    return v3_messages.state_frame(
        "STATE_UPDATE", *_name(update), update.version, at_ms, update.snapshot.document, from_version=sent.version
    )


def _name(update: SessionUpdate) -> tuple[str, str, str]:
    return update.session_id, update.epoch, update.snapshot.tag
