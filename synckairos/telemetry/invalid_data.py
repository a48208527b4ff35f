"""Invalid data in a store: reported with its key, counted, and raised as one error.

Other programs and faults can write any data to a key, a channel or a row. So all code that parses stored bytes runs
inside `reporting_invalid_data`. The caller of that code drops the data or refuses one request, and no loop ends.
"""

import re
from collections.abc import Iterable

from msgspec import MsgspecError

from synckairos.errors import InvalidStoredData
from synckairos.telemetry import log
from synckairos.telemetry.metrics import INVALID_STORED_DATA
from synckairos.telemetry.outages import LogThrottle

PARSE_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MsgspecError)
"""The errors that parsing of invalid bytes can raise."""

KINDS = frozenset(
    {
        *("session", "history", "commands", "feed", "presence", "reserved", "stream", "ticket", "members"),
        *("recent", "digest", "rows"),
        *("aside-lists", "aside-events", "deadlines", "live", "generation", "recovery", "outbox", "store", "wake"),
        *("fence", "copy"),
        *(
            "instances",
            "changes",
            "told",
            "position",
            "entries",
            "added",
            "queue",
            "sync_events",
            "sync_signing_keys",
            "sync_credentials",
            "sync_members",
            "jobs",
            "webhooks",
            "other",
        ),
    }
)
"""The values of the metric label `kind`.

A value is the part of a Redis key after the partition, or the name of a Postgres table.
"""

MAX_TEXT = 200
"""Maximum number of characters of a key or a cause in a log line."""

logger = log.get_logger(__name__)

_KIND = re.compile(r"(?:.*\}:|[^:{]*:)?([a-z_-]+)", re.DOTALL)
_quiet: dict[str, LogThrottle] = {}


def report_invalid_data(key: str | bytes, cause: object) -> None:
    """Count invalid data in the metrics, and log its key and cause.

    At most one log line per minute for each kind of key.
    """
    text = key.decode(errors="backslashreplace") if isinstance(key, bytes) else key
    kind = redis_key_kind(text)
    INVALID_STORED_DATA.labels(kind).inc()
    if (more_before := _quiet.setdefault(kind, LogThrottle()).allow_next_line()) is not None:
        reason = f"{type(cause).__name__}: {cause}" if isinstance(cause, Exception) else str(cause)
        logger.warning("stored data is invalid", key=_shorten(text), cause=_shorten(reason), more_before=more_before)


def report_dropped_keys(keys: Iterable[bytes]) -> None:
    """Report each of the keys as invalid data that was removed.

    Called after a Lua script has removed the keys, because it could not use their data.
    """
    for key in keys:
        report_invalid_data(key, "the data had another type or format, so the key was dropped")


def redis_key_kind(key: str) -> str:
    """Return the kind of a key, such as `session` for `sk:{0}:session:<id>`. The kind of an unknown key is `other`."""
    found = _KIND.match(key)
    kind = found[1] if found else "other"
    if kind.endswith("-queue"):
        return "queue"
    return kind if kind in KINDS else "other"


class reporting_invalid_data:  # noqa: N801  used like a function; a generator would be too slow for the hot path
    """Context manager for code that parses the data of one key.

    If the block raises one of `PARSE_ERRORS`, report the key as invalid data and raise InvalidStoredData instead. All
    other exceptions pass unchanged.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None and isinstance(error, PARSE_ERRORS):
            report_invalid_data(self._key, error)
            raise InvalidStoredData from error


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
