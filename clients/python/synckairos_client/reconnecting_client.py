"""The client of one server: keeps one connection and reconnects.

Watches and commands continue on the next connection.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from uuid import UUID, uuid4

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from synckairos_client import errors
from synckairos_client.clock_offset import Sample
from synckairos_client.errors import SessionNotFound, SyncKairosError, TokenUnavailable
from synckairos_client.generated.backoff import Backoff
from synckairos_client.generated.clock.model import EventType
from synckairos_client.generated.rest_api import Api
from synckairos_client.pending_commands import Ack, PendingCommands, command_frame
from synckairos_client.replica import Message, ReplicaGap
from synckairos_client.rest import RestClient
from synckairos_client.server_time import ServerTime
from synckairos_client.server_url import server_url, socket_url
from synckairos_client.single_connection import Connection
from synckairos_client.sleep_detecting_clock import SuspendAwareClock
from synckairos_client.token_renewal import TokenRenewal
from synckairos_client.token_source import GetToken, TokenSource
from synckairos_client.watched_session import Watch

SUBPROTOCOL = Subprotocol("synckairos.v3")

MAX_RECEIVED_BYTES = 64 << 20
"""Bytes: maximum size of a message that the client accepts."""

OPEN_TIMEOUT_S = 10.0
"""Seconds: maximum duration of connecting and of the handshake together.

If many clients reconnect at the same time, a server can need most of this time. An attempt to connect to a port that
never answers lasts this long.
"""

MAX_PENDING_COMMANDS = 256
"""Maximum number of commands that were sent and have no answer. Calls for further commands wait.

The server accepts twice as many.
"""

RESUBSCRIBE_DELAY_S = 0.5
"""Seconds, in addition to the back-off, before a SUBSCRIBE is sent again after a temporary refusal."""


class Client:
    """A client of one server. Use it with `async with`.

    The start of the block does not wait for a connection. If the connection breaks, the client reconnects by itself.
    The delay before an attempt is random (full jitter). Its maximum is 0.25 s at first, doubles after each failure, and
    never exceeds 10 s. A GOAWAY from the server sets the delay instead. All watches and commands continue on the next
    connection.

    If the server refuses this client permanently (close code 4500 to 4999, or a handshake refused with a permanent HTTP
    status), the client does not reconnect. All waiting and later calls then raise an error: `Unauthorized`,
    `Forbidden`, `TooManyConnections`, `PayloadTooLarge` or `ConnectionEnded`.
    """

    def __init__(
        self,
        url: str,
        *,
        participant_id: str | None = None,
        token: str | None = None,
        get_token: GetToken | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        local_clock: SuspendAwareClock | None = None,
    ) -> None:
        """Create a client for the server at `url`, such as `ws://host:3000/ws` or `https://host/clock`.

        `participant_id` identifies this client to other watchers. With authentication it must be the participant of the
        token. `token` is the credential for servers with authentication. `get_token` is an async function that returns
        a token which is valid now. It is called before each connection, and before the token of an open connection
        expires. An exception of `get_token` counts as a failed attempt to connect. `headers` are sent with the
        handshake. `proxy` is the URL of a proxy, None for no proxy. `open_timeout_s` is the maximum number of seconds
        for connecting and the handshake. `local_clock` replaces the clock of this machine in tests.

        Raises: ValueError if `url` is not valid, or if both `token` and `get_token` are given.
        """
        self.url = socket_url(url)
        self.trouble: str | None = None
        """The reason why there is no connection; None while connected and before the first attempt."""
        self._participant_id = participant_id
        self._headers = dict(headers or {})
        self._tokens = TokenSource(token, get_token)
        self._rest = RestClient(server_url(self.url), self._tokens, headers, proxy)
        self.call_operation = self._rest.call
        self.api = Api(self.call_operation)
        """The REST operations of the server. They need no `async with` block."""
        self._renewal = TokenRenewal(self._tokens, self._note_trouble)
        self._proxy = proxy
        self._open_timeout_s = open_timeout_s
        self._local_clock = local_clock or SuspendAwareClock.from_machine_clocks()
        self._server_time = ServerTime(self._local_clock, self._remeasure_time)
        self.clock = self._server_time.clock
        self._backoff = Backoff()
        self._connection: Connection | None = None
        self._connected = asyncio.Event()
        self._work_added = asyncio.Event()
        self._watches: dict[str, Watch] = {}
        self._pending = PendingCommands()
        self._command_slots = asyncio.Semaphore(MAX_PENDING_COMMANDS)
        self._task: asyncio.Task[None] | None = None
        self._failure: SyncKairosError | None = errors.ClientClosed()

    async def __aenter__(self) -> Self:
        self._failure = None
        self._task = asyncio.create_task(self._stay_connected())
        self._task.add_done_callback(self._task_ended)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        self._renewal.cancel()
        self._rest.close()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def is_connected(self) -> bool:
        """Return whether the client is connected now."""
        return self._connection is not None

    @property
    def is_time_known(self) -> bool:
        """Return whether the server's time is known: it was measured, and this machine has not slept afterwards."""
        return self._server_time.is_known

    def now_ms(self) -> float:
        """Return the server's time, ms since the Unix epoch.

        Raises: ServerTimeUnknown before the first measurement. After this machine has slept, the error is raised until
        the next measurement.
        """
        return self._server_time.now_ms()

    @property
    def error_ms(self) -> float:
        """Return the maximum error of `now_ms` in either direction, ms.

        It is infinite if the server's time is not known.
        """
        return self._server_time.error_ms

    async def measure(self) -> Sample:
        """Measure the server's time now, and return the sample. Without a connection, wait for a connection.

        If the connection breaks or the server does not answer, measure on the next connection. The client also measures
        the time every 10 seconds by itself.

        Raises: SyncKairosError if the server ended the connection permanently.
        """
        while True:
            await self._connected.wait()
            if self._failure is not None:
                raise self._failure
            if self._connection is not None:
                with suppress(ConnectionClosed, OSError):
                    return await self._connection.measure_server_time()
            # The connection has ended, but its reader has not detected the end yet.
            await asyncio.sleep(0)

    # -- watches and commands -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watch(self, session_id: str, *, only: str | None = None) -> AsyncIterator[Watch]:
        """Watch a session, with `async with`. The block begins when the state and the server's time are known.

        With `only`, a participant id, the states have the row of this participant alone.

        The value of the block is a `Watch`. Several blocks for the same session share one watch, which ends with the
        last of these blocks.

        Raises:
            SessionNotFound: there is no such session.
            SubscriptionRefused: the server does not allow this client to watch the session.
            ValueError: `session_id` or `only` is not a UUID, or another block watches the session with another `only`.
            SyncKairosError: the server ended the connection permanently.
        """
        session_id = str(UUID(session_id))
        only = None if only is None else str(UUID(only))
        self._raise_if_ended()
        watch = self._watches.get(session_id)
        if watch is None:
            watch = Watch(session_id, self.command, self._server_time, self._participant_id, only)
            self._watches[session_id] = watch
            self._subscribe(watch)
        elif watch.only != only:
            raise ValueError("The client already watches this session with another value of only")
        watch.users += 1
        try:
            await watch.reach(0)
            while not self.is_time_known:
                self._raise_if_ended()
                await self._server_time.wait()
            self._raise_if_ended()
            yield watch
        finally:
            watch.users -= 1
            if not watch.users:
                self._unsubscribe(watch)

    async def command(
        self,
        session_id: str,
        verb: str,
        args: Mapping[str, Any] | None = None,
        *,
        expected_version: int | None = None,
        expected_turn: int | None = None,
        on_behalf_of: str | None = None,
        command_id: str | None = None,
    ) -> Ack:
        """Send a command and wait for its answer. Without a connection, wait for a connection.

        If the connection breaks, the client sends the command again with the same id, and the command takes effect only
        once. `verb` is the name of the command in REST, `args` are its arguments. `expected_version` and
        `expected_turn` are the version and the turn number that the session must have; None for any. `on_behalf_of` is
        the participant for whom a controller acts. `command_id` None makes a random id. After a cancellation of the
        call the outcome is unknown. Repeat the call with the same `command_id` to get the outcome.

        Raises:
            CommandRefused: the server refused the command, or could not decide it now. See `CommandRefused`.
            PayloadTooLarge: the message is larger than 64 KiB.
            ValueError: a command with this id is already pending.
            SyncKairosError: the server ended the connection permanently.
        """
        command_id = command_id or str(uuid4())
        frame = command_frame(
            command_id,
            session_id,
            verb,
            args or {},
            expected_version=expected_version,
            expected_turn=expected_turn,
            on_behalf_of=on_behalf_of,
        )
        async with self._command_slots:
            self._raise_if_ended()
            answer = self._pending.add(command_id, frame)
            self._work_added.set()
            if self._connection is not None:
                self._connection.send(frame)
            try:
                return await answer
            finally:
                self._pending.remove(command_id, answer)

    def _raise_if_ended(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _subscribe(self, watch: Watch) -> None:
        watch.is_subscribing = True
        self._work_added.set()
        if self._connection is not None:
            self._connection.send(orjson.dumps(watch.make_subscribe_message()))

    def _unsubscribe(self, watch: Watch) -> None:
        watch.end_iterations()
        if self._watches.get(watch.session_id) is watch:
            del self._watches[watch.session_id]
            if self._connection is not None:
                self._connection.send(orjson.dumps({"type": "UNSUBSCRIBE", "session_id": watch.session_id}))

    # -- connections --------------------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        while self._failure is None:
            self._work_added.clear()
            delay_s = await self._connect_once()
            if delay_s is not None:
                await asyncio.sleep(delay_s)
            elif not self._watches and not self._pending:
                await self._work_added.wait()

    async def _connect_once(self) -> float | None:
        """Connect, and use the connection until it ends.

        Returns the seconds until the next attempt. None means that the next attempt begins when there is new work.
        """
        try:
            token = await self._tokens.fetch()
        except TokenUnavailable as fault:
            self.trouble = fault.message
            return self._backoff.next_s()
        credential = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            async with connect(
                self.url, subprotocols=[SUBPROTOCOL], additional_headers=self._headers | credential, proxy=self._proxy,
                compression=None, ping_interval=None, max_size=MAX_RECEIVED_BYTES,
                open_timeout=self._open_timeout_s, close_timeout=1,
            ) as socket:  # fmt: skip
                if socket.subprotocol != SUBPROTOCOL:
                    self._fail(errors.ConnectionEnded(101, f"without {SUBPROTOCOL}"))
                    return None
                self._tokens.accepted()
                connection = Connection(socket, self._local_clock, self._server_time.add_sample, self._receive)
                return await self._run_connection(connection)
        except InvalidStatus as refused:
            status = refused.response.status_code
            failure = self._tokens.refused() if status == 401 else errors.error_for_http_status(status)
            if failure is not None:
                self._fail(failure)
            self.trouble = f"the server answers {status}"
            return errors.parse_retry_after_s(refused.response.headers.get("Retry-After")) + self._backoff.next_s()
        except (OSError, InvalidHandshake) as trouble:
            self.trouble = str(trouble) or type(trouble).__name__
            return self._backoff.next_s()

    async def _run_connection(self, connection: Connection) -> float | None:
        for watch in self._watches.values():
            watch.is_subscribing = True
            connection.send(orjson.dumps(watch.make_subscribe_message()))
        for frame in self._pending.frames_to_resend():
            connection.send(frame)
        self._connection, self.trouble = connection, None
        self._connected.set()
        try:
            code, reason = await connection.read_until_closed()
        finally:
            self._connection = None
            self._connected.clear()
        self.trouble = f"the connection ended: {code} {reason}".rstrip()
        if connection.has_answered:
            self._backoff.reset()
        if failure := errors.error_for_close(code, reason):
            self._fail(failure)
        if code in errors.SESSION_CLOSE_CODES and not self._watches and not self._pending:
            return None
        if connection.reconnect_at is not None:
            return max(0.0, connection.reconnect_at - asyncio.get_running_loop().time())
        return self._backoff.next_s()

    def _remeasure_time(self) -> None:
        if self._connection is not None:
            self._connection.remeasure_if_slept()

    def _receive(self, message: Message) -> None:
        if message["type"] in ("ACK", "ERROR") and self._pending.resolve(message):
            return
        if message["type"] == "REAUTH":
            if self._connection is not None:
                self._renewal.start(self._connection)
            return
        watch = self._watches.get(message.get("session_id", ""))
        if watch is None:
            return
        if message["type"] == "ERROR":
            self._receive_refusal(watch, message)
            return
        if message["type"] == "UNSUBSCRIBED":
            refusal = errors.SubscriptionRefused(message["code"], "The rights of this client do not reach the session")
            self._end_watch(watch, refusal)
            return
        try:
            watch.apply_message(message)
        except ReplicaGap:
            if not watch.is_subscribing:
                self._subscribe(watch)
        if message["type"] == "EVENT" and message["event_type"] == EventType.SESSION_DELETED:
            self._end_watch(watch, errors.SessionDeleted(watch.session_id))

    def _note_trouble(self, fault: TokenUnavailable) -> None:
        self.trouble = fault.message

    def _receive_refusal(self, watch: Watch, message: Message) -> None:
        """Handle the refusal of a SUBSCRIBE.

        After a temporary refusal subscribe again, after a permanent refusal end the watch.
        """
        code = message["code"]
        if code in errors.TEMPORARY_CODES:
            delay_s = RESUBSCRIBE_DELAY_S + self._backoff.next_s()
            asyncio.get_running_loop().call_later(delay_s, self._resubscribe, watch, self._connection)
        elif code == SessionNotFound.code:
            failure = errors.SessionDeleted if watch.has_state else SessionNotFound
            self._end_watch(watch, failure(watch.session_id))
        else:
            self._end_watch(watch, errors.SubscriptionRefused(code, message["message"], message.get("details")))

    def _resubscribe(self, watch: Watch, connection: Connection | None) -> None:
        if self._connection is connection and self._watches.get(watch.session_id) is watch:
            self._subscribe(watch)

    def _end_watch(self, watch: Watch, failure: SyncKairosError) -> None:
        del self._watches[watch.session_id]
        watch.end_iterations(failure)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._fail(SyncKairosError(f"The client failed: {fault!r}"))
        elif self._failure is None:
            self._fail(errors.ClientClosed())

    def _fail(self, failure: SyncKairosError) -> None:
        """Make all waiting calls raise `failure`."""
        self._failure = failure
        for watch in self._watches.values():
            watch.end_iterations(failure)
        self._watches.clear()
        self._pending.fail_all(failure)
        self._connected.set()
        self._server_time.end_waits()
