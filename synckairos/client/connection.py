"""One connection to a server: it writes at a pace the server takes, asks for the time, and notices silence.

Knows no sessions; what it doesn't understand itself it hands on.
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

PINGS_AT_FIRST = 4
PING_EVERY_S = 10.0
PONG_WITHIN_S = 15.0

MESSAGES_A_SECOND = 150.0
MESSAGES_AT_ONCE = 300.0
"""Below what a server allows, which cuts those who ask more."""


def local_ms() -> float:
    """Return the local clock that offsets refer to: monotonic, ms."""
    return time.monotonic() * 1000


class Connection:
    """An open connection. `learn` gets the samples of the server's time, `hear` all other messages."""

    def __init__(
        self, socket: ClientConnection, learn: Callable[[Sample], None], hear: Callable[[Message], None]
    ) -> None:
        self.has_answered = False
        self.come_back_at: float | None = None
        """When a GOAWAY wants this client back, by the loop's clock."""
        self._socket = socket
        self._learn = learn
        self._hear = hear
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._pings: dict[str, tuple[float, asyncio.Future[Sample]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, frame: bytes) -> None:
        """Send a message after those before it."""
        self._out.put_nowait(frame)

    async def run(self) -> tuple[int, str]:
        """Read until the connection ends; return its close code, 1006 where there was none, and the reason."""
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = {group.create_task(self._write()), group.create_task(self._keep_time())}
                try:
                    while True:
                        self._take(orjson.loads(await self._socket.recv(decode=False)), group)
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
        """Ask for the server's time and return what the answer tells.

        Raises: TimeoutError; ConnectionClosed or ConnectionResetError where the connection ends meanwhile.
        """
        name = f"ping-{next(self._numbers)}"
        future: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        sent_ms = local_ms()
        self._pings[name] = sent_ms, future
        try:
            await self._socket.send(orjson.dumps({"type": "PING", "id": name, "t0": sent_ms}), text=True)
            async with asyncio.timeout(PONG_WITHIN_S):
                return await future
        finally:
            del self._pings[name]

    def _take(self, message: Message, group: asyncio.TaskGroup) -> None:
        match message["type"]:
            case "PONG":
                self._pong(message, local_ms())
            case "GOAWAY":
                self.come_back_at = asyncio.get_running_loop().time() + message["retry_after_ms"] / 1000
                self._tasks.add(group.create_task(self._leave(self.come_back_at)))
            case _:
                self._hear(message)

    def _pong(self, message: Message, received_ms: float) -> None:
        self.has_answered = True
        asked = self._pings.get(message.get("reply_to", ""))
        if asked is None:
            return
        sent_ms, future = asked
        # None: the server itself doesn't know the time yet.
        error_ms = message["error_ms"]
        server_error_ms = float("inf") if error_ms is None else error_ms
        sample = Sample.of(sent_ms, message["t1"], message["t2"], received_ms, server_error_ms)
        self._learn(sample)
        if not future.done():
            future.set_result(sample)

    async def _write(self) -> None:
        allowance, counted_at = MESSAGES_AT_ONCE, time.monotonic()
        try:
            while True:
                frame = await self._out.get()
                now = time.monotonic()
                allowance = min(MESSAGES_AT_ONCE, allowance + (now - counted_at) * MESSAGES_A_SECOND) - 1
                counted_at = now
                if allowance < 0:
                    await asyncio.sleep(-allowance / MESSAGES_A_SECOND)
                await self._socket.send(frame, text=True)
        except ConnectionClosed:
            pass  # The reader sees it too, and what wasn't answered is asked again.

    async def _keep_time(self) -> None:
        try:
            for _ in range(PINGS_AT_FIRST):
                await self.ping()
            while True:
                await asyncio.sleep(PING_EVERY_S)
                await self.ping()
        except TimeoutError:
            await self._socket.close(1001, "silent")
        except ConnectionClosed:
            pass

    async def _leave(self, at: float) -> None:
        """Leave a server that goes away when it wants this client back elsewhere; it may close before."""
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        await self._socket.close(1001, "as told")
