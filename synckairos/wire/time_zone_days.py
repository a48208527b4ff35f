"""Time zones by their IANA names, and the instants at which their days begin. All data is from the package `tzdata`.

The operating system and Postgres have time-zone databases of other versions, which can differ. If all days in an answer
come from one database, the days do not overlap and leave no gap.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_MS = timedelta(milliseconds=1)


@cache
def time_zone_names() -> frozenset[str]:
    """Return the names of all time zones, including aliases such as `Japan`."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split())


@cache
def parse_time_zone(name: str) -> ZoneInfo:
    """Return the time zone with this IANA name.

    Raises: ValueError if there is no such time zone.
    """
    if name not in time_zone_names():
        raise ValueError(f"{name!r} is not the name of a time zone")
    with resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, name)


def day_start_ms(day: date, zone: ZoneInfo) -> int:
    """Return the instant at which a day begins in a time zone, ms since the Unix epoch.

    If midnight occurs twice, the day begins at the first midnight. If the clocks skip midnight, the day begins when the
    clocks are set forward.
    """
    midnight = datetime.combine(day, time(), zone)
    # The two values of `fold` give the offsets before and after a change of the offset. Without a change they give the
    # same offset (PEP 495).
    earlier, later = midnight.utcoffset(), midnight.replace(fold=1).utcoffset()
    assert earlier is not None
    assert later is not None
    days = timedelta(day.toordinal() - _EPOCH_DAY)
    if earlier >= later:
        return (days - earlier) // _MS
    # The clocks skip midnight. The change is between the two instants that the offsets give, so search for its second.
    before, start = days - later, days - earlier
    while (gap := start - before) > timedelta(seconds=1):
        middle = before + timedelta(seconds=gap // timedelta(seconds=2))
        if local_day(_EPOCH + middle, zone) < day:
            before = middle
        else:
            start = middle
    return start // _MS


def local_day(at: datetime, zone: ZoneInfo) -> date:
    """Return the date that calendars in `zone` show at the instant `at`. `at` must have a time zone, of any name."""
    return at.astimezone(zone).date()
