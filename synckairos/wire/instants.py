"""Instants: conversion between ms since the Unix epoch, ISO 8601 text in UTC, and `datetime` for the database."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 without a zone, its text has no +00:00
_MS = timedelta(milliseconds=1)


def render_instant(at_ms: int) -> str:
    """Render an instant as `2026-01-31T12:00:00.000Z`. It uses integers only, because a float loses precision."""
    return f"{_render_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _render_second(at_s: int) -> str:
    # A server renders the same few seconds repeatedly: the current second and those of active sessions.
    return (_NAIVE_EPOCH + timedelta(seconds=at_s)).isoformat()


def parse_instant(text: str) -> int:
    """Parse an instant to ms since the Unix epoch. Raises ValueError if it has no time zone or is malformed."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone, such as Z")
    return instant_ms(at)


def instant_ms(at: datetime) -> int:
    """Return a `datetime` as ms since the Unix epoch, without its fraction of a millisecond."""
    return (at - _EPOCH) // _MS


def to_datetime(at_ms: int) -> datetime:
    """Return an instant as a `datetime` in UTC. Raises OverflowError outside of the years 1 to 9999."""
    return _EPOCH + timedelta(milliseconds=at_ms)
