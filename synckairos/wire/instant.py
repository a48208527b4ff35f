"""Instants as text: ISO 8601 in UTC with milliseconds, `2026-01-31T12:00:00.000Z`."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def render_instant(at_ms: int) -> str:
    """Render milliseconds since the Unix epoch."""
    seconds, ms = divmod(at_ms, 1000)
    # Whole seconds through datetime, milliseconds as text: a float in between would lose one now and then.
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def parse_instant(text: str) -> int:
    """Parse an instant to milliseconds since the Unix epoch. Raises ValueError where it isn't one with a time zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone, such as Z")
    return (at - _EPOCH) // _MS
