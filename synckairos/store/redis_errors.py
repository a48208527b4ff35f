"""Translates errors of the Redis libraries into the product's errors."""

import asyncio

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.errors import StoreUnavailable

TEMPORARY_ERRORS = (
    *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "OOM", "MISCONF", "NOREPLICAS", "TRYAGAIN"),
    "BUSY ",  # a script runs for too long; BUSYKEY and BUSYGROUP are faults of the caller
)
"""The first words of error replies of a server that will accept the command later, or on another node."""

_NO_PERMISSION = ("NOPERM", "NOAUTH", "ERR The user executing the script can't", "ERR ACL failure in script")
"""The first words of error replies to a user that lacks a permission; those to scripts depend on the server."""


class translated_errors:  # noqa: N801  used like a function; a generator would be too slow for the hot path
    """Raise StoreUnavailable if Redis does not answer or cannot write now. Other errors pass unchanged."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        match error:
            case None:
                pass
            case RedisConnectionError() | RedisTimeoutError() | OSError():
                raise StoreUnavailable(setting="REDIS_URL") from error
            case NoPermissionError():  # redis-py removes the first word from the text
                raise StoreUnavailable(setting="REDIS_URL") from error
            case ResponseError() if str(error).startswith((*TEMPORARY_ERRORS, *_NO_PERMISSION)):
                raise StoreUnavailable(setting="REDIS_URL") from error


def raise_lost_cancellation() -> None:
    """Raise CancelledError if redis-py swallowed a cancellation of the current task.

    redis-py waits with `asyncio.wait_for`. Before Python 3.12 this prefers a result that arrives together with a
    cancellation.
    """
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError
