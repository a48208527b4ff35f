"""Pub/sub of a Redis Cluster: one connection to each primary, with the channels of the slots that it serves.

Channels are sharded: SSUBSCRIBE and SPUBLISH reach only the nodes of the channel's slot. So a message costs the same in
a large Cluster as in a small one. When a slot moves, its channels are subscribed at the other node and reported as
interrupted.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection, Redis
from redis.exceptions import ClusterDownError, MovedError, RedisError

from synckairos.store.cluster_node import ClusterNode
from synckairos.store.cluster_pipe import ClusterPipe
from synckairos.store.cluster_slots import slot_of_key
from synckairos.store.pubsub_connection import (
    CHANNELS_PER_COMMAND,
    ConnectionSilent,
    PubSubConnection,
    Receive,
    WantedChannel,
)
from synckairos.store.redis_connection import open_connection
from synckairos.store.redis_time_estimate import ServerTime
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from synckairos.telemetry import log

RETRY_S = 0.2
"""Seconds between two attempts to subscribe to channels whose node is not known, or has refused the subscription."""

logger = log.get_logger(__name__)


def make_subscriber(
    redis: Redis, pipe: RedisPipe, prefix: str, receive: Receive, resumed: Callable[[str], None]
) -> PubSubConnection:
    """Return the pub/sub connection of the process for the store of `pipe`.

    `redis` is a client of the same store, which is not used in a Redis Cluster. The other arguments are those of
    `PubSubConnection`.
    """
    if isinstance(pipe, ClusterPipe):
        return ClusterPubSub(pipe, prefix, receive, resumed)
    return PubSubConnection(redis, pipe, prefix, receive, resumed)


class _ShardSubscriber(PubSubConnection):
    """The pub/sub connection to one primary."""

    _subscribe_command, _unsubscribe_command = "SSUBSCRIBE", "SUNSUBSCRIBE"
    _message_kind, _subscribed_kind, _unsubscribed_kind = b"smessage", b"ssubscribe", b"sunsubscribe"

    def __init__(self, owner: "ClusterPubSub", pipe: ClusterPipe, node: ClusterNode, prefix: str) -> None:
        super().__init__(None, pipe, prefix, owner.receive, owner.resumed)
        self._owner = owner
        self._cluster = pipe
        self._node = node
        self._part = f"feed of {node.node[0]}:{node.node[1]}"
        self._channel_base = self._heartbeat_channel

    def _make_connection(self) -> Connection:
        self._heartbeat_channel = self._choose_heartbeat_channel()
        return open_connection(self._node.address, self._cluster.timeout_s)

    def _choose_heartbeat_channel(self) -> str:
        """Return the name of a channel in a slot of this node.

        The heartbeats go to the node that serves the slot at that moment. So they miss a node that was replaced.
        """
        for number in range(100_000):
            channel = f"{self._channel_base}:{{{number}}}"
            if self._cluster.node_of_slot(slot_of_key(channel)) is self._node:
                return channel
        raise ConnectionSilent("the node serves no slots any longer")

    @staticmethod
    def _split(names: list[str]) -> Iterator[list[str]]:
        # All channels of one command must be in the same slot.
        slots: dict[int, list[str]] = defaultdict(list)
        for name in names:
            slots[slot_of_key(name)].append(name)
        for few in slots.values():
            yield from (few[at : at + CHANNELS_PER_COMMAND] for at in range(0, len(few), CHANNELS_PER_COMMAND))

    def _note_unsubscribed(self, channel: str) -> None:
        if channel == self._heartbeat_channel:
            self._cluster.request_refresh()
            raise ConnectionSilent("the slot of the heartbeats has moved")
        if (found := self._channels.get(channel)) is not None and self._unconfirmed[channel] <= 0:
            # The node does not serve the slot any longer.
            found.interrupted |= found.confirmed.is_set()
            found.confirmed.clear()
            self._cluster.request_refresh()
            self._owner.note_lost(channel)

    async def _read(self, connection: Connection, timeout_s: float) -> list[Any] | None:
        try:
            return await super()._read(connection, timeout_s)
        except MovedError as moved:
            # The node does not serve the slot of a command. Subscriptions in other slots continue.
            self._cluster.request_refresh()
            for channel, wanted in self._channels.items():
                if not wanted.confirmed.is_set() and slot_of_key(channel) == moved.slot_id:
                    self._unconfirmed[channel] = 0
                    self._owner.note_lost(channel)
            return None
        except ClusterDownError:
            self._cluster.request_refresh()
            raise

    def add(self, channel: str, wanted: WantedChannel) -> None:
        """Subscribe to a channel whose messages another connection received before, or none."""
        self._channels[channel] = wanted
        self._change(channel, True)

    def take(self, channel: str) -> None:
        """End the subscription to a channel that another connection subscribes now, and mark it as interrupted."""
        wanted = self._channels.pop(channel)
        wanted.interrupted |= wanted.confirmed.is_set()
        wanted.confirmed.clear()
        # The node itself ends the subscriptions of a slot that it does not serve any longer.
        self._unsent.pop(channel, None)

    def interrupt_all(self) -> None:
        """Mark all channels as interrupted, because the connection was closed for good."""
        for wanted in self._channels.values():
            wanted.interrupted |= wanted.confirmed.is_set()
            wanted.confirmed.clear()
        self._pipe.outage.report_reachable(self._part)


class ClusterPubSub(PubSubConnection):
    """Delivers the messages of wanted channels from all primaries of a Cluster, as `PubSubConnection` does."""

    def __init__(self, pipe: ClusterPipe, prefix: str, receive: Receive, resumed: Callable[[str], None]) -> None:
        super().__init__(None, pipe, prefix, receive, resumed)
        self.receive, self.resumed = receive, resumed
        self._cluster = pipe
        self._prefix = prefix
        self._subscribers: dict[ClusterNode, tuple[_ShardSubscriber, asyncio.Task[None]]] = {}
        self._places: dict[str, _ShardSubscriber] = {}
        """The connection of each channel that has one."""
        self._unplaced: set[str] = set()
        """Wanted channels that no connection subscribes to, or whose node has ended the subscription."""

    @property
    def is_connected(self) -> bool:
        """Return whether the connections to all primaries are open and receive their own heartbeats."""
        return bool(self._subscribers) and all(each.is_connected for each, _ in self._subscribers.values())

    def unsubscribe(self, channel: str) -> None:
        """Request the end of a subscription, as `PubSubConnection.unsubscribe`."""
        if (removed := self._channels.pop(channel, None)) is not None:
            if (place := self._places.pop(channel, None)) is not None:
                place.unsubscribe(channel)
            self._unplaced.discard(channel)
            removed.confirmed.set()

    def _change(self, channel: str, is_wanted: bool) -> None:
        self._place(channel)

    def _place(self, channel: str) -> None:
        """Subscribe to a channel at the node of its slot, if that node is known. Otherwise `run` does that later."""
        node = self._cluster.node_of_slot(slot_of_key(channel))
        found = None if node is None else self._subscribers.get(node)
        now, before = None if found is None else found[0], self._places.get(channel)
        if now is not None and now is before and channel not in self._unplaced:
            return
        if before is not None:
            before.take(channel)
            del self._places[channel]
        if now is None:
            self._unplaced.add(channel)
        else:
            now.add(channel, self._channels[channel])
            self._places[channel] = now
            self._unplaced.discard(channel)

    def note_lost(self, channel: str) -> None:
        """Note that a node has ended the subscription to a channel. It is subscribed again when the slots are known."""
        self._unplaced.add(channel)

    async def run(self) -> None:
        """Receive messages until cancelled. Follow the slots when they move."""
        try:
            slots_changed: asyncio.Event | None = None
            while True:
                if slots_changed is None or slots_changed.is_set():
                    slots_changed = self._cluster.slots_changed
                    self._follow_slots()
                for channel in [*self._unplaced]:
                    self._place(channel)
                with suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await slots_changed.wait()
        finally:
            tasks = [task for _, task in self._subscribers.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for subscriber, _ in self._subscribers.values():
                subscriber.interrupt_all()
            self._subscribers.clear()
            self._places.clear()
            self._unplaced.update(self._channels)

    def _follow_slots(self) -> None:
        """Open a connection to each new primary, close those to former primaries, and place all channels."""
        primaries = self._cluster.primaries
        for node in primaries:
            if node not in self._subscribers:
                subscriber = _ShardSubscriber(self, self._cluster, node, self._prefix)
                self._subscribers[node] = subscriber, asyncio.create_task(subscriber.run())
        first = self._cluster.node_of_slot(0)
        for node in [*self._subscribers]:
            # The clocks of two nodes differ, so only one of them is measured.
            self._subscribers[node][0].server_time = self.server_time if node is first else ServerTime()
        for channel in self._channels:
            self._place(channel)
        for node in self._subscribers.keys() - set(primaries):
            subscriber, task = self._subscribers.pop(node)
            task.cancel()
            subscriber.interrupt_all()
            for channel in [channel for channel, place in self._places.items() if place is subscriber]:
                del self._places[channel]

    async def measure_time(self) -> None:
        """Add a sample to `server_time`. One round trip. If Redis does not answer, only log this."""
        sent_s = time.monotonic()
        try:
            reply = await self._pipe.call("TIME")
        except (RedisError, OSError) as error:
            logger.debug("time of redis not measured", cause=repr(error))
        else:
            self.server_time.add_sample(sent_s, time.monotonic(), parse_time_ms(reply) + int(reply[1]) % 1000 / 1000)
