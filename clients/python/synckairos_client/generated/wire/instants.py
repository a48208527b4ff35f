# Generated from synckairos.wire.instants by `make python-client`. Do not edit.
"""Instants: conversion between ms since the Unix epoch, ISO 8601 text in UTC, and `datetime` for Postgres."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 without a zone, its text has no +00:00
_MS = timedelta(milliseconds=1)


def render_instant(at_ms: int) -> str:
    """Render an instant in ms since the Unix epoch as `2026-01-31T12:00:00.000Z`.

    Only integers are used, because a float loses precision.
    """
    return f"{_render_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _render_second(at_s: int) -> str:
    # A server renders the same few seconds repeatedly: the current second, and the instants of active sessions.
    return (_NAIVE_EPOCH + timedelta(seconds=at_s)).isoformat()


def parse_instant_ms(text: str) -> int:
    """Parse the ISO 8601 text of an instant to ms since the Unix epoch, rounded down to a whole millisecond.

    Raises: ValueError if the text has no time zone or is malformed.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone, such as Z")
    return datetime_to_ms(at)


def datetime_to_ms(at: datetime) -> int:
    """Return a `datetime` as ms since the Unix epoch, rounded down to a whole millisecond.

    `at` must have a time zone.
    """
    return (at - _EPOCH) // _MS


def ms_to_datetime(at_ms: int) -> datetime:
    """Return an instant in ms since the Unix epoch as a `datetime` in UTC.

    Raises: OverflowError if the year is outside of 1 to 9999.
    """
    return _EPOCH + timedelta(milliseconds=at_ms)
