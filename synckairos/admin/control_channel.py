"""The control channel of the running instances, for commands that announce a change."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from synckairos.config import Settings
from synckairos.errors import AuthenticationOff
from synckairos.history.reader import open_history_pool
from synckairos.postgres.pool import PostgresPool
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.table import RevocationTable
from synckairos.store.cluster_pubsub import make_subscriber
from synckairos.store.connect import make_pipe, make_redis_client
from synckairos.store.control_store import ControlStore
from synckairos.store.keys import Keys


@asynccontextmanager
async def open_control_channel(settings: Settings) -> AsyncIterator[tuple[ControlChannel, PostgresPool]]:
    """Open the control channel and a pool for the block.

    Raises: AuthenticationOff while authentication is off. StoreUnavailable.
    """
    if settings.auth == "none":
        raise AuthenticationOff
    async with AsyncExitStack() as stack:
        pipe = await stack.enter_async_context(make_pipe(settings.redis_url, settings.redis_timeout_s))
        redis = await stack.enter_async_context(make_redis_client(settings.redis_url, settings.redis_timeout_s))
        pool = await stack.enter_async_context(open_history_pool(settings))
        keys = Keys(settings.key_prefix)
        store = ControlStore(pipe, keys)
        now_ms = await store.now_ms()
        # The subscriber is not started: a command needs no messages of other instances.
        subscriber = make_subscriber(redis, pipe, keys.prefix, lambda *_: None, lambda *_: None)
        channel = ControlChannel(
            store, RevocationTable(pool), subscriber, lambda: now_ms, max_credential_life_s=settings.jwt_max_ttl
        )
        yield channel, pool
