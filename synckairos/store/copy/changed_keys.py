"""The keys of a store that change while it is copied, by Redis' own tracking of keys for client-side caches.

Redis sends the name of each key with the prefix that any client changes, also by scripts and by expiry. No writer takes
part. Two connections are needed with RESP2: one turns the tracking on, and Redis sends the names to the other one.
"""

import asyncio
from contextlib import suppress
from typing import Any, Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from synckairos.errors import StoreUnavailable
from synckairos.store.redis_errors import translated_errors

_CHANNEL = "__redis__:invalidate"
_NO_TIMEOUT_S = 1e7  # no key has to change for a long time; redis-py would use its timeout of replies


class ChangedKeys:
    """Names of the keys that changed since the last `take`. Use it with `async with`.

    All methods raise StoreUnavailable after a connection was lost. Names of changed keys are then possibly missing, so
    the whole store must be copied again.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Prepare the tracking of keys that begin with `prefix` and a colon."""
        self._tracker: Any = redis.connection_pool.make_connection()
        self._listener: Any = redis.connection_pool.make_connection()
        self._prefix = prefix
        self._names: set[bytes] = set()
        self._pong = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with translated_errors():
            await self._listener.connect()
            await self._tracker.connect()
            number = await self._send(self._listener, "CLIENT", "ID")
            await self._send(self._listener, "SUBSCRIBE", _CHANNEL)
            options = ("REDIRECT", number, "BCAST", "PREFIX", f"{self._prefix}:")
            await self._send(self._tracker, "CLIENT", "TRACKING", "ON", *options)
        self._task = asyncio.create_task(self._read_names())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for connection in (self._tracker, self._listener):
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)

    async def take(self) -> set[bytes]:
        """Return the names of all keys that changed before this call and after the last call."""
        await self._wait_for_earlier_names()
        names, self._names = self._names, set()
        return names

    async def _wait_for_earlier_names(self) -> None:
        """Wait until the names of all earlier changes have arrived: a reply follows them on the same connection."""
        assert self._task is not None
        self._pong.clear()
        with translated_errors():
            await self._send(self._tracker, "PING")
            await self._listener.send_command("PING")
        waiting = asyncio.ensure_future(self._pong.wait())
        await asyncio.wait((waiting, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise StoreUnavailable("The connection that tells changed keys was lost; run the copy again")

    async def _read_names(self) -> None:
        while True:
            reply = await self._listener.read_response(timeout=_NO_TIMEOUT_S)
            if reply[0] == b"pong":
                self._pong.set()
            elif reply[2] is None:
                return  # FLUSHALL
            else:
                self._names.update(reply[2])

    async def _send(self, connection: Any, *command: str | int) -> Any:
        await connection.send_command(*command)
        return await connection.read_response()
