"""The client of one server: keeps one connection and reconnects.

Watches and commands continue on the next connection.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from uuid import UUID, uuid4

from synckairos_client.clock_offset import Sample
from synckairos_client.connection_loop import ConnectionLoop
from synckairos_client.errors import ClientClosed, SyncKairosError
from synckairos_client.generated.backoff import Backoff
from synckairos_client.generated.rest_api import Api
from synckairos_client.pending_commands import Ack, PendingCommands, command_frame
from synckairos_client.replica import Message
from synckairos_client.rest import RestClient
from synckairos_client.server_time import ServerTime
from synckairos_client.server_url import server_url, socket_url
from synckairos_client.single_connection import Connection
from synckairos_client.sleep_detecting_clock import SuspendAwareClock
from synckairos_client.socket_interface import MessageSocket, Transport
from synckairos_client.subscriptions import Subscriptions
from synckairos_client.token_source import GetToken, TokenSource
from synckairos_client.transport_choice import FIRST_TRIAL_S, TransportChoice, WantedTransport
from synckairos_client.watched_session import Watch

OPEN_TIMEOUT_S = 10.0
"""Seconds: maximum duration of connecting and of the handshake together.

If many clients reconnect at the same time, a server can need most of this time. An attempt to connect to a port that
never answers lasts this long.
"""

MAX_PENDING_COMMANDS = 256
"""Maximum number of commands that were sent and have no answer. Calls for further commands wait.

The server accepts twice as many.
"""


class Client:
    """A client of one server. Use it with `async with`.

    The start of the block does not wait for a connection. If the connection breaks, the client reconnects by itself.
    The delay before an attempt is random (full jitter). Its maximum is 0.25 s at first, doubles after each failure, and
    never exceeds 10 s. A GOAWAY from the server sets the delay instead. All watches and commands continue on the next
    connection.

    Where WebSockets are blocked, the client uses an event stream after two failed WebSockets. From time to time it
    tries a WebSocket, and returns to WebSockets when the server answers over it.

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
        transport: WantedTransport = "auto",
        websocket_trial_s: float = FIRST_TRIAL_S,
        local_clock: SuspendAwareClock | None = None,
    ) -> None:
        """Create a client for the server at `url`, such as `ws://host:3000/ws` or `https://host/clock`.

        `participant_id` identifies this client to other watchers. With authentication it must be the participant of the
        token. `token` is the credential for servers with authentication. `get_token` is an async function that returns
        a token which is valid now. It is called before each connection, and before the token of an open connection
        expires. An exception of `get_token` counts as a failed attempt to connect. `headers` are sent with the
        handshake. `proxy` is the URL of a proxy, None for no proxy. `open_timeout_s` is the maximum number of seconds
        for connecting and the handshake. `transport` is `websocket` or `event-stream` for one of them alone, and `auto`
        for WebSockets with the event stream as fallback. `websocket_trial_s` is the number of seconds on the fallback
        until the client tries a WebSocket the first time. It doubles with each trial, up to 600 s. `local_clock`
        replaces the clock of this machine in tests.

        Raises: ValueError if `url` or `transport` is not valid, or if both `token` and `get_token` are given.
        """
        self.url = socket_url(url)
        self._participant_id = participant_id
        tokens = TokenSource(token, get_token)
        self._rest = RestClient(server_url(self.url), tokens, headers, proxy)
        self.call_operation = self._rest.call
        self.api = Api(self.call_operation)
        """The REST operations of the server. They need no `async with` block."""
        self._local_clock = local_clock or SuspendAwareClock.from_machine_clocks()
        self._server_time = ServerTime(self._local_clock, self._remeasure_time)
        self.clock = self._server_time.clock
        self._transports = TransportChoice(
            transport, self.url, tokens, dict(headers or {}), proxy, open_timeout_s, websocket_trial_s
        )
        backoff = Backoff()
        self._loop = ConnectionLoop(
            self._transports,
            tokens,
            backoff,
            make_connection=self._make_connection,
            on_open=self._begin_connection,
            has_work=lambda: bool(self._subscriptions or self._pending),
            on_failure=self._fail,
        )
        self._subscriptions = Subscriptions(self._loop.send, self._make_watch, backoff)
        self._pending = PendingCommands()
        self._command_slots = asyncio.Semaphore(MAX_PENDING_COMMANDS)
        self._failure: SyncKairosError | None = ClientClosed()

    async def __aenter__(self) -> Self:
        self._failure = None
        self._loop.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._loop.stop()
        self._rest.close()

    @property
    def is_connected(self) -> bool:
        """Return whether the client is connected now."""
        return self._loop.connection is not None

    @property
    def trouble(self) -> str | None:
        """Return the reason why there is no connection; None while connected and before the first attempt."""
        return self._loop.trouble

    @property
    def transport(self) -> Transport:
        """Return the transport of the present connection, or of the last one."""
        return self._transports.current

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
            await self._loop.changed.wait()
            self._raise_if_ended()
            if (connection := self._loop.connection) is not None:
                with suppress(OSError):
                    return await connection.measure_server_time()
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
        watch = self._subscriptions.acquire(session_id, only)
        self._loop.note_work()
        try:
            await watch.reach(0)
            while not self.is_time_known:
                self._raise_if_ended()
                await self._server_time.wait()
            self._raise_if_ended()
            yield watch
        finally:
            self._subscriptions.release(watch)

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
            self._loop.note_work()
            self._loop.send(frame)
            try:
                return await answer
            finally:
                self._pending.remove(command_id, answer)

    def _raise_if_ended(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _make_watch(self, session_id: str, only: str | None) -> Watch:
        return Watch(session_id, self.command, self._server_time, self._participant_id, only)

    def _remeasure_time(self) -> None:
        if self._loop.connection is not None:
            self._loop.connection.remeasure_if_slept()

    # -- connections --------------------------------------------------------------------------------------------------

    def _make_connection(self, socket: MessageSocket) -> Connection:
        return Connection(socket, self._local_clock, self._server_time.add_sample, self._receive)

    def _begin_connection(self) -> None:
        self._subscriptions.subscribe_all()
        for frame in self._pending.frames_to_resend():
            self._loop.send(frame)

    def _receive(self, message: Message) -> None:
        if message["type"] in ("ACK", "ERROR") and self._pending.resolve(message):
            return
        if message["type"] == "REAUTH":
            self._loop.renew_token()
        else:
            self._subscriptions.receive(message)

    def _fail(self, failure: SyncKairosError) -> None:
        """Make all waiting and later calls raise `failure`."""
        self._failure = failure
        self._subscriptions.fail_all(failure)
        self._pending.fail_all(failure)
        self._server_time.end_waits()
