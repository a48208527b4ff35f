"""Instants as text: ISO 8601 in UTC with milliseconds, `2026-01-31T12:00:00.000Z`."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_HERE = datetime(1970, 1, 1)  # noqa: DTZ001 without a zone its text has no +00:00 to cut off
_MS = timedelta(milliseconds=1)


def render_instant(at_ms: int) -> str:
    """Render milliseconds since the Unix epoch. Integers all the way: a float would lose a millisecond now and then."""
    return (_EPOCH_HERE + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds") + "Z"


def parse_instant(text: str) -> int:
    """Parse an instant to milliseconds since the Unix epoch. Raises ValueError where it isn't one with a time zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone, such as Z")
    return (at - _EPOCH) // _MS
