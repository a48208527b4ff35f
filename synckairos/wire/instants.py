"""Instants: milliseconds since the Unix epoch here, elsewhere text (ISO 8601 in UTC) or a database's own values."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_HERE = datetime(1970, 1, 1)  # noqa: DTZ001 without a zone its text has no +00:00 to cut off
_MS = timedelta(milliseconds=1)


def render_instant(at_ms: int) -> str:
    """Render an instant as `2026-01-31T12:00:00.000Z`. Integers all the way: a float would lose some."""
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
    return instant_ms(at)


def instant_ms(at: datetime) -> int:
    """Return a database's instant as ours; what is beyond a millisecond is cut off."""
    return (at - _EPOCH) // _MS


def to_datetime(at_ms: int) -> datetime:
    """Return an instant as databases have it, in UTC. Raises OverflowError for one that no calendar has."""
    return _EPOCH + timedelta(milliseconds=at_ms)
