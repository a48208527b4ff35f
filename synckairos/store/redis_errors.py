"""Translation of the errors of the Redis libraries into errors of the product."""

import asyncio

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from synckairos.errors import InvalidStoredData, StoreUnavailable
from synckairos.telemetry.invalid_data import report_invalid_data

TEMPORARY_ERRORS = (
    *("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "OOM", "MISCONF", "NOREPLICAS", "TRYAGAIN", "MOVED", "ASK "),
    "BUSY ",  # a script runs too long; BUSYKEY and BUSYGROUP are faults of the caller
)
"""First words of temporary error replies. The server, or another node, will accept the command later."""

_WITHOUT_FIRST_WORD = (NoPermissionError, ReadOnlyError, OutOfMemoryError)
"""Errors of redis-py about temporary faults and permissions. It removes the first word from their texts."""

NOT_EXECUTED_ERRORS = ("MOVED", "ASK ", "TRYAGAIN", "CLUSTERDOWN", "NOSCRIPT")
"""First words of error replies of a node of a Cluster that has not executed the command.

Another node executes it, or the same node later.
"""

_NO_PERMISSION = ("NOPERM", "NOAUTH", "ERR The user executing the script can't", "ERR ACL failure in script")
"""First words of error replies to a user that lacks a permission.

The error replies to scripts depend on the server.
"""


_SLOT_MOVED = ("non local key", "while the cluster is down")
"""Words of error replies of a script in a Redis Cluster whose slot has moved, or whose nodes have failed."""

_INVALID_DATA = ("WRONGTYPE", "not an integer", "not a valid float", "user_script")
"""Words of error replies about the content of a key. A Lua script that fails has also found such content."""


FENCED = "The sessions are being moved to another store; try again shortly"
"""Message of the error about a change that a fence refused. A copy of the store to another Redis sets the fence."""


class ErrorReply(ResponseError):
    """An error reply to a command of the shared connection. `keys` are the Redis keys of the command."""

    keys: tuple[str, ...] = ()


def is_about_invalid_data(error: BaseException) -> bool:
    """Return whether an error reply is about the content of a Redis key.

    For such an error, a retry or another node gives the same reply.
    """
    text = str(error)
    return (
        isinstance(error, ResponseError)
        and not isinstance(error, _WITHOUT_FIRST_WORD)
        and any(words in text for words in _INVALID_DATA)
        and not text.startswith((*TEMPORARY_ERRORS, *_NO_PERMISSION))
        and not any(words in text for words in _SLOT_MOVED)
    )


class translated_errors:  # noqa: N801  is used like a function; a generator would be too slow for the hot path
    """Context manager that translates the errors of the Redis libraries.

    It raises StoreUnavailable if Redis does not answer, if Redis temporarily refuses the command, or if the user lacks
    a permission. If a Redis key has data that a command cannot use, the key is reported and InvalidStoredData is
    raised. Other errors pass unchanged.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        match error:
            case None:
                pass
            case RedisConnectionError() | RedisTimeoutError() | OSError():
                raise StoreUnavailable(setting="REDIS_URL") from error
            case NoPermissionError() | ReadOnlyError() | OutOfMemoryError():
                raise StoreUnavailable(setting="REDIS_URL") from error
            case ResponseError() if str(error).startswith((*TEMPORARY_ERRORS, *_NO_PERMISSION)):
                raise StoreUnavailable(setting="REDIS_URL") from error
            case ResponseError() if any(words in str(error) for words in _SLOT_MOVED):
                raise StoreUnavailable(setting="REDIS_URL") from error
            case ResponseError() if is_about_invalid_data(error):
                report_invalid_data(" ".join(getattr(error, "keys", ())), error)
                raise InvalidStoredData from error


def reraise_swallowed_cancellation() -> None:
    """Raise CancelledError if redis-py has lost a cancellation of the current task.

    redis-py waits with `asyncio.wait_for`. Before Python 3.12 this function loses a cancellation if a result arrives at
    the same time.
    """
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError
