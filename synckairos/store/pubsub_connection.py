"""One connection that listens to channels, for as long as the process lives.

redis-py's own PubSub waits for ever on a frozen server and forgets a subscription that failed. So the wanted set is
kept here, a heartbeat of our own tells a silent connection from a quiet one, and whoever wanted a channel is told when
it was interrupted. Knows nothing of sessions.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from redis.asyncio import Connection, Redis
from redis.exceptions import RedisError

from synckairos.backoff import Backoff
from synckairos.store.connect import end_if_cancelled
from synckairos.store.server_time import ServerTime
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry import log
from synckairos.telemetry.metrics import FEED_RECONNECTS

HEARTBEAT_S = 1.0
PATIENCE_S = 3 * HEARTBEAT_S
"""Three missed heartbeats: the connection is lost."""

RECONNECT_S = (0.05, 1.0)
"""Seconds between two attempts to connect: limits of the first and of the longest delay."""

CHANNELS_AT_ONCE = 500
SLICE_S = 0.005
"""How long messages may be taken without a breath for the rest of the process."""

logger = log.get_logger(__name__)


class _Lost(Exception):
    """The connection stands, and nothing comes through it."""


Receive = Callable[[str, bytes], None]


class _Channel:
    __slots__ = ("confirmed", "interrupted", "receive")

    def __init__(self, receive: Receive) -> None:
        self.confirmed = asyncio.Event()
        self.interrupted = False
        self.receive = receive


class PubSubConnection:
    """Messages of the wanted channels, given to `receive`; `resumed` hears of each channel that was interrupted.

    Both are called with the channel's name, synchronously and in order, and must not raise.
    """

    def __init__(
        self,
        redis: Redis,
        pipe: RedisPipe,
        prefix: str,
        receive: Receive,
        resumed: Callable[[str], None],
    ) -> None:
        self.server_time = ServerTime()
        self.is_connected = False
        self._redis = redis
        self._pipe = pipe
        self._receive = receive
        self._resumed = resumed
        self._heartbeat = f"{prefix}:heartbeat:{secrets.token_hex(8)}"
        self._channels: dict[str, _Channel] = {}
        self._wishes: dict[str, bool] = {}
        self._wished = asyncio.Event()
        self._unconfirmed: Counter[str] = Counter()
        self._beat_at = 0.0

    def want(self, channel: str, receive: Receive | None = None) -> asyncio.Event:
        """Subscribe to a channel; the event is set while Redis has confirmed it.

        `receive` is told of its messages where that is somebody else than for all the others.
        """
        if (wanted := self._channels.get(channel)) is None:
            wanted = self._channels[channel] = _Channel(receive or self._receive)
            self._wish(channel, True)
        return wanted.confirmed

    def unwant(self, channel: str) -> None:
        """Unsubscribe; whoever still waits for the confirmation is let go, for it may never come."""
        if (unwanted := self._channels.pop(channel, None)) is not None:
            unwanted.confirmed.set()
            self._wish(channel, False)

    def _wish(self, channel: str, wanted: bool) -> None:
        self._wishes[channel] = wanted
        self._wished.set()

    async def run(self) -> None:
        """Listen until cancelled, through any trouble with Redis."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._stay_connected())

    async def _stay_connected(self) -> None:
        backoff = Backoff(*RECONNECT_S)
        while True:
            began = time.monotonic()
            try:
                await self._listen()
            except (RedisError, OSError, _Lost) as cause:
                FEED_RECONNECTS.inc()
                logger.warning("feed lost", cause=repr(cause))
            finally:
                self.is_connected = False
            end_if_cancelled()
            await asyncio.sleep(backoff.next_after_run_s(time.monotonic() - began))

    async def _listen(self) -> None:
        """Subscribe to all that is wanted, then take messages until the connection is lost."""
        connection: Connection = self._redis.connection_pool.make_connection()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await connection.connect()
            end_if_cancelled()
            for channel in self._channels.values():
                channel.interrupted |= channel.confirmed.is_set()
                channel.confirmed.clear()
            self._unconfirmed.clear()
            self._wishes = dict.fromkeys((self._heartbeat, *self._channels), True)
            self._wished.set()
            self._beat_at = time.monotonic()
            await _until_one_ends(self._speak(connection), self._hear(connection))
        finally:
            await connection.disconnect(nowait=True)

    async def _speak(self, connection: Connection) -> None:
        while True:
            await self._wished.wait()
            self._wished.clear()
            wishes, self._wishes = self._wishes, {}
            for command, wanted in (("UNSUBSCRIBE", False), ("SUBSCRIBE", True)):
                names = [channel for channel, wish in wishes.items() if wish is wanted]
                for at in range(0, len(names), CHANNELS_AT_ONCE):
                    few = names[at : at + CHANNELS_AT_ONCE]
                    self._unconfirmed.update(few if wanted else ())
                    await connection.send_command(command, *few)
                    end_if_cancelled()

    async def _hear(self, connection: Connection) -> None:
        breath_at = time.monotonic() + SLICE_S
        while True:
            patience_s = self._beat_at + PATIENCE_S - time.monotonic()
            if patience_s <= 0:
                raise _Lost(f"no heartbeat in {PATIENCE_S:.0f} s")
            reply: list[Any] | None = await connection.read_response(timeout=patience_s)
            match reply:
                case [b"message", name, payload]:
                    channel = name.decode()
                    if wanted := self._channels.get(channel):
                        wanted.receive(channel, payload)
                    elif channel == self._heartbeat:
                        self._beat_at = time.monotonic()
                case [b"subscribe", name, _]:
                    self._confirm(name.decode())
            if time.monotonic() > breath_at:
                await asyncio.sleep(0)
                breath_at = time.monotonic() + SLICE_S

    def _confirm(self, channel: str) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] > 0:
            return  # unwanted and wanted again in between: only the last confirmation counts
        del self._unconfirmed[channel]
        if channel == self._heartbeat:
            self.is_connected = True
        elif wanted := self._channels.get(channel):
            wanted.confirmed.set()
            if wanted.interrupted:
                wanted.interrupted = False
                self._resumed(channel)

    async def _beat(self) -> None:
        """Publish to ourselves, and learn what time it is on the way."""
        while True:
            sent_s = time.monotonic()
            try:
                _, (seconds, micros) = await self._pipe.call_many((("PUBLISH", self._heartbeat, b""), ("TIME",)))
                self.server_time.sample(sent_s, time.monotonic(), int(seconds) * 1000 + int(micros) / 1000)
            except (RedisError, OSError) as trouble:
                logger.debug("no heartbeat sent", cause=repr(trouble))
            await asyncio.sleep(max(0.05, sent_s + HEARTBEAT_S - time.monotonic()))


async def _until_one_ends(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs until one of them ends, and raise what it raised.

    A task group would do, had it not the habit (before Python 3.13) of leaving this task marked as cancelled.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, Exception):
            raise outcome
