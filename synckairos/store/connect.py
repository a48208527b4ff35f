"""Connections to Redis, and the check whether a store is safe to use."""

import re
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ResponseError

from synckairos.errors import StoreMisconfigured
from synckairos.store.cluster_pipe import ClusterPipe
from synckairos.store.keys import Keys
from synckairos.store.redis_connection import server_options
from synckairos.store.redis_errors import TEMPORARY_ERRORS, translated_errors
from synckairos.store.sentinel import PrimaryConnection, TlsPrimaryConnection
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.store_settings import create_store, read_fixed_settings
from synckairos.telemetry import log
from synckairos.urls.redis_url import parse_redis_url

MAX_CONNECTIONS = 16
"""Maximum number of connections in the pool of one client of `make_redis_client`."""

logger = log.get_logger(__name__)


def make_pipe(url: str, timeout_s: float, *, move_key: str | None = None) -> RedisPipe:
    """Return the shared connection to the store at `url`: one to a server, or one to each primary of a Cluster.

    It is opened by `async with`. `timeout_s` is the maximum number of seconds for connecting, and for each reply.
    `move_key` is that of `RedisPipe`; a store in a Cluster cannot move.

    Raises: ValueError if the URL is not valid.
    """
    if parse_redis_url(url).cluster_nodes:
        return ClusterPipe(url, timeout_s)
    return RedisPipe(url, timeout_s, move_key=move_key)


def make_redis_client(url: str, timeout_s: float) -> Redis:
    """Return a redis-py client with a connection pool, for pub/sub and background work. It does not retry commands.

    For a Redis Cluster, the client uses only the first node of the URL.

    `timeout_s` is the maximum seconds for connecting, for waiting for a pooled connection, and for each reply.
    """
    options = connection_options(url, timeout_s) | {"timeout": timeout_s}  # redis-py declares it as a whole number
    return Redis.from_pool(BlockingConnectionPool(max_connections=MAX_CONNECTIONS, **options))


def connection_options(url: str, timeout_s: float) -> dict[str, Any]:
    """Return the keyword arguments of a redis-py connection pool for a Redis URL.

    `timeout_s` is the maximum number of seconds for connecting, and for each reply.

    Raises: ValueError if the URL is not valid.
    """
    address = parse_redis_url(url)
    if address.sentinels is None:
        return server_options(address, timeout_s)
    options = server_options(address, timeout_s) | {"address": address, "timeout_s": timeout_s}
    return options | {"connection_class": PrimaryConnection if address.tls is None else TlsPrimaryConnection}


async def check_store_settings(pipe: RedisPipe, keys: Keys) -> Keys:
    """Check that the store is safe to write to, and return its keys: `keys` with the hash tags of the store.

    If the store is new, write its fixed settings: the number of partitions, the format, and the hash tags if it has
    more than one partition. If the user is not permitted to read the eviction policy, a warning is logged and the
    policy is not checked.

    Raises:
        StoreMisconfigured: the eviction policy is not `noeviction`, the store was created with another number of
            partitions, a newer release has written data that this release cannot read, or a setting is invalid.
        StoreUnavailable: Redis does not answer or temporarily refuses a command.
    """
    await check_eviction_policy(pipe)
    # A process must be able to start while Redis accepts no writes.
    stored = await read_fixed_settings(pipe, keys)
    if stored is None:
        await create_store(pipe, keys)
        stored = await read_fixed_settings(pipe, keys)
    assert stored is not None
    if stored.partitions != keys.partitions:
        raise StoreMisconfigured(
            f"This store was created with SYNCKAIROS_PARTITIONS={stored.partitions}, not {keys.partitions}: "
            f"set SYNCKAIROS_PARTITIONS={stored.partitions}"
        )
    return stored


async def check_eviction_policy(pipe: RedisPipe) -> None:
    """Check that Redis evicts no keys. If the user is not permitted to read the policy, log a warning.

    Raises: StoreMisconfigured if the eviction policy is not `noeviction`. StoreUnavailable if Redis does not answer.
    """
    with translated_errors():
        policy = await _maxmemory_policy(pipe)
    if policy is None:
        logger.warning(
            "eviction policy of redis not readable", setting="REDIS_URL", remedy="make sure that it is noeviction"
        )
    elif policy != "noeviction":
        raise StoreMisconfigured(
            f"Redis runs with maxmemory-policy {policy}, which loses sessions in full memory; set it to noeviction"
        )


async def _maxmemory_policy(pipe: RedisPipe) -> str | None:
    """Return the eviction policy of Redis, None if the user is not permitted to read it.

    If a primary of a Cluster has another policy than `noeviction`, return that policy. The policy is in INFO, which
    managed services also allow if they forbid CONFIG. A user can lack the permission for INFO.
    """
    try:
        replies: list[bytes] = await pipe.call_on_each_primary("INFO", "memory")
    except ResponseError as error:
        if str(error).startswith(TEMPORARY_ERRORS):
            raise
        return None
    found = (re.search(rb"^maxmemory_policy:(\S+)", reply, re.MULTILINE) for reply in replies)
    policies = [each[1].decode() for each in found if each is not None]
    return next((policy for policy in policies if policy != "noeviction"), policies[0] if policies else None)
