"""Redis channels of event streams: each carries the batches of one client to the instance that has its stream.

The name of a channel is a digest of the stream id and of the identity that sends the batches. So a caller without the
stream id, or with another credential, publishes to a channel without a subscriber.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable

from synckairos.errors import StoreUnavailable
from synckairos.principal import Principal
from synckairos.store.keys import Keys
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.event_streams import FrameBatch

STREAM_ID_BYTES = 24
"""Number of random bytes in a stream id: 192 bits."""

SUBSCRIBE_TIMEOUT_S = 3.0
"""Seconds to wait until Redis has confirmed the subscription of a new stream."""


class StreamChannels:
    """The channels of the event streams of all instances."""

    def __init__(self, pipe: RedisPipe, subscriber: PubSubConnection, keys: Keys) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._keys = keys

    @staticmethod
    def make_stream_id() -> str:
        """Return a new random stream id, which callers cannot guess."""
        return secrets.token_urlsafe(STREAM_ID_BYTES)

    async def subscribe(self, stream_id: str, sender: Principal, receive: Callable[[FrameBatch], None]) -> str:
        """Call `receive` for each batch of the stream until `unsubscribe`. Return the name of the channel.

        `sender` is the principal of the request that opened the stream. When this method returns, no batch is lost
        while the connection to Redis is up. One round trip.

        Raises: StoreUnavailable. The channel is then not subscribed.
        """
        channel = self._channel(stream_id, sender)
        confirmed = self._subscriber.subscribe(channel, lambda _, message: receive(FrameBatch.decode(message)))
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await confirmed.wait()
        except TimeoutError:
            self._subscriber.unsubscribe(channel)
            raise StoreUnavailable from None
        except BaseException:
            self._subscriber.unsubscribe(channel)
            raise
        return channel

    def unsubscribe(self, channel: str) -> None:
        """End the subscription to a channel that `subscribe` returned. Return immediately."""
        self._subscriber.unsubscribe(channel)

    async def publish(self, stream_id: str, sender: Principal, batch: FrameBatch) -> bool:
        """Send a batch to the instance of the stream. Return whether an instance has this stream. One round trip.

        `sender` is the principal of the request that has the batch. If its identity is not that of the request which
        opened the stream, no instance has the stream.

        Raises: StoreUnavailable.
        """
        with translated_errors():
            subscribers = await self._pipe.call("PUBLISH", self._channel(stream_id, sender), batch.encode())
        return bool(subscribers)

    def _channel(self, stream_id: str, sender: Principal) -> str:
        """Return the channel of a stream. Requests without a verified credential have no identity in it."""
        identity = [] if sender.life is None else [sender.tenant, sender.kind, sender.subject]
        digest = hashlib.sha256("\n".join((stream_id, *identity)).encode(errors="surrogatepass")).hexdigest()
        return self._keys.stream_channel(digest)
