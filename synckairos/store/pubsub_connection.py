"""The pub/sub connection of the process: subscribes to channels, delivers messages and reconnects by itself.

PubSub of redis-py waits forever if the server is frozen, and loses a subscription that failed. So this module keeps the
set of wanted channels. It sends its own heartbeats, which distinguish a dead connection from a connection without
messages. It reports each channel that was interrupted. It does not depend on sessions.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from redis.asyncio import Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from synckairos.backoff import Backoff
from synckairos.errors import InvalidStoredData
from synckairos.store.redis_errors import reraise_swallowed_cancellation
from synckairos.store.redis_time_estimate import ServerTime
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry import log
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.telemetry.metrics import FEED_RECONNECTS

HEARTBEAT_S = 1.0
"""Seconds between two heartbeats."""

SILENCE_LIMIT_S = 3 * HEARTBEAT_S
"""Seconds without a heartbeat after which the connection counts as lost."""

RECONNECT_S = (0.05, 1.0)
"""Seconds between two attempts to connect: maximum of the first delay, and of all delays."""

CHANNELS_PER_COMMAND = 500
SLICE_S = 0.005
"""Seconds: maximum duration of handling messages before the event loop runs other tasks."""

logger = log.get_logger(__name__)


class ConnectionSilent(Exception):
    """The connection is open, but it delivers no message."""


Receive = Callable[[str, bytes], None]
"""A function that receives the name of a channel and a message."""


class WantedChannel:
    """A channel that the process wants to receive, the state of its subscription, and the receiver of its messages."""

    __slots__ = ("confirmed", "interrupted", "receive")

    def __init__(self, receive: Receive) -> None:
        self.confirmed = asyncio.Event()
        self.interrupted = False
        self.receive = receive


class PubSubConnection:
    """Delivers the messages of wanted channels, and reports channels whose subscription was interrupted.

    Each message is passed to `receive` with the name of its channel. When a channel is subscribed again after an
    interruption, `resumed` is called with the name of the channel. Both functions are called synchronously and in
    order. If `receive` raises an exception, the message is dropped.
    """

    _part = "feed"
    """The name under which the connection reports outages."""

    _subscribe_command, _unsubscribe_command = "SUBSCRIBE", "UNSUBSCRIBE"
    _message_kind, _subscribed_kind, _unsubscribed_kind = b"message", b"subscribe", b"unsubscribe"

    def __init__(
        self,
        redis: Redis | None,
        pipe: RedisPipe,
        prefix: str,
        receive: Receive,
        resumed: Callable[[str], None],
    ) -> None:
        """Create a connection for the store of `pipe`. `redis` opens it; None if a subclass does that."""
        self.server_time = ServerTime()
        self._is_connected = False
        self._redis = redis
        self._pipe = pipe
        self._receive = receive
        self._resumed = resumed
        self._heartbeat_channel = f"{prefix}:heartbeat:{secrets.token_hex(8)}"
        self._channels: dict[str, WantedChannel] = {}
        self._unsent: dict[str, bool] = {}
        """Channels to subscribe (True) or to unsubscribe (False). No command was sent for them yet."""
        self._has_unsent = asyncio.Event()
        self._unconfirmed: Counter[str] = Counter()
        self._heartbeat_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Return whether the connection is open and receives its own heartbeats."""
        return self._is_connected

    def subscribe(self, channel: str, receive: Receive | None = None) -> asyncio.Event:
        """Request the subscription to a channel, and return immediately.

        The returned event is set while Redis has confirmed the subscription. `receive` gets the messages of this
        channel instead of the `receive` of the connection. If the channel is already wanted, `receive` is ignored and
        the same event is returned.
        """
        if (found := self._channels.get(channel)) is None:
            found = self._channels[channel] = WantedChannel(receive or self._receive)
            self._change(channel, True)
        return found.confirmed

    def unsubscribe(self, channel: str) -> None:
        """Request the end of a subscription, and return immediately.

        The event from `subscribe` is set, so that callers that wait for the event continue. No confirmation will come.
        """
        if (removed := self._channels.pop(channel, None)) is not None:
            removed.confirmed.set()
            self._change(channel, False)

    def _change(self, channel: str, is_wanted: bool) -> None:
        self._unsent[channel] = is_wanted
        self._has_unsent.set()

    async def run(self) -> None:
        """Receive messages until cancelled. After each failure, reconnect."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_heartbeats())
            group.create_task(self._stay_connected())

    async def _stay_connected(self) -> None:
        backoff = Backoff(*RECONNECT_S)
        while True:
            began = time.monotonic()
            try:
                await self._run_connection()
            except (RedisError, OSError, ConnectionSilent) as cause:
                FEED_RECONNECTS.inc()
                self._pipe.outage.report_unreachable(self._part, cause)
            finally:
                self._is_connected = False
            reraise_swallowed_cancellation()
            await asyncio.sleep(backoff.delay_after_run_s(time.monotonic() - began))

    async def _run_connection(self) -> None:
        """Subscribe to all wanted channels, then receive messages until the connection is lost."""
        primary_changed = self._pipe.primary_changed
        connection = self._make_connection()
        try:
            async with asyncio.timeout(SILENCE_LIMIT_S):
                await connection.connect()
            reraise_swallowed_cancellation()
            for channel in self._channels.values():
                channel.interrupted |= channel.confirmed.is_set()
                channel.confirmed.clear()
            self._unconfirmed.clear()
            self._unsent = dict.fromkeys((self._heartbeat_channel, *self._channels), True)
            self._has_unsent.set()
            self._heartbeat_at = time.monotonic()
            await _run_until_first_ends(
                self._send(connection), self._receive_messages(connection), _wait_for_failover(primary_changed)
            )
        finally:
            await connection.disconnect(nowait=True)

    def _make_connection(self) -> Connection:
        """Return a new connection, which is not connected yet."""
        assert self._redis is not None
        connection: Connection = self._redis.connection_pool.make_connection()
        return connection

    @staticmethod
    def _split(names: list[str]) -> Iterator[list[str]]:
        """Yield the names of channels in lists, one list for each command."""
        return (names[at : at + CHANNELS_PER_COMMAND] for at in range(0, len(names), CHANNELS_PER_COMMAND))

    async def _send(self, connection: Connection) -> None:
        while True:
            await self._has_unsent.wait()
            self._has_unsent.clear()
            unsent, self._unsent = self._unsent, {}
            for command, is_wanted in ((self._unsubscribe_command, False), (self._subscribe_command, True)):
                names = [channel for channel, wanted in unsent.items() if wanted is is_wanted]
                for few in self._split(names):
                    self._unconfirmed.update(few if is_wanted else ())
                    try:
                        await connection.send_command(command, *few)
                    except AttributeError as cause:
                        # redis-py writes in a task of its own. If the receiver of messages has found the connection
                        # lost meanwhile, redis-py has removed the writer.
                        raise RedisConnectionError("connection lost during a command") from cause
                    reraise_swallowed_cancellation()

    async def _receive_messages(self, connection: Connection) -> None:
        pause_at = time.monotonic() + SLICE_S
        while True:
            left_s = self._heartbeat_at + SILENCE_LIMIT_S - time.monotonic()
            if left_s <= 0:
                raise ConnectionSilent(f"no heartbeat in {SILENCE_LIMIT_S:.0f} s")
            reply: list[Any] | None = await self._read(connection, left_s)
            match reply:
                case [kind, name, payload] if kind == self._message_kind:
                    channel = name.decode()
                    if found := self._channels.get(channel):
                        self._handle(found, channel, payload)
                    elif channel == self._heartbeat_channel:
                        self._heartbeat_at = time.monotonic()
                case [kind, name, _] if kind == self._subscribed_kind:
                    self._confirm(name.decode())
                case [kind, name, _] if kind == self._unsubscribed_kind:
                    self._note_unsubscribed(name.decode())
            if time.monotonic() > pause_at:
                await asyncio.sleep(0)
                pause_at = time.monotonic() + SLICE_S

    async def _read(self, connection: Connection, timeout_s: float) -> list[Any] | None:
        """Return the next message, None if there is none within `timeout_s` seconds."""
        reply: list[Any] | None = await connection.read_response(timeout=timeout_s)
        return reply

    def _handle(self, wanted: WantedChannel, channel: str, payload: bytes) -> None:
        """Pass a message to its receiver.

        If the receiver raises an exception, drop the message and keep the connection.
        """
        try:
            wanted.receive(channel, payload)
        except (*PARSE_ERRORS, InvalidStoredData) as error:
            report_invalid_data(channel, error)
        except Exception:
            logger.exception("a message could not be handled", channel=channel)

    def _confirm(self, channel: str) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] > 0:
            return  # the channel was subscribed again in the meantime, so only the last confirmation is valid
        del self._unconfirmed[channel]
        if channel == self._heartbeat_channel:
            self._is_connected = True
            self._pipe.outage.report_reachable(self._part)
        elif found := self._channels.get(channel):
            found.confirmed.set()
            if found.interrupted:
                found.interrupted = False
                self._resumed(channel)

    def _note_unsubscribed(self, channel: str) -> None:
        """Called when a subscription has ended, because it was not wanted any longer."""

    async def measure_time(self) -> None:
        """Add a sample to `server_time`. One round trip. If Redis does not answer, only log this.

        Call this before the first request is served. Without a sample, credentials are compared with the clock of this
        machine, which can be wrong.
        """
        sent_s = time.monotonic()
        try:
            _, (seconds, micros) = await self._pipe.call_many((("PUBLISH", self._heartbeat_channel, b""), ("TIME",)))
        except (RedisError, OSError) as error:
            logger.debug("heartbeat not sent", cause=repr(error))
        else:
            self.server_time.add_sample(sent_s, time.monotonic(), int(seconds) * 1000 + int(micros) / 1000)

    async def _send_heartbeats(self) -> None:
        """Publish heartbeats to this connection, and measure the time of Redis in the same round trip."""
        while True:
            sent_s = time.monotonic()
            await self.measure_time()
            await asyncio.sleep(max(0.05, sent_s + HEARTBEAT_S - time.monotonic()))


async def _wait_for_failover(primary_changed: asyncio.Event) -> None:
    """Wait for a failover of Redis, then raise ConnectionSilent, so that the connection is made to the new primary."""
    await primary_changed.wait()
    raise ConnectionSilent("the primary has changed")


async def _run_until_first_ends(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run coroutines concurrently until the first coroutine ends, then cancel all others and wait for their end.

    If a coroutine raised an exception, raise the first exception in the order of `jobs`. A task group is not used,
    because before Python 3.13 it leaves the current task marked as cancelled.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
