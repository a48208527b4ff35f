"""The loop that keeps a client connected: opens a connection, uses it until it ends, and opens the next one."""

import asyncio
from collections.abc import Callable

from synckairos_client import errors
from synckairos_client.errors import SyncKairosError, TokenUnavailable
from synckairos_client.generated.backoff import Backoff
from synckairos_client.single_connection import Connection
from synckairos_client.socket_interface import MessageSocket, OpeningRefused
from synckairos_client.token_renewal import TokenRenewal
from synckairos_client.token_source import TokenSource
from synckairos_client.transport_choice import TransportChoice


class ConnectionLoop:
    """Keeps one connection for a client. The client starts the loop with `start`.

    `backoff` gives the delays between attempts. `make_connection` returns a connection over an open transport.
    `on_open` is called with each open connection, before messages are received. `has_work` returns whether there are
    watches, or commands without an answer. `on_failure` is called if the client will not connect again, with the error
    that waiting calls must raise.
    """

    def __init__(
        self,
        transports: TransportChoice,
        tokens: TokenSource,
        backoff: Backoff,
        *,
        make_connection: Callable[[MessageSocket], Connection],
        on_open: Callable[[], None],
        has_work: Callable[[], bool],
        on_failure: Callable[[SyncKairosError], None],
    ) -> None:
        self.connection: Connection | None = None
        """The open connection, None without a connection."""
        self.trouble: str | None = None
        """The reason why there is no connection; None while connected and before the first attempt."""
        self.changed = asyncio.Event()
        """Set while there is a connection, and after the end of the loop."""
        self._transports = transports
        self._tokens = tokens
        self._renewal = TokenRenewal(tokens, self._note_token_trouble)
        self._backoff = backoff
        self._make_connection = make_connection
        self._on_open = on_open
        self._has_work = has_work
        self._on_failure = on_failure
        self._work_added = asyncio.Event()
        self._is_over = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to connect."""
        self._is_over = False
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Close the connection, and end the loop."""
        assert self._task is not None
        self._task.cancel()
        self._renewal.cancel()
        await asyncio.wait([self._task])

    def note_work(self) -> None:
        """Connect if there is no connection because there was no work."""
        self._work_added.set()

    def send(self, message: bytes) -> None:
        """Send a message on the open connection. Do nothing without a connection."""
        if self.connection is not None:
            self.connection.send(message)

    def renew_token(self) -> None:
        """Fetch a fresh token, and send it on the open connection. Do nothing without a connection."""
        if self.connection is not None:
            self._renewal.start(self.connection)

    async def _run(self) -> None:
        while True:
            self._work_added.clear()
            delay_s = await self._connect_once()
            if self._is_over:
                return
            if delay_s is not None:
                await asyncio.sleep(delay_s)
            elif not self._has_work():
                await self._work_added.wait()

    async def _connect_once(self) -> float | None:
        """Connect, and use the connection until it ends.

        Returns the seconds until the next attempt. None means that the next attempt begins when there is new work.
        """
        try:
            await self._tokens.fetch()
        except TokenUnavailable as fault:
            self.trouble = fault.message
            return self._backoff.next_s()
        try:
            async with self._transports.open() as socket:
                self._tokens.accepted()
                return await self._use(self._make_connection(socket))
        except OpeningRefused as refused:
            self.trouble = str(refused)
            self._fail(self._error_after(refused))
            return refused.retry_after_s + self._backoff.next_s()
        except OSError as fault:
            self._transports.note_failure(fault)
            self.trouble = str(fault) or type(fault).__name__
            return self._backoff.next_s()

    async def _use(self, connection: Connection) -> float | None:
        """Use an open connection until it ends. Returns the seconds until the next attempt, as `_connect_once`."""
        self.connection, self.trouble = connection, None
        self._on_open()
        self.changed.set()
        trials = asyncio.create_task(self._return_to_websockets(connection)) if self._transports.is_fallback else None
        try:
            code, reason = await connection.read_until_closed()
        finally:
            self.connection = None
            self.changed.clear()
            if trials is not None:
                trials.cancel()
        self.trouble = f"the connection ended: {code} {reason}".rstrip()
        self._transports.note_end(connection.has_received)
        if connection.has_answered:
            self._backoff.reset()
        self._fail(errors.error_for_close(code, reason))
        if code in errors.SESSION_CLOSE_CODES and not self._has_work():
            return None
        if connection.reconnect_at is not None:
            return max(0.0, connection.reconnect_at - asyncio.get_running_loop().time())
        return self._backoff.next_s()

    async def _return_to_websockets(self, connection: Connection) -> None:
        """Replace an event stream by a WebSocket without a delay, when WebSockets work."""
        await self._transports.wait_until_websockets_work()
        connection.reconnect_at = asyncio.get_running_loop().time()
        await connection.close("WebSockets work again")

    def _error_after(self, refused: OpeningRefused) -> SyncKairosError | None:
        if refused.status == 401:
            return self._tokens.refused()
        if refused.code == errors.TooManyConnections.code:
            return errors.TooManyConnections("The server already has the maximum number of connections")
        if self._transports.is_refusal_permanent(refused):
            return errors.error_for_http_status(refused.status)
        return None

    def _note_token_trouble(self, fault: TokenUnavailable) -> None:
        self.trouble = fault.message

    def _fail(self, failure: SyncKairosError | None) -> None:
        if failure is not None:
            self._is_over = True
            self._on_failure(failure)
            self.changed.set()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._fail(SyncKairosError(f"The client failed: {fault!r}"))
        elif not self._is_over:
            self._fail(errors.ClientClosed())
