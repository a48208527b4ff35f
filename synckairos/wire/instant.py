"""Instants as text: ISO 8601 in UTC with milliseconds, `2026-01-31T12:00:00.000Z`."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_HERE = datetime(1970, 1, 1)  # noqa: DTZ001 without a zone its text has no +00:00 to cut off
_MS = timedelta(milliseconds=1)


def render_instant(at_ms: int) -> str:
    """Render milliseconds since the Unix epoch. Integers all the way: a float would lose a millisecond now and then."""
    return f"{_render_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _render_second(at_s: int) -> str:
    # A server renders the same few seconds over and over: now, and those of the sessions at hand.
    return (_EPOCH_HERE + timedelta(seconds=at_s)).isoformat()


def parse_instant(text: str) -> int:
    """Parse an instant to milliseconds since the Unix epoch. Raises ValueError where it isn't one with a time zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone, such as Z")
    return (at - _EPOCH) // _MS
