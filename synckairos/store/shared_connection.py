"""One connection to Redis that everybody in the process shares: commands are written together, replies come in order.

The hot path's two trips go through here. Against a pool of exclusive connections it saves the waiting for one, most of
the system calls, and the worst trap: a caller that goes away can't leave a reply behind for the next one. It never
repeats a command: whether a lost one was carried out isn't known, and the caller says so.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any, Self, cast

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.backoff import Backoff

Argument = str | bytes | float
Command = tuple[Argument, ...]

RECONNECT_S = (0.02, 0.5)
"""Seconds between two attempts to connect: limits of the first and of the longest delay."""


class RedisPipe:
    """A pipelined connection that mends itself; open with `async with`."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Take the store's URL and how long a reply, or a connection, may take."""
        self._address: dict[str, Any] = dict(parse_url(url))
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._connected = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._why = "no answer yet"

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep_connected())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._connection is not None:
            self._connection.lose(RedisConnectionError("closed"))

    async def call(self, *command: Argument) -> Any:
        """Send one command and return its reply, bytes as bytes.

        Raises:
            redis.exceptions.ResponseError: the server's refusal.
            redis.exceptions.ConnectionError, TimeoutError: no reply came; it may have been carried out.
        """
        (reply,) = await self.call_many((command,))
        return reply

    async def call_many(self, commands: Iterable[Command]) -> list[Any]:
        """Send several commands at once and return their replies in order. Raises the first refusal among them."""
        connection = self._connection
        if connection is None:
            connection = await self._wait_connected()
        replies = await connection.send([_pack(command) for command in commands])
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    async def _wait_connected(self) -> "_Connection":
        try:
            async with asyncio.timeout(self._timeout_s):
                while self._connection is None:
                    await self._connected.wait()
                return self._connection
        except TimeoutError as cause:
            raise RedisConnectionError(f"not connected to Redis: {self._why}") from cause

    async def _keep_connected(self) -> None:
        backoff = Backoff(*RECONNECT_S)
        while True:
            try:
                connection = await self._connect()
            except (OSError, TimeoutError, RedisError) as fault:
                self._why = str(fault) or f"no answer within {self._timeout_s:g} s"
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self._connection = connection
            self._connected.set()
            await connection.lost.wait()
            self._connection = None
            self._connected.clear()

    async def _connect(self) -> "_Connection":
        """Connect, say who we are and see that the server answers."""
        connection = _Connection(self._timeout_s)
        try:
            await self._greet(connection)
        except BaseException:
            connection.lose(RedisConnectionError("closed"))
            raise
        return connection

    async def _greet(self, connection: "_Connection") -> None:
        loop, address = asyncio.get_running_loop(), self._address
        async with asyncio.timeout(self._timeout_s):
            if "path" in address:
                await loop.create_unix_connection(lambda: connection, address["path"])
            else:
                await loop.create_connection(
                    lambda: connection,
                    address.get("host", "localhost"),
                    address.get("port", 6379),
                    ssl=True if "SSL" in getattr(address.get("connection_class"), "__name__", "") else None,
                )
            greeting: list[Command] = []
            if address.get("password"):
                greeting.append(("AUTH", *filter(None, (address.get("username"),)), address["password"]))
            if address.get("db"):
                greeting.append(("SELECT", address["db"]))
            greeting.append(("PING",))
            replies = await connection.send([_pack(command) for command in greeting])
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply


def _pack(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub allows one argument only
    return packed


class _Connection(asyncio.Protocol):
    """One TCP connection: what was sent and not answered yet, oldest first."""

    def __init__(self, timeout_s: float) -> None:
        self.lost = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._transport: asyncio.Transport | None = None
        self._unwritten: list[bytes] = []
        self._waiting: deque[_Waiter] = deque()
        self._watch: asyncio.TimerHandle | None = None

    async def send(self, commands: list[bytes]) -> list[Any]:
        """Send packed commands with whatever else is sent in this turn of the loop; return their replies."""
        if self.lost.is_set():
            raise RedisConnectionError("connection to Redis lost")
        if not commands:
            return []
        waiter = _Waiter(len(commands), self._loop.create_future(), self._loop.time() + self._timeout_s)
        if not self._unwritten:
            self._loop.call_soon(self._write)
        self._unwritten += commands
        self._waiting.append(waiter)
        if self._watch is None:
            self._watch = self._loop.call_at(waiter.deadline_s, self._look)
        replies: list[Any] = await waiter.done
        return replies

    def lose(self, reason: Exception) -> None:
        """Give the connection up: whoever waits hears that no reply will come."""
        if self.lost.is_set():
            return
        self.lost.set()
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        for waiter in self._waiting:
            if not waiter.done.done():
                waiter.done.set_exception(type(reason)(*reason.args))
                waiter.done.exception()  # whoever waited may be gone; then nobody is to be warned about it
        self._waiting.clear()

    def _write(self) -> None:
        if self._transport is not None and self._unwritten and not self.lost.is_set():
            self._transport.write(b"".join(self._unwritten))
            self._unwritten.clear()

    def _look(self) -> None:
        """See whether the oldest command has waited too long: then the server is gone or frozen."""
        self._watch = None
        if not self._waiting:
            return
        oldest = self._waiting[0]
        if self._loop.time() >= oldest.deadline_s:
            self.lose(RedisTimeoutError("Redis doesn't answer"))
        else:
            self._watch = self._loop.call_at(oldest.deadline_s, self._look)

    # -- what asyncio calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's isn't one by inheritance
        self._write()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(RedisConnectionError("connection to Redis lost"))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            waiter = self._waiting[0]
            waiter.replies.append(reply)
            if len(waiter.replies) == waiter.expected:
                self._waiting.popleft()
                if not waiter.done.done():
                    waiter.done.set_result(waiter.replies)


class _Waiter:
    """Some commands sent together, and the replies that came so far."""

    __slots__ = ("deadline_s", "done", "expected", "replies")

    def __init__(self, expected: int, done: asyncio.Future[list[Any]], deadline_s: float) -> None:
        self.expected = expected
        self.done = done
        self.deadline_s = deadline_s
        self.replies: list[Any] = []
