"""A Redis connection that the whole process shares: commands are sent together, and replies come in order.

The two round trips of the hot path use this connection. Compared with a pool of exclusive connections, it saves the
wait for a free connection and most system calls. It also avoids the worst fault of pools: after a cancellation, the
next caller can read the reply of the cancelled caller. A command is never repeated, because the connection cannot know
whether a command without a reply was executed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, ClassVar, Self, cast

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.backoff import Backoff
from synckairos.store.call_metrics import FAILED_CALLS, find_call_series
from synckairos.store.redis_errors import ErrorReply, is_about_invalid_data
from synckairos.store.sentinel import FailoverListener, check_role, find_primary, require_same_primary
from synckairos.telemetry.metric_types import HistogramSeries
from synckairos.telemetry.outages import SilentOutage, StoreOutage
from synckairos.urls.redis_url import RedisAddress, parse_redis_url

Argument = str | bytes | float

RedisCommand = tuple[Argument, ...]
"""A Redis command: its name and its arguments."""

MOVED = "the store has moved to another Redis"

RECONNECT_S = (0.02, 0.5)
"""Seconds between two attempts to connect: maximum of the first delay, and of all delays."""


class RedisPipe:
    """A pipelined Redis connection that reconnects by itself. Use it with `async with`."""

    outage: StoreOutage
    """The recorder of this connection's failures. Other users of the same Redis report their failures to it too."""

    is_cluster: ClassVar[bool] = False
    """Whether the store is a Redis Cluster. Each channel of pub/sub then belongs to the node of its slot."""

    _part = "commands"
    """The name under which the connection reports outages."""

    def __init__(self, url: str | RedisAddress, timeout_s: float, *, move_key: str | None = None) -> None:
        """Create a connection to the Redis at `url`, which is opened by `async with`.

        `timeout_s` is the maximum number of seconds for connecting, and for each reply. For a URL of a Redis Cluster,
        `make_pipe` of `store/connect.py` returns a `ClusterPipe`. `move_key` is the key of the hash whose field `moved`
        shows that the store has moved. All commands fail then.
        """
        self.moved = asyncio.Event()
        """Set when the store has moved to another Redis. `move_record` is then the value of the field."""
        self.move_record = b""
        self._move_key = move_key
        self.outage = SilentOutage()
        self.primary_changed = asyncio.Event()
        """Set when a sentinel announces a failover. The attribute is then a new event, for the next failover."""
        self.connections = 0
        """Number of connections that were opened until now."""
        self.reconnected = asyncio.Event()
        """Set when a connection was opened. The attribute is then a new event, for the next connection."""
        self._address = parse_redis_url(url) if isinstance(url, str) else url
        self._primary: tuple[str, int] | None = None
        """Host and port of the present connection, if sentinels named them."""
        self._timeout_s = timeout_s
        self._no_answer = f"no answer within {timeout_s:g} s"
        self._connection: RedisConnection | None = None
        self._connected = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._last_error = self._no_answer

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._keep_connected()))
        if self._address.sentinels is not None:
            listener = FailoverListener(self._address, self._timeout_s, self._follow_failover)
            self._tasks.append(asyncio.create_task(listener.run()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None:
            self._connection.close(RedisConnectionError("closed"))

    async def call(self, *command: Argument) -> Any:
        """Send one command and return its reply. Strings in the reply are bytes.

        If there is no connection, the call waits for a connection, at most for the timeout.

        Raises:
            redis.exceptions.ResponseError: the server replied with an error.
            redis.exceptions.ConnectionError, TimeoutError: no reply came. The command was possibly executed.
        """
        (reply,) = await self.call_many((command,))
        return reply

    async def call_many(self, commands: Iterable[RedisCommand]) -> list[Any]:
        """Send several commands together and return their replies in order.

        The commands are not a transaction. If a reply is an error, the first error is raised. The other commands were
        executed nevertheless.

        Raises: the errors of `call`.
        """
        commands = commands if isinstance(commands, list | tuple) else list(commands)
        replies = await self._send(commands)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ErrorReply):
                reply.keys = _keys_of(command)
                self._note_refused_write(reply)
                raise reply
        return replies

    async def call_many_independent(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """Send several commands together and return their replies in order, including error replies about invalid data.

        An error reply about invalid data is an item of the result. So one key with invalid data does not affect other
        keys. `raise_if_invalid_data` raises the error of such an item.

        Raises: the first other error. The other commands were executed nevertheless.
        """
        replies = await self._send(commands)
        for reply in replies:
            if isinstance(reply, ErrorReply) and not is_about_invalid_data(reply):
                raise reply
        return replies

    async def _send(self, commands: Sequence[RedisCommand]) -> list[Any]:
        connection = self._connection
        if connection is None:
            connection = await self._wait_connected()
        if not commands:
            return []
        return await connection.send([pack_command(command) for command in commands], find_call_series(commands[0]))

    async def call_on_each_primary(self, *command: Argument) -> list[Any]:
        """Send one command without a key to each primary of the store, and return the replies.

        Without a Cluster there is one primary.

        Raises: the errors of `call`.
        """
        return [await self.call(*command)]

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """Yield the keys of the store that match a glob-style pattern, in lists. A key can occur several times.

        `count` is the approximate number of keys that one round trip examines. A key that exists during the whole scan
        is found.

        Raises: the errors of `call`.
        """
        cursor: bytes = b"0"
        while True:
            cursor, found = await self.call("SCAN", cursor, "MATCH", pattern, "COUNT", count)
            yield found
            if int(cursor) == 0:
                return

    def send_unawaited(self, command: RedisCommand) -> None:
        """Queue one command, which is sent together with the next commands. Return immediately; the reply is ignored.

        Without a connection, the command is dropped.
        """
        if self._connection is not None:
            self._connection.enqueue([pack_command(command)], find_call_series(command))

    def leave_moved_store(self, record: bytes) -> None:
        """Close the connection for good, because the store has moved. `record` is the value of the field `moved`."""
        self.move_record = record
        self.moved.set()
        if self._connection is not None:
            self._connection.close(RedisConnectionError(MOVED))

    async def _wait_connected(self) -> "RedisConnection":
        if self.moved.is_set():
            raise RedisConnectionError(MOVED)
        try:
            async with asyncio.timeout(self._timeout_s):
                while self._connection is None:
                    await self._connected.wait()
                return self._connection
        except TimeoutError as cause:
            raise RedisConnectionError(f"not connected to Redis: {self._last_error}") from cause

    def _note_refused_write(self, reply: ErrorReply) -> None:
        """Close the connection if the server refuses writes because it is no primary any longer."""
        if self._primary is not None and self._connection is not None and str(reply).startswith("READONLY"):
            self._connection.close(RedisConnectionError("the server is no primary any longer"))

    def _follow_failover(self, host: str, port: int) -> None:
        """Close the connection to an earlier primary. `host` and `port` are those of the new one."""
        if (host, port) == self._primary:
            return
        self.primary_changed.set()
        self.primary_changed = asyncio.Event()
        if self._connection is not None:
            self._connection.close(RedisConnectionError("the primary has changed"))

    async def _keep_connected(self) -> None:
        backoff = Backoff(*RECONNECT_S)
        while True:
            if self.moved.is_set():
                return
            try:
                connection = await self._connect()
            except (OSError, TimeoutError, RedisError) as error:
                self._last_error = str(error) or self._no_answer
                self.outage.report_unreachable(self._part, self._last_error)
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self._connection = connection
            self._connected.set()
            self._note_connected()
            self.outage.report_reachable(self._part)
            await connection.lost.wait()
            self._connection = None
            self._connected.clear()
            self._note_lost()
            self.outage.report_unreachable(self._part, connection.reason)

    def _note_connected(self) -> None:
        """Count the new connection and inform the tasks that wait for it."""
        self.connections += 1
        self.reconnected.set()
        self.reconnected = asyncio.Event()

    def _note_lost(self) -> None:
        """Called when the connection was lost."""

    async def _connect(self) -> "RedisConnection":
        """Open a connection, authenticate, and check that the server answers."""
        connection = RedisConnection(self._timeout_s)
        try:
            await self._handshake(connection)
        except BaseException:
            connection.close(RedisConnectionError("closed"))
            raise
        return connection

    async def _handshake(self, connection: "RedisConnection") -> None:
        loop, address = asyncio.get_running_loop(), self._address
        if address.sentinels is not None:
            address = await find_primary(address, self._timeout_s)
            self._primary = (address.host, address.port)
        async with asyncio.timeout(self._timeout_s):
            if address.path is not None:
                await loop.create_unix_connection(lambda: connection, address.path)
            else:
                tls = None if address.tls is None else address.tls.build_context()
                await loop.create_connection(lambda: connection, address.host, address.port, ssl=tls)
            commands: list[RedisCommand] = []
            if address.credentials:
                commands.append(("AUTH", *address.credentials))
            if address.db:
                commands.append(("SELECT", address.db))
            if self._move_key is not None:
                commands.append(("HGET", self._move_key, "moved"))
            commands.append(("PING",) if self._primary is None else ("ROLE",))
            replies = await connection.send(
                [pack_command(command) for command in commands], find_call_series(commands[0])
            )
            if self._move_key is not None and isinstance(record := replies.pop(-2), bytes):
                # No command may reach a store that has moved: another instance can have newer versions.
                self.leave_moved_store(record)
                raise RedisConnectionError(MOVED)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        if self._address.sentinels is not None:
            check_role(replies[-1])
            await require_same_primary(self._address, address, self._timeout_s)


def raise_if_invalid_data(reply: Any) -> Any:
    """Return an item of the result of `call_many_independent` unchanged, if it is not an error.

    Raises: ValueError if the item is an error reply about invalid data.
    """
    if isinstance(reply, ErrorReply):
        raise ValueError(str(reply))
    return reply


def _keys_of(command: RedisCommand) -> tuple[str, ...]:
    if command[0] in ("EVAL", "EVALSHA"):
        return tuple(str(key) for key in command[3 : 3 + int(command[2])])
    return tuple(str(key) for key in command[1:2])


def parse_time_ms(reply: Sequence[Any]) -> int:
    """Return the reply to TIME (seconds and microseconds) as whole ms since the Unix epoch."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


def pack_command(command: RedisCommand) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its type stub allows only one argument
    return packed


class RedisConnection(asyncio.Protocol):
    """One connection, with the commands that have no reply yet, oldest first."""

    def __init__(self, timeout_s: float) -> None:
        self.lost = asyncio.Event()
        self.reason: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(replyError=ErrorReply)
        self._transport: asyncio.Transport | None = None
        self._unwritten: list[bytes] = []
        self._pending: deque[_PendingCommands] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, commands: list[bytes], durations: HistogramSeries) -> list[Any]:
        """Send packed commands and return their replies in order. An error reply is an item of the list, not raised.

        All commands of the same turn of the event loop are written together. `durations` gets the duration of the call.

        Raises: ConnectionError or TimeoutError of redis if the connection is lost or no reply came. The commands were
        possibly executed.
        """
        if self.lost.is_set():
            raise RedisConnectionError("connection to Redis lost")
        return await self.enqueue(commands, durations)

    def enqueue(self, commands: list[bytes], durations: HistogramSeries) -> "asyncio.Future[list[Any]]":
        """Queue one or more packed commands, and return the future of their replies.

        All commands of the same turn of the event loop are written together at its end.
        """
        deadline_s = self._loop.time() + self._timeout_s
        pending = _PendingCommands(len(commands), self._loop.create_future(), deadline_s, durations)
        if not self._unwritten:
            self._loop.call_soon(self._write)
        self._unwritten += commands
        self._pending.append(pending)
        if self._timer is None:
            self._timer = self._loop.call_at(pending.deadline_s, self._check_timeout)
        return pending.done

    async def wait_for_replies(self) -> None:
        """Wait until all commands that were sent before have replies, or the connection is lost."""
        if self._pending:
            await asyncio.wait([each.done for each in self._pending])

    def close(self, reason: Exception) -> None:
        """Close the connection and raise `reason` in all callers that wait for a reply."""
        if self.lost.is_set():
            return
        self.reason = reason
        self.lost.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        FAILED_CALLS.inc(len(self._pending))
        for pending in self._pending:
            if not pending.done.done():
                pending.done.set_exception(type(reason)(*reason.args))
                pending.done.exception()  # marks the exception as read, or asyncio logs a warning
        self._pending.clear()

    def _write(self) -> None:
        if self._transport is not None and self._unwritten and not self.lost.is_set():
            self._transport.write(b"".join(self._unwritten))
            self._unwritten.clear()

    def _check_timeout(self) -> None:
        """Close the connection if the oldest command has no reply within the timeout.

        The server is then gone or frozen. If the timeout is not reached yet, check again at the deadline.
        """
        self._timer = None
        if not self._pending:
            return
        oldest = self._pending[0]
        if self._loop.time() >= oldest.deadline_s:
            self.close(RedisTimeoutError("Redis does not answer"))
        else:
            self._timer = self._loop.call_at(oldest.deadline_s, self._check_timeout)

    # -- called by asyncio --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is no subclass
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        # A TLS server that refuses the client's certificate closes the connection with a reason.
        reason = f": {exc}" if exc is not None else ""
        self.close(RedisConnectionError(f"connection to Redis lost{reason}"))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        # The deadline of a call is its beginning plus the timeout.
        now_and_timeout_s = self._loop.time() + self._timeout_s
        try:
            while (reply := self._reader.gets()) is not False:
                pending = self._pending[0]
                pending.replies.append(reply)
                if len(pending.replies) == pending.expected:
                    self._pending.popleft()
                    pending.durations.observe(now_and_timeout_s - pending.deadline_s)
                    if not pending.done.done():
                        pending.done.set_result(pending.replies)
        except (hiredis.ProtocolError, IndexError):  # IndexError: a reply to no command
            self.close(RedisConnectionError("the server does not speak the protocol of Redis"))


class _PendingCommands:
    """Commands that one caller sent together, and the replies that have arrived."""

    __slots__ = ("deadline_s", "done", "durations", "expected", "replies")

    def __init__(
        self, expected: int, done: asyncio.Future[list[Any]], deadline_s: float, durations: HistogramSeries
    ) -> None:
        self.expected = expected
        self.done = done
        self.deadline_s = deadline_s
        self.durations = durations
        self.replies: list[Any] = []
