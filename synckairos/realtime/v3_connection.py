"""Connection of the dialect `synckairos.v3`: many sessions for each socket, deltas, resumption, idempotent commands."""

import asyncio
import random
import time
from collections.abc import Callable

from synckairos.errors import (
    Forbidden,
    MalformedMessage,
    PayloadTooLarge,
    RateLimitExceeded,
    SessionNotFound,
    StoreUnavailable,
    SyncKairosError,
    TooManySubscriptions,
    Unauthorized,
)
from synckairos.limits.client_work_budgets import WorkBudget
from synckairos.limits.running_request import idle_wait
from synckairos.limits.work_limits import (
    FREE_BYTES,
    SUBSCRIPTIONS,
    UNKNOWN_SESSIONS,
)
from synckairos.principal import Principal
from synckairos.realtime.commands import CommandHandler
from synckairos.realtime.connection import DialectCloseCodes, SocketConnection
from synckairos.realtime.hub import Hub
from synckairos.realtime.presence import presence_identity
from synckairos.realtime.round_trip_time import RoundTripTime
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.sign_in import SignIns
from synckairos.realtime.socket_interface import Socket
from synckairos.realtime.v3_inbox import InboxRequest, V3Inbox
from synckairos.realtime.v3_large_messages import charge_large_message
from synckairos.realtime.v3_missed_updates import read_missed_updates
from synckairos.realtime.v3_refusals import TOO_LARGE, send_refusal
from synckairos.realtime.v3_sign_in import (
    NOT_AUTHENTICATED,
    answer_sign_in,
    send_authenticated,
)
from synckairos.realtime.v3_update_frames import (
    change_frame_for,
    count_missed_frames,
    event_frame_for,
    render_missed_frames,
    render_state_sync_frame,
    state_update_frame_for,
)
from synckairos.realtime.watcher_interface import Subscription
from synckairos.revocations.credential_ends import EndReason
from synckairos.service.exclusive_start import stopped_json
from synckairos.service.visible_rows import find_only_row
from synckairos.telemetry import log
from synckairos.wire import v3_messages
from synckairos.wire.command_bodies.table import COMMAND_BODIES
from synckairos.wire.document_scan import extract_updated_at_ms, may_use_lag_compensation
from synckairos.wire.input_warnings import command_args_warnings

MAX_SUBSCRIPTIONS = 32
"""Maximum number of sessions that one connection can watch."""

NO_SUCH_SESSION = (4504, "no such session")
DELETED = (4510, "deleted")
UNDECIDED_RIGHTS = "The rights to this session cannot be checked now; subscribe again shortly"

logger = log.get_logger(__name__)


class V3Connection(SocketConnection):
    """Connection of a v3 client. Answers PING immediately and handles all other requests in the order of arrival."""

    __slots__ = (
        *(
            "_allows_tenant",
            "_budget",
            "_close_when_idle",
            "_commands",
            "_inbox",
            "_queue_empty",
            "_round_trip_time",
            "_sign_in",
        ),
    )

    codes = DialectCloseCodes(
        going_away=4000,
        too_slow=4001,
        silent=4002,
        too_many_messages=1008,
        credential_ends={
            EndReason.EXPIRED: (4005, EndReason.EXPIRED.value),
            EndReason.REVOKED: (4501, EndReason.REVOKED.value),
            EndReason.TOO_OLD: (4000, EndReason.TOO_OLD.value),
            EndReason.DISCONNECTED: (4000, EndReason.DISCONNECTED.value),
            EndReason.TENANT_CLOSED: (4503, EndReason.TENANT_CLOSED.value),
        },
        too_big=4513,
    )

    def __init__(
        self,
        hub: Hub,
        socket: Socket,
        principal: Principal,
        commands: CommandHandler,
        sign_ins: SignIns,
        allows_tenant: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Create a connection. `allows_tenant` returns whether its origin is allowed for a tenant, after an AUTH."""
        super().__init__(hub, socket, principal)
        self._allows_tenant = allows_tenant
        self._commands = commands
        self._sign_in = sign_ins.begin(principal, lambda: self.close(*NOT_AUTHENTICATED))
        self._budget: WorkBudget | None = None
        """The budget of this connection. None before the first large message."""
        self._inbox: V3Inbox | None = None
        """The requests that are not started. None if no task handles requests."""
        self._close_when_idle: tuple[int, str] | None = None
        """Close code and reason for the moment when the inbox is empty.

        The connection is then closed if the client watches no session. None if no close is planned.
        """
        self._queue_empty: asyncio.Future[None] | None = None
        """Future that ends when no frame is queued for the client. None if no request waits for this moment."""
        self._round_trip_time: RoundTripTime | None = None

    async def handshake_completed(self) -> None:
        """Send AUTHENTICATED if the handshake had a credential."""
        if self.principal.life is not None:
            send_authenticated(self, None)

    # -- from the client ----------------------------------------------------------------------------------------------

    def text_received(self, text: str) -> None:
        received_ms = self.hub.now_ms()
        if not self.allow_message():
            return
        if len(text) > FREE_BYTES and not v3_messages.may_have_token(text):
            self._receive_large(text, received_ms)
            return
        try:
            request = v3_messages.parse_v3_message(text)
        except SyncKairosError as refusal:
            send_refusal(self, refusal, received_ms, v3_messages.extract_message_id(text))
            return
        if isinstance(request, v3_messages.Ping):
            self.send_or_queue(
                v3_messages.pong_frame(request, received_ms, self.hub.now_ms(), self.hub.server_time.error_ms)
            )
        elif isinstance(request, v3_messages.Auth | v3_messages.Refresh):
            self.hub.spawn_request_task(answer_sign_in(self, self._sign_in, request, self._allows_tenant))
        elif self._sign_in.is_waiting:
            send_refusal(self, Unauthorized("Send AUTH first"), received_ms, request.id, request.session_id)
        elif len(text) > FREE_BYTES:
            too_large = PayloadTooLarge(TOO_LARGE)
            send_refusal(self, too_large, received_ms, request.id)
        else:
            self._enqueue(request, len(text))

    def _receive_large(self, text: str, received_ms: int) -> None:
        """Charge a large message, and put it into the inbox unparsed. Drop a message that is refused."""
        if self._budget is None:
            self._budget = WorkBudget()
        is_signed_in = not self._sign_in.is_waiting
        if charge_large_message(self, self._budget, text, received_ms, is_signed_in=is_signed_in):
            self._enqueue(text, len(text))

    def _enqueue(self, request: InboxRequest | str, size: int) -> None:
        """Put a request with `size` characters into the inbox. If the inbox is full, close the connection."""
        inbox = self._inbox
        if inbox is None:
            inbox = self._inbox = V3Inbox(self, self._handle_request)
            inbox.add(request, size)
            self.hub.spawn_request_task(self._handle_inbox(inbox))
        elif not inbox.add(request, size):
            self.close(self.codes.too_many_messages, "too many messages")

    def bytes_received(self, data: bytes) -> None:
        if self.allow_message():
            refusal = MalformedMessage("Send messages as text frames. This message is binary")
            send_refusal(self, refusal, self.hub.now_ms())

    async def _handle_inbox(self, inbox: V3Inbox) -> None:
        """Handle the requests of the inbox until the inbox is empty, then remove the inbox.

        The task of this method then ends, so that an idle client has neither an inbox nor a task.
        """
        try:
            await inbox.handle_all()
        finally:
            self._inbox = None
            close_with, self._close_when_idle = self._close_when_idle, None
            if close_with is not None:
                self._close_if_unused(close_with)

    async def _handle_request(self, request: InboxRequest) -> None:
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
        """Wait until no frame is queued for the client, or the connection is closed.

        The queue can hold the missed versions of one session. It cannot hold the missed versions of all sessions of a
        slow client at the same time.
        """
        while self.has_queued_frames:
            self._queue_empty = asyncio.get_running_loop().create_future()
            with idle_wait():
                await self._queue_empty

    def _wake_if_queue_empty(self) -> None:
        if self._queue_empty is not None and not self.has_queued_frames:
            if not self._queue_empty.done():
                self._queue_empty.set_result(None)
            self._queue_empty = None

    def _close_if_unused(self, close_with: tuple[int, str]) -> None:
        """Close the connection with this code and reason if the client watches no session.

        If the connection still handles requests, postpone this check until it has handled all requests of its inbox.
        """
        if self.subscriptions:
            return
        if self._inbox is None:
            self.close(*close_with)
        else:
            self._close_when_idle = close_with

    async def _execute(self, request: v3_messages.Command) -> None:
        try:
            self.hub.credential_ends.require_valid(self.principal)
            answer = await self._commands.execute_command(self.principal, request, self._round_trip_ms_for(request))
        except SyncKairosError as refusal:
            # Each replay of a saved refusal must be identical. The instant is therefore the one of the saved document.
            at_ms = self.hub.now_ms() if refusal.document is None else extract_updated_at_ms(refusal.document)
            send_refusal(self, refusal, at_ms, request.id, request.session_id)
            return
        at_ms = extract_updated_at_ms(answer.snapshot.document)
        expired = answer.expired_participant_id
        receipt = answer.lag_receipt if request.command == "switch" else None
        warnings = list(command_args_warnings(COMMAND_BODIES[request.command], request.args))
        stopped = stopped_json(answer.stopped)
        position = (request.session_id, *answer.snapshot.epoch_and_version)
        self.send_or_queue(
            v3_messages.command_ack_frame(request.id, *position, at_ms, expired, receipt, warnings, stopped)
        )

    # -- lag ----------------------------------------------------------------------------------------------------------

    def pong_received(self, payload: bytes) -> None:
        if self._round_trip_time is not None:
            self._round_trip_time.receive_pong(payload, self.socket.last_received_s)

    def _measure_round_trip(self) -> None:
        """Send the client a ping that measures the round-trip time.

        Do nothing if such a ping is unanswered, or if the socket is not ready.
        """
        if self._round_trip_time is None:
            self._round_trip_time = RoundTripTime()
        if self.socket.ready and (ping := self._round_trip_time.make_ping_frame(time.monotonic())):
            self.socket.write(ping)

    def _round_trip_ms_for(self, request: v3_messages.Command) -> int | None:
        """Return the measured round-trip time in milliseconds if a command claims lag.

        Return None if the command claims no lag, or if no pong has arrived yet. A claim also starts the measurement
        for the next claim.
        """
        if "lag_ms" not in request.args:
            return None
        self._measure_round_trip()
        return None if self._round_trip_time is None else self._round_trip_time.mean_ms

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def _subscribe(self, request: v3_messages.Subscribe) -> None:
        session_id, principal = request.session_id, self.principal
        self.drop_subscription(session_id)
        subscription = Subscription(self, session_id)
        try:
            self.hub.credential_ends.require_valid(principal)
            identity = presence_identity(principal, await self.find_role(session_id), request.participant_id)
            if len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
                raise TooManySubscriptions(MAX_SUBSCRIPTIONS)
            self.hub.work.charge(self.principal.limited_client_id, SUBSCRIPTIONS)
            with self.hub.work.charge_if_due(self.principal.limited_client_id, UNKNOWN_SESSIONS) as charge:
                self.subscriptions[session_id] = subscription
                current = await self.hub.subscribe(subscription)
                charge.is_due = current is None
            if current is None:
                raise SessionNotFound(session_id)
            if current.role_of(self.principal) is None:
                raise SessionNotFound(session_id)  # the labels of the session changed during the reads
            find_only_row(self.principal, session_id, current.snapshot.document, request.only)
            subscription.requested_row = request.only
            subscription.limit_rows(current)
            missed = await read_missed_updates(self.hub, subscription.session_name, request, current)
            if not self.is_lost and self.subscriptions.get(session_id) is not subscription:
                raise SessionNotFound(session_id)  # a REFRESH took the right away during the reads
        except SyncKairosError as refusal:
            self.drop_subscription(session_id)
            if isinstance(refusal, RateLimitExceeded):
                raise  # the inbox answers later
            send_refusal(self, refusal, self.hub.now_ms(), request.id, session_id)
            if isinstance(refusal, SessionNotFound):
                self._close_if_unused(NO_SUCH_SESSION)
            return
        if self.is_lost:
            return
        if may_use_lag_compensation(current.snapshot.document):
            self._measure_round_trip()
        if missed is None or count_missed_frames(missed) > self.free_queue_slots:
            subscription.sync_request = request
            self.send_or_conflate(subscription, current)
        else:
            for frame in render_missed_frames(request, missed, subscription.only):
                self.send_or_queue(frame)
            subscription.sent = current
        self.hub.activate_subscription(subscription, current)
        if self.principal is not principal and (role := current.role_of(self.principal)) is not None:
            identity = presence_identity(self.principal, role)
        self.hub.presence.add(subscription, identity, wants_frames=request.presence is not False)

    def _unsubscribe(self, request: v3_messages.Unsubscribe) -> None:
        self.drop_subscription(request.session_id)
        if request.id is not None:
            self.send_or_queue(v3_messages.subscription_ack_frame(request.id, request.session_id, self.hub.now_ms()))

    def end_without_right(self, subscription: Subscription) -> None:
        """Unsubscribe from a session, and send UNSUBSCRIBED with the code FORBIDDEN."""
        session_id = subscription.session_id
        self.drop_subscription(session_id)
        self.send_or_queue(v3_messages.unsubscribed_frame(session_id, Forbidden.code, self.hub.now_ms()))

    def end_undecided(self, subscription: Subscription) -> None:
        """Unsubscribe from a session, and send an ERROR after which the client can subscribe again."""
        self.drop_subscription(subscription.session_id)
        send_refusal(self, StoreUnavailable(UNDECIDED_RIGHTS), self.hub.now_ms(), None, subscription.session_id)

    # -- to the client ------------------------------------------------------------------------------------------------

    def notify_of_update(self, subscription: Subscription, update: SessionUpdate) -> None:
        sent, socket = subscription.sent, self.socket
        # A ready socket has no unsent state, and no SUBSCRIBE waits for its STATE_SYNC.
        if sent is not None and not update.is_event and socket.ready and subscription.only is None:
            frame = update.deltas.get(sent.serial)
            if frame is not None:
                # Hot path for all watchers except the first watcher with this sent version, which renders the delta.
                socket.write(frame)
                subscription.sent = update
                return
        if update.is_event and (event := event_frame_for(update, subscription.only)) is not None:
            self.send_or_queue(event)
        if not update.snapshot.deleted:
            self.send_or_conflate(subscription, update)
            return
        self.drop_subscription(subscription.session_id)
        self._close_if_unused(DELETED)

    def render_update(self, subscription: Subscription, update: SessionUpdate) -> bytes:
        request, sent, only = subscription.sync_request, subscription.sent, subscription.only
        if isinstance(request, v3_messages.Subscribe):
            subscription.sync_request = None
            return render_state_sync_frame(request, update, self.hub.now_ms(), only)
        # After data loss the version can go back. Clients would ignore a delta to a lower version as outdated.
        if sent is None or sent.epoch != update.epoch or sent.version >= update.version:
            return state_update_frame_for(update, only)
        return change_frame_for(sent, update, only)

    def write_resumed(self) -> None:
        super().write_resumed()
        self.hub.presence.send_unsent_frames(self)
        self._wake_if_queue_empty()

    def _unsubscribe_all(self) -> None:
        super()._unsubscribe_all()
        self._sign_in.end_wait()
        self._wake_if_queue_empty()

    def warn_of_end(self, within_ms: int) -> None:
        self.send_or_queue(v3_messages.reauth_frame(within_ms, self.hub.now_ms()))

    def announce_shutdown(self, spread_s: float) -> None:
        # Each client reconnects after a random delay. The maximum is later than the close of all connections.
        retry_after_ms = random.randint(0, 1_000 + int(spread_s * 1_000))  # noqa: S311 - jitter
        self.send_or_queue(v3_messages.goaway_frame(retry_after_ms, self.hub.now_ms()))
