"""Opening Redis: clients with deadlines and retries, scripts by hash, the checks before a store is trusted."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.errors import StoreMismatch, StoreUnavailable
from synckairos.store.keys import Keys

MAX_CONNECTIONS = 64


def open_redis(url: str, timeout_s: float) -> Redis:
    """Make a client for commands: pooled, every reply within `timeout_s`, a broken connection retried once.

    A retry repeats the command, scripts too; that is safe for a commit only because its command id, or else its
    version, makes it repeatable.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_keepalive=True,
        protocol=2,
        retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.1), 1),
        retry_on_error=[RedisConnectionError],
    )
    return Redis.from_pool(pool)


@contextmanager
def unavailable_as_named() -> Iterator[None]:
    """Turn a store that doesn't answer, or can't write now, into `StoreUnavailable`; other faults stay."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError) as cause:
        raise StoreUnavailable from cause
    except ResponseError as cause:
        if str(cause).startswith(("LOADING", "MASTERDOWN", "CLUSTERDOWN", "OOM", "MISCONF", "NOREPLICAS", "TRYAGAIN")):
            raise StoreUnavailable from cause
        raise


class Script:
    """A Lua script of `store/lua`, called by its hash and sent where the server doesn't have it (any more)."""

    def __init__(self, name: str) -> None:
        self.text = resources.files("synckairos.store").joinpath("lua", f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Redis, keys: list[str], args: list[Any]) -> Any:
        """Run the script in one round trip, two where it has to be sent."""
        try:
            return await redis.execute_command("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await redis.execute_command("EVAL", self.text, len(keys), *keys, *args)


async def open_store(redis: Redis, keys: Keys) -> None:
    """Check that this store may be written to, and mark a new one as ours.

    Raises:
        StoreMismatch: it evicts keys, or was made for another number of partitions.
        StoreUnavailable: it doesn't answer.
    """
    with unavailable_as_named():
        policy = await _maxmemory_policy(redis)
        if policy not in (None, "noeviction"):
            raise StoreMismatch(
                f"Redis runs with maxmemory-policy {policy}, which loses sessions under pressure: set it to noeviction"
            )
        await redis.execute_command("HSETNX", keys.store, "partitions", keys.partitions)
        await redis.execute_command("HSETNX", keys.store, "generation", secrets.token_hex(8))
        made_for = int(await redis.execute_command("HGET", keys.store, "partitions"))
    if made_for != keys.partitions:
        raise StoreMismatch(
            f"This store has {made_for} partitions, not {keys.partitions}: set SYNCKAIROS_PARTITIONS={made_for}"
        )


async def _maxmemory_policy(redis: Redis) -> str | None:
    """Return the eviction policy, None where the server (a managed one, often) doesn't say."""
    try:
        answer: dict[str, str] = await redis.config_get("maxmemory-policy")
    except (RedisConnectionError, RedisTimeoutError):
        raise
    except RedisError:
        return None
    return answer.get("maxmemory-policy")
