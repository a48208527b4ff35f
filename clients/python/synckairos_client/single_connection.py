"""One connection: sends at a limited rate, measures the server's time, and detects a silent server.

Its transport is a WebSocket or an event stream. The connection does not depend on sessions. It passes on all messages
except PONG and GOAWAY. After this machine has slept, it immediately measures the server's time. If the server then does
not answer within 2 s, for example because the network changed, the server counts as silent.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from contextlib import suppress

import orjson

from synckairos_client.clock_offset import Sample
from synckairos_client.replica import Message
from synckairos_client.sleep_detecting_clock import SuspendAwareClock
from synckairos_client.socket_interface import MessageSocket, SocketClosed

INITIAL_PINGS = 4
"""Number of PINGs that a new connection sends without a pause, for a good first sample."""

PING_INTERVAL_S = 10.0
"""Seconds between two PINGs after the initial PINGs."""

PONG_TIMEOUT_S = 15.0
"""Seconds without a PONG after which the server counts as silent."""

WAKE_PONG_TIMEOUT_S = 2.0
"""Seconds without a PONG after which the server counts as silent, if this machine has just slept."""

SLEEP_CHECK_INTERVAL_S = 1.0
"""Seconds between two checks whether this machine has slept. The check is also made before each reading of a clock."""

MAX_MESSAGES_PER_S = 150.0
"""Maximum number of messages per second. The server allows more, but closes connections that exceed its own limit."""

MESSAGE_BURST = 300.0
"""Maximum number of messages that can be sent without a delay.

The server's limit is higher, see `MAX_MESSAGES_PER_S`.
"""


class _MachineSlept(Exception):
    """This machine slept between a PING and its PONG, so the two messages cannot be used as a measurement."""


class Connection:
    """An open connection.

    `on_sample` is called with each sample of the server's time, `on_message` with each message except PONG and GOAWAY.
    """

    def __init__(
        self,
        socket: MessageSocket,
        local_clock: SuspendAwareClock,
        on_sample: Callable[[Sample], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self.has_answered = False
        """Whether the server has answered a PING."""
        self.has_received = False
        """Whether the server has sent a message, so that the transport works."""
        self.reconnect_at: float | None = None
        """Instant at which the client should return after a GOAWAY, by the clock of the event loop, s."""
        self._socket = socket
        self._local_clock = local_clock
        self._known_sleeps = local_clock.detect_sleeps()
        self._on_sample = on_sample
        self._on_message = on_message
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._pings: dict[str, tuple[int, float, asyncio.Future[Sample]]] = {}
        """Unanswered PINGs: the number of sleeps and the local instant at which each was sent, and its result."""
        self._has_slept = asyncio.Event()
        self._patience_s = PONG_TIMEOUT_S
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, frame: bytes) -> None:
        """Queue a message and return immediately. Messages are sent in the order of the calls.

        Messages that are unsent when the connection ends are lost.
        """
        self._outgoing.put_nowait(frame)

    async def read_until_closed(self) -> tuple[int, str]:
        """Receive messages until the connection ends, and call `on_sample` and `on_message` for them.

        Return the close code (1006 if there was none) and the reason.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = (self._write(), self._measure_time(), self._watch_for_sleep())
                self._tasks = {group.create_task(each) for each in tasks}
                try:
                    while True:
                        self._dispatch(orjson.loads(await self._socket.receive()), group)
                except SocketClosed:
                    pass
                for task in self._tasks:
                    task.cancel()
        finally:
            self._fail_pings(ConnectionResetError("the connection ended"))
        return self._socket.close_code, self._socket.close_reason

    async def close(self, reason: str) -> None:
        """End the connection, so that the client connects again."""
        await self._socket.close(1001, reason)

    async def measure_server_time(self) -> Sample:
        """Measure the server's time with one PING. If this machine sleeps in the meantime, measure again.

        Raises:
            TimeoutError: the server did not answer within `PONG_TIMEOUT_S`, or within 2 s after a sleep.
            SocketClosed, ConnectionResetError: the connection ended before the answer.
        """
        while True:
            with suppress(_MachineSlept):
                return await self._ping_once()

    async def _ping_once(self) -> Sample:
        ping_id = f"ping-{next(self._numbers)}"
        future: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        sleeps = self.remeasure_if_slept()
        sent_ms = self._local_clock.now_ms()
        self._pings[ping_id] = sleeps, sent_ms, future
        try:
            await self._socket.send(orjson.dumps({"type": "PING", "id": ping_id, "t0": sent_ms}))
            async with asyncio.timeout(self._patience_s):
                return await future
        finally:
            del self._pings[ping_id]

    def remeasure_if_slept(self) -> int:
        """Check whether this machine has slept since the previous check.

        If so, drop all running measurements and start new ones.

        Return the number of sleeps so far. The method is called often, so that a connection that broke during a sleep
        is detected soon.
        """
        sleeps = self._local_clock.detect_sleeps()
        if sleeps != self._known_sleeps:
            self._known_sleeps = sleeps
            self._patience_s = WAKE_PONG_TIMEOUT_S
            self._has_slept.set()
            self._fail_pings(_MachineSlept())
        return sleeps

    def _fail_pings(self, fault: Exception) -> None:
        for _, _, future in self._pings.values():
            if not future.done():
                future.set_exception(fault)

    def _dispatch(self, message: Message, group: asyncio.TaskGroup) -> None:
        self.has_received = True
        match message["type"]:
            case "PONG":
                self._receive_pong(message, self._local_clock.now_ms())
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
        sleeps, sent_ms, future = ping
        if self.remeasure_if_slept() != sleeps:
            return
        self._patience_s = PONG_TIMEOUT_S
        # None means that the server has not measured the time of Redis yet.
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
                await self._socket.send(frame)
        except SocketClosed:
            pass  # `read_until_closed` also detects the end. Unanswered messages are sent again on the next connection.

    async def _measure_time(self) -> None:
        try:
            while True:
                self._has_slept.clear()
                for _ in range(INITIAL_PINGS):
                    await self.measure_server_time()
                while not await self._wait_for_sleep(PING_INTERVAL_S):
                    await self.measure_server_time()
        except TimeoutError:
            await self.close("silent")
        except SocketClosed:
            pass

    async def _wait_for_sleep(self, seconds: float) -> bool:
        """Wait for `seconds`, or until this machine has slept. Return whether it has slept."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_slept.wait()
        return self._has_slept.is_set()

    async def _watch_for_sleep(self) -> None:
        while True:
            await asyncio.sleep(SLEEP_CHECK_INTERVAL_S)
            self.remeasure_if_slept()

    async def _close_at(self, at: float) -> None:
        """Close the connection after a GOAWAY at the instant of the reconnection. The server can close it before."""
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        await self.close("going away")
