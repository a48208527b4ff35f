"""Calculation of the buckets of a time report: consecutive local days, weeks or months, or one bucket for the range."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from synckairos.history.records import Bucket, WeekStart
from synckairos.wire.instants import ms_to_datetime
from synckairos.wire.time_zone_days import day_start_ms, local_day


@dataclass(frozen=True, slots=True)
class TimeBuckets:
    """Names and bounds of consecutive buckets, oldest first.

    Bucket `names[i]` lasts from `bounds_ms[i]` (included) to `bounds_ms[i + 1]` (excluded), in ms since the Unix epoch.
    """

    names: tuple[str, ...]
    bounds_ms: tuple[int, ...]


_DAYS_BEFORE_MONDAY: dict[WeekStart, int] = {"monday": 0, "sunday": 1, "saturday": 2}


def build_time_buckets(
    bucket: Bucket, from_ms: int, until_ms: int, zone: ZoneInfo, week_start: WeekStart = "monday"
) -> TimeBuckets:
    """Return the buckets that cover the range from `from_ms` (included) to `until_ms` (excluded).

    The first bucket of days, weeks or months can begin before `from_ms`, and the last can end after `until_ms`.
    `from_ms` must be before `until_ms`. Names of days are like `2026-01-31`, names of months like `2026-01`, and names
    of weeks from Monday like `2026-W05`. Other weeks have the name of their first day. For `bucket="session"`, return
    one bucket with an empty name.
    """
    if bucket == "session":
        return TimeBuckets(("",), (from_ms, until_ms))
    first_day = _first_day(bucket, local_day(ms_to_datetime(from_ms), zone), week_start)
    # `until_ms` can be in an hour that clocks repeat over midnight. Its local date is then that of the old day.
    last_day = local_day(ms_to_datetime(until_ms), zone) + timedelta(days=1)
    every = _every_bucket(bucket, first_day, last_day, zone, week_start)
    # So can `from_ms`. Its local date is then that of the old day, but the new day has begun.
    begin = 1 if every.bounds_ms[1] <= from_ms else 0
    end = bisect_left(every.bounds_ms, until_ms)
    return TimeBuckets(every.names[begin:end], every.bounds_ms[begin : end + 1])


@lru_cache(maxsize=64)
def _every_bucket(
    bucket: Bucket, first_day: date, last_day: date, zone: ZoneInfo, week_start: WeekStart
) -> TimeBuckets:
    """Return the buckets that begin between two local days, both included. `first_day` must begin a bucket.

    The result is kept, because most reports have the same days, and the days of a year take a millisecond.
    """
    names: list[str] = []
    bounds_ms: list[int] = []
    day, start_ms = first_day, day_start_ms(first_day, zone)
    while day <= last_day:
        following = _following(bucket, day)
        end_ms = day_start_ms(following, zone)
        if start_ms < end_ms:  # else the day does not exist in the time zone's calendar
            names.append(_name(bucket, day, week_start))
            bounds_ms.append(start_ms)
        day, start_ms = following, end_ms
    return TimeBuckets(tuple(names), (*bounds_ms, start_ms))


def _first_day(bucket: Bucket, day: date, week_start: WeekStart) -> date:
    """Return the first day of the bucket that contains `day`."""
    match bucket:
        case "week":
            return day - timedelta(days=(day.weekday() + _DAYS_BEFORE_MONDAY[week_start]) % 7)
        case "month":
            return day.replace(day=1)
        case _:
            return day


def _following(bucket: Bucket, day: date) -> date:
    """Return the first day of the bucket after the bucket that begins on `day`."""
    match bucket:
        case "week":
            return day + timedelta(days=7)
        case "month":
            return (day + timedelta(days=31)).replace(day=1)
        case _:
            return day + timedelta(days=1)


def _name(bucket: Bucket, day: date, week_start: WeekStart) -> str:
    if bucket == "month":
        return f"{day.year:04}-{day.month:02}"
    if bucket == "day" or week_start != "monday":
        return day.isoformat()
    year, week, _ = day.isocalendar()
    return f"{year:04}-W{week:02}"
