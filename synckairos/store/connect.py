"""Opens connections to Redis and checks that a store is safe to use."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ResponseError

from synckairos.errors import StoreMismatch
from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe

MAX_CONNECTIONS = 16
"""Connections of one client of redis-py."""


def open_redis(url: str, timeout_s: float) -> Redis:
    """Create a redis-py client for pub/sub and background work. It pools connections and does not retry.

    `timeout_s` limits connecting, waiting for a pooled connection, and each reply.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_keepalive=True,
        protocol=2,
    )
    return Redis.from_pool(pool)


async def open_store(pipe: RedisPipe, keys: Keys) -> None:
    """Check that the store is safe to write to, and record the number of partitions in a new store.

    Raises:
        StoreMismatch: the server evicts keys, or the store has another number of partitions.
        StoreUnavailable: Redis does not answer.
    """
    with translated_errors():
        policy = await _maxmemory_policy(pipe)
        if policy not in (None, "noeviction"):
            raise StoreMismatch(
                f"Redis runs with maxmemory-policy {policy}, which loses sessions under pressure: set it to noeviction"
            )
        await pipe.call("HSETNX", keys.store_settings, "partitions", keys.partitions)
        partitions = int(await pipe.call("HGET", keys.store_settings, "partitions"))
    if partitions != keys.partitions:
        raise StoreMismatch(
            f"This store was created with SYNCKAIROS_PARTITIONS={partitions}, not {keys.partitions}: "
            f"set SYNCKAIROS_PARTITIONS={partitions}"
        )


async def _maxmemory_policy(pipe: RedisPipe) -> str | None:
    """Return the eviction policy, None if the server does not report it, as many managed servers do not."""
    try:
        reply: list[bytes] = await pipe.call("CONFIG", "GET", "maxmemory-policy")
    except ResponseError:
        return None
    return reply[1].decode() if reply else None
