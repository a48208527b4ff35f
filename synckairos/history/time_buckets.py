"""Buckets of a time report: local days or ISO weeks in sequence, or one bucket for the whole range."""

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from synckairos.history.records import Bucket
from synckairos.wire.instants import to_datetime
from synckairos.wire.time_zones import day_start_ms, local_day


@dataclass(frozen=True, slots=True)
class TimeBuckets:
    """The names of buckets, and their bounds in ms since the Unix epoch: one bound more than names, in order."""

    names: tuple[str, ...]
    bounds_ms: tuple[int, ...]


def build_time_buckets(bucket: Bucket, from_ms: int, until_ms: int, zone: ZoneInfo) -> TimeBuckets:
    """Return the buckets that contain [from_ms, until_ms). `from_ms` is before `until_ms`.

    A day is named like `2026-01-31`, a week like `2026-W05`. The one bucket of sessions has no name.
    """
    if bucket == "session":
        return TimeBuckets(("",), (from_ms, until_ms))
    day, days = local_day(to_datetime(from_ms), zone), 1
    if bucket == "week":
        day, days = day - timedelta(days=day.weekday()), 7
    names: list[str] = []
    bounds_ms: list[int] = []
    start_ms = day_start_ms(day, zone)
    while start_ms < until_ms:
        following = day + timedelta(days=days)
        end_ms = day_start_ms(following, zone)
        # Skip a day that the calendar of the zone leaves out. Skip also the day before, if `from_ms` is in an hour that
        # clocks repeat over midnight: the date is then the old one, but the new day has begun.
        if max(start_ms, from_ms) < end_ms:
            names.append(_name(bucket, day))
            bounds_ms.append(start_ms)
        day, start_ms = following, end_ms
    return TimeBuckets(tuple(names), (*bounds_ms, start_ms))


def _name(bucket: Bucket, day: date) -> str:
    if bucket == "day":
        return day.isoformat()
    year, week, _ = day.isocalendar()
    return f"{year:04}-W{week:02}"
