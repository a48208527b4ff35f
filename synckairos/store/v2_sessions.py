"""Reader of the sessions in the Redis of SyncKairos v2, also while v2 runs. The keys of v2 are never changed.

For each imported session a mark is written to the Redis of v2, under `synckairos:import-v2:<key of v2>`. The mark has
the v2 state that was imported and the version that resulted from that state. The mark informs the operators of v2.
Imports do not depend on the mark.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import orjson
from msgspec import Struct
from redis.exceptions import RedisError

from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.store.connect import make_redis_client
from synckairos.store.shared_connection import RedisPipe
from synckairos.urls.redact_url import redact_url

UPDATES_CHANNEL = "session-updates"
"""The channel on which v2 publishes each change and each deletion of a session."""

MARK_PREFIX = "synckairos:import-v2:"
MARK_TTL_S = 24 * 3600
"""Seconds that a mark stays. v2 removes a session one hour after its last change."""

LEASE_KEY = "synckairos:import-v2-lease"
LEASE_S = 30
"""Seconds that the lease of an import stays after its process was killed."""

_PAGE = 200  # keys of one step of SCAN
_RETRY_S = 0.5  # seconds between two attempts to subscribe
_POLL_S = 0.5  # seconds to wait for a message
_GLOB = re.compile(r"([\\*?\[\]])")


class ImportAlreadyRunning(SyncKairosError):
    """Another import from this Redis runs.

    Two imports at the same time could replace a newer state by an older state.
    """

    code = "IMPORT_RUNNING"


class V2Change(Struct, frozen=True):
    """A change of a v2 session: the session was changed or deleted.

    If `session_id` is None, messages were possibly lost, so the caller must read all sessions again.
    """

    session_id: str | None
    is_deleted: bool = False


class V2Store:
    """The Redis of v2.

    All methods except `listen_for_changes` raise StoreUnavailable if Redis does not answer or refuses a command.
    """

    def __init__(self, pipe: RedisPipe, url: str, timeout_s: float, prefix: str) -> None:
        """Create a reader of the Redis of v2. `pipe` is an open connection to it.

        `url` and `timeout_s` are for further connections. `prefix` is the prefix of v2's session keys.
        """
        self._pipe = pipe
        self._url = url
        self._timeout_s = timeout_s
        self._prefix = prefix

    async def session_ids(self) -> AsyncIterator[list[str]]:
        """Yield the ids of all v2 sessions, page by page. An id can occur twice."""
        async for keys in self._scan(self._prefix):
            yield [key.removeprefix(self._prefix) for key in keys]

    async def imported_ids(self) -> AsyncIterator[list[str]]:
        """Yield the ids of all sessions that have a mark, page by page. An id can occur twice."""
        async for keys in self._scan(MARK_PREFIX + self._prefix):
            yield [key.removeprefix(MARK_PREFIX + self._prefix) for key in keys]

    async def read(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """Return the state of each session as v2 stores it, in the order of `session_ids`.

        None for a session that v2 lacks.
        """
        if not session_ids:
            return []
        with _named_faults(self._url):
            states: list[bytes | None] = await self._pipe.call("MGET", *(self._prefix + each for each in session_ids))
        return states

    async def mark_imported(self, session_id: str, mark: bytes) -> None:
        """Write the mark of an imported session to the Redis of v2.

        `mark` has the format of the module's description.
        """
        with _named_faults(self._url):
            await self._pipe.call("SET", MARK_PREFIX + self._prefix + session_id, mark, "EX", MARK_TTL_S)

    @asynccontextmanager
    async def hold_import_lease(self) -> AsyncIterator[None]:
        """Hold the lease during the block, so that only one import from this Redis runs at a time.

        The lease is renewed until the end of the block.

        Raises: ImportAlreadyRunning if another import holds the lease.
        """
        token = secrets.token_hex(8)
        with _named_faults(self._url):
            taken = await self._pipe.call("SET", LEASE_KEY, token, "NX", "EX", LEASE_S)
        if taken is None:
            raise ImportAlreadyRunning(
                f"another `synckairos import-v2` imports from this Redis, or was killed within the last {LEASE_S} s"
            )
        renewal = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            renewal.cancel()
            with suppress(asyncio.CancelledError):
                await renewal
            with suppress(RedisError, OSError):
                await self._pipe.call("DEL", LEASE_KEY)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            with suppress(RedisError, OSError):
                await self._pipe.call("EXPIRE", LEASE_KEY, LEASE_S)

    async def listen_for_changes(self, stop: asyncio.Event) -> AsyncIterator[V2Change]:
        """Yield the changes of v2 sessions until `stop` is set.

        After each subscription, the first item is a change without a session id. If Redis does not answer, this method
        subscribes again later and raises no error.
        """
        while not stop.is_set():
            redis = make_redis_client(self._url, self._timeout_s)
            try:
                async with redis.pubsub() as pubsub:
                    await pubsub.subscribe(UPDATES_CHANNEL)
                    yield V2Change(None)
                    while not stop.is_set():
                        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_POLL_S)
                        if message is not None and (change := _parse_message(message["data"])) is not None:
                            yield change
            except (RedisError, OSError):
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY_S)
            finally:
                await redis.aclose()

    async def _scan(self, prefix: str) -> AsyncIterator[list[str]]:
        pattern = _GLOB.sub(r"\\\1", prefix) + "*"
        cursor: Any = b"0"
        while True:
            with _named_faults(self._url):
                cursor, keys = await self._pipe.call("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
            if keys:
                yield [key.decode(errors="replace") for key in keys]
            if int(cursor) == 0:
                return


def _parse_message(data: Any) -> V2Change | None:
    """Parse a message of v2. Return None if the message is not about a session.

    The state in the message is ignored, because the session's key has the same state or a newer state.
    """
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    session_id = message.get("sessionId") if isinstance(message, dict) else None
    return V2Change(session_id, bool(message.get("deleted"))) if isinstance(session_id, str) else None


@contextmanager
def _named_faults(url: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as fault:
        raise V2RedisUnavailable(f"v2's Redis: {fault}", setting="--redis", address=redact_url(url)) from fault


class V2RedisUnavailable(StoreUnavailable):
    """The Redis of SyncKairos v2 does not answer."""

    remedy = "start v2's Redis, or correct the URL"
