"""Opening Redis: clients with deadlines, scripts by their hash, the checks before a store is trusted."""

import asyncio
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.errors import StoreMismatch, StoreUnavailable
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import Argument, RedisPipe

MAX_CONNECTIONS = 16


def open_redis(url: str, timeout_s: float) -> Redis:
    """Make a client of redis-py, for pub/sub and the background: pooled, every reply within `timeout_s`, no retries."""
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


CANT_WRITE_NOW = (
    *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "OOM", "MISCONF", "NOREPLICAS", "TRYAGAIN"),
    "BUSY ",  # with a script that runs too long; BUSYKEY and BUSYGROUP are faults of who asks
)
"""How replies begin of a server that will take the command later, or elsewhere."""


class unavailable_as_named:  # noqa: N801  it reads as what it does, and is too hot for a generator
    """Turn a store that doesn't answer, or can't write now, into `StoreUnavailable`; other faults stay."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: object) -> None:
        match fault:
            case None:
                pass
            case RedisConnectionError() | RedisTimeoutError() | OSError():
                raise StoreUnavailable(setting="REDIS_URL") from fault
            case ResponseError() if str(fault).startswith(CANT_WRITE_NOW):
                raise StoreUnavailable(setting="REDIS_URL") from fault


def end_if_cancelled() -> None:
    """Raise the cancellation that redis-py swallowed.

    It waits by `asyncio.wait_for`, which before Python 3.12 prefers a result that comes at the same moment.
    """
    if (me := asyncio.current_task()) is not None and me.cancelling():
        raise asyncio.CancelledError


ScriptCall = tuple[list[str], list[Argument]]
"""A script's keys and arguments."""


class Script:
    """A Lua script of `store/lua`, called by its hash and sent where the server doesn't have it (any more)."""

    def __init__(self, name: str) -> None:
        self.text = resources.files("synckairos.store").joinpath("lua", f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def many(self, pipe: RedisPipe, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run the script for several at once, in one round trip; one after the other where it has to be sent."""
        try:
            return await pipe.call_many([("EVALSHA", self.sha, len(keys), *keys, *args) for keys, args in calls])
        except ResponseError as refusal:
            if not is_missing_script(refusal):
                raise
            return [await self(pipe, *call) for call in calls]

    async def __call__(self, pipe: RedisPipe, keys: list[str], args: list[Argument]) -> Any:
        """Run the script in one round trip, two where it has to be sent."""
        try:
            return await pipe.call("EVALSHA", self.sha, len(keys), *keys, *args)
        except ResponseError as refusal:
            if not is_missing_script(refusal):
                raise
            return await pipe.call("EVAL", self.text, len(keys), *keys, *args)


def is_missing_script(refusal: ResponseError) -> bool:
    """Tell whether the server doesn't know a script's hash: it was restarted, replaced or flushed."""
    return str(refusal).startswith("NOSCRIPT")


def time_ms(reply: Sequence[Any]) -> int:
    """Return what TIME answers, seconds and microseconds, as whole milliseconds."""
    return int(reply[0]) * 1000 + int(reply[1]) // 1000


async def open_store(pipe: RedisPipe, keys: Keys) -> None:
    """Check that this store may be written to, and mark a new one as ours.

    Raises:
        StoreMismatch: it evicts keys, or was made for another number of partitions.
        StoreUnavailable: it doesn't answer.
    """
    with unavailable_as_named():
        policy = await _maxmemory_policy(pipe)
        if policy not in (None, "noeviction"):
            raise StoreMismatch(
                f"Redis runs with maxmemory-policy {policy}, which loses sessions under pressure: set it to noeviction"
            )
        await pipe.call("HSETNX", keys.store, "partitions", keys.partitions)
        made_for = int(await pipe.call("HGET", keys.store, "partitions"))
    if made_for != keys.partitions:
        raise StoreMismatch(
            f"This store is made for SYNCKAIROS_PARTITIONS={made_for}, not {keys.partitions}: set it so"
        )


async def _maxmemory_policy(pipe: RedisPipe) -> str | None:
    """Return the eviction policy, None where the server (a managed one, often) doesn't say."""
    try:
        answer: list[bytes] = await pipe.call("CONFIG", "GET", "maxmemory-policy")
    except ResponseError:
        return None
    return answer[1].decode() if answer else None
