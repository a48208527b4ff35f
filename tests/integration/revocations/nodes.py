"""Control channels of instances on the stores of a test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from synckairos.config import Settings
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import CredentialLife, Principal
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.copier import RevocationCopier
from synckairos.revocations.table import RevocationTable
from synckairos.store.connect import make_redis_client
from synckairos.store.control_store import ControlStore
from synckairos.store.keys import Keys
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import RedisPipe
from tests.background_task import running
from tests.principals import make_principal
from tests.waiting import eventually

ADMIN = make_principal("admin", "root")
FOREVER_MS = 4_000_000_000_000


def holder(token_id: str) -> Principal:
    life = CredentialLife(expires_at_ms=FOREVER_MS, issued_at_ms=None, token_id=token_id, group=None, verified_by=None)
    return make_principal("viewer", "alice", life=life)


@dataclass(frozen=True, slots=True)
class Node:
    """The control channel of one instance, which is not started yet, and the stores behind it."""

    channel: ControlChannel
    store: ControlStore
    table: RevocationTable
    pipe: RedisPipe
    pool: PostgresPool
    keys: Keys
    subscriber: PubSubConnection

    def knows(self, token_id: str) -> bool:
        return self.channel.revocations.is_revoked(holder(token_id), self.subscriber.server_time.now_ms())

    async def copy(self) -> None:
        """Copy the revocations to Postgres, as a worker does."""
        await RevocationCopier(self.store, self.table).copy_new()


@asynccontextmanager
async def open_node(settings: Settings, redis_url: str = "", stale_after_s: float = 5.0) -> AsyncIterator[Node]:
    """Open a channel that is loaded and runs inside the block."""
    url = redis_url or settings.redis_url
    async with AsyncExitStack() as stack:
        pipe = await stack.enter_async_context(RedisPipe(url, settings.redis_timeout_s))
        pool = await stack.enter_async_context(
            PostgresPool(settings.database_url, "test", access=cross_tenant_access(), max_connections=2)
        )
        redis = await stack.enter_async_context(make_redis_client(url, settings.redis_timeout_s))
        keys = Keys(settings.key_prefix)
        subscriber = PubSubConnection(redis, pipe, keys.prefix, lambda *_: None, lambda *_: None)
        store, table = ControlStore(pipe, keys), RevocationTable(pool)
        channel = ControlChannel(
            store,
            table,
            subscriber,
            subscriber.server_time.now_ms,
            max_credential_life_s=86_400,
            check_s=0.2,
            stale_after_s=stale_after_s,
        )
        await stack.enter_async_context(running(subscriber.run()))
        await until(lambda: subscriber.is_connected)
        await channel.load()
        await stack.enter_async_context(running(channel.run()))
        yield Node(channel, store, table, pipe, pool, keys, subscriber)


async def until(check: Callable[[], bool]) -> None:
    """Wait until a condition about memory is true."""

    async def checked() -> bool:
        return check()

    await eventually(checked)
