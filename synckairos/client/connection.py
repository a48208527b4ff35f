"""One WebSocket connection: sends at a limited rate, measures the server's time, and detects a silent server.

The connection knows no sessions. It passes on all messages except PONG and GOAWAY.
"""

import asyncio
import itertools
import time
from collections.abc import Callable

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from synckairos.client.clock_offset import Sample
from synckairos.client.replica import Message

INITIAL_PINGS = 4
"""PINGs that a new connection sends without a pause, for a good first sample."""

PING_INTERVAL_S = 10.0
"""Seconds between later PINGs."""

PONG_TIMEOUT_S = 15.0
"""Seconds without a PONG after which the server counts as silent."""

MAX_MESSAGES_PER_S = 150.0
"""Messages per second. The server allows more and closes connections that exceed its limit."""

MESSAGE_BURST = 300.0
"""Messages that may be sent at once. The server's limit is higher, see `MAX_MESSAGES_PER_S`."""


def local_ms() -> float:
    """Return the local monotonic clock, ms. Offsets refer to it."""
    return time.monotonic() * 1000


class Connection:
    """An open connection. `on_sample` gets each sample of the server's time, `on_message` each other message."""

    def __init__(
        self,
        socket: ClientConnection,
        on_sample: Callable[[Sample], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self.has_answered = False
        """Whether the server has answered a PING."""
        self.reconnect_at: float | None = None
        """Instant at which the client should return after a GOAWAY, by the clock of the event loop, s."""
        self._socket = socket
        self._on_sample = on_sample
        self._on_message = on_message
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._pings: dict[str, tuple[float, asyncio.Future[Sample]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, frame: bytes) -> None:
        """Queue a message. Messages are sent in order."""
        self._outgoing.put_nowait(frame)

    async def run(self) -> tuple[int, str]:
        """Read until the connection ends; return its close code, or 1006 if there was none, and the reason."""
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = {group.create_task(self._write()), group.create_task(self._measure_time())}
                try:
                    while True:
                        self._dispatch(orjson.loads(await self._socket.recv(decode=False)), group)
                except ConnectionClosed:
                    pass
                for task in self._tasks:
                    task.cancel()
        finally:
            for _, future in self._pings.values():
                if not future.done():
                    future.set_exception(ConnectionResetError("the connection ended"))
        return self._socket.close_code or 1006, self._socket.close_reason or ""

    async def ping(self) -> Sample:
        """Measure the server's time with one PING.

        Raises:
            TimeoutError: the server did not answer in time.
            ConnectionClosed, ConnectionResetError: the connection ended before the answer.
        """
        ping_id = f"ping-{next(self._numbers)}"
        future: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        sent_ms = local_ms()
        self._pings[ping_id] = sent_ms, future
        try:
            await self._socket.send(orjson.dumps({"type": "PING", "id": ping_id, "t0": sent_ms}), text=True)
            async with asyncio.timeout(PONG_TIMEOUT_S):
                return await future
        finally:
            del self._pings[ping_id]

    def _dispatch(self, message: Message, group: asyncio.TaskGroup) -> None:
        match message["type"]:
            case "PONG":
                self._receive_pong(message, local_ms())
            case "GOAWAY":
                self.reconnect_at = asyncio.get_running_loop().time() + message["retry_after_ms"] / 1000
                self._tasks.add(group.create_task(self._close_at(self.reconnect_at)))
            case _:
                self._on_message(message)

    def _receive_pong(self, message: Message, received_ms: float) -> None:
        self.has_answered = True
        ping = self._pings.get(message.get("reply_to", ""))
        if ping is None:
            return
        sent_ms, future = ping
        # None means that the server itself does not know the time yet.
        error_ms = message["error_ms"]
        server_error_ms = float("inf") if error_ms is None else error_ms
        sample = Sample.from_ping(sent_ms, message["t1"], message["t2"], received_ms, server_error_ms)
        self._on_sample(sample)
        if not future.done():
            future.set_result(sample)

    async def _write(self) -> None:
        allowance, counted_at = MESSAGE_BURST, time.monotonic()
        try:
            while True:
                frame = await self._outgoing.get()
                now = time.monotonic()
                allowance = min(MESSAGE_BURST, allowance + (now - counted_at) * MAX_MESSAGES_PER_S) - 1
                counted_at = now
                if allowance < 0:
                    await asyncio.sleep(-allowance / MAX_MESSAGES_PER_S)
                await self._socket.send(frame, text=True)
        except ConnectionClosed:
            pass  # The reader sees the end too. Unanswered messages are sent again on the next connection.

    async def _measure_time(self) -> None:
        try:
            for _ in range(INITIAL_PINGS):
                await self.ping()
            while True:
                await asyncio.sleep(PING_INTERVAL_S)
                await self.ping()
        except TimeoutError:
            await self._socket.close(1001, "silent")
        except ConnectionClosed:
            pass

    async def _close_at(self, at: float) -> None:
        """Close the connection after a GOAWAY, at the instant for the reconnection. The server may close it before."""
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        await self._socket.close(1001, "going away")
