"""Parser of a time report's range: the query parameters `from` and `to` as instants, as milliseconds or as days."""

import re
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from synckairos.errors import ValidationFailed
from synckairos.wire.instants import datetime_to_ms, ms_to_datetime, parse_instant_ms
from synckairos.wire.query_parameters import TimeReportQuery
from synckairos.wire.time_zone_days import day_start_ms, parse_time_zone
from synckairos.wire.validation_faults import Fault, fault

DAY_MS = 86_400_000

DEFAULT_DAYS = 30
"""Length in days of a range without `from`."""

_MS_SINCE_EPOCH = re.compile(r"0|[0-9]{12,15}", re.ASCII)


def parse_time_range(query: TimeReportQuery, now_ms: int) -> tuple[int, int]:
    """Return the begin (included) and the end (excluded) of the range, in milliseconds since the Unix epoch.

    A day in `from` means the midnight at its begin, in the time zone `tz`. A day in `to` means the midnight at its end,
    so the whole day is in the range. The default of `to` is `now_ms`. The default of `from` is 30 times 24 hours before
    the end of the range.

    Raises: ValidationFailed if a parameter is invalid, or if `from` is after `to`.
    """
    faults = query.faults()
    try:
        zone = parse_time_zone(query.tz)
    except ValueError:
        zone = parse_time_zone("UTC")
        faults.append(fault(("tz",), "should be the name of a time zone, such as Europe/Berlin"))
    to_ms = now_ms if query.to is None else _parse_instant_or_day("to", query.to, zone, faults, add_days=1)
    from_ms = to_ms - DEFAULT_DAYS * DAY_MS
    if query.from_ is not None:
        from_ms = _parse_instant_or_day("from", query.from_, zone, faults, add_days=0)
    # If `from` and `to` are days and begin and end are equal, then `from` is the day after `to`, which is a fault. An
    # empty range between two equal instants is allowed.
    is_day_after = from_ms == to_ms and _is_day(query.from_) and _is_day(query.to)
    if not faults and (from_ms > to_ms or is_day_after):
        faults.append(fault(("from",), "should not be after to"))
    if faults:
        raise ValidationFailed(faults)
    return from_ms, to_ms


def _is_day(text: str | None) -> bool:
    return text is not None and len(text) == len("2026-01-31")


def _parse_instant_or_day(name: str, text: str, zone: ZoneInfo, faults: list[Fault], *, add_days: int) -> int:
    """Parse `text` as an instant or a day. Return milliseconds since the Unix epoch.

    A day with `add_days` 0 means the midnight at its begin, in the time zone `zone`; 1 means the midnight a day later.
    If `text` is invalid, add a fault for the query parameter `name` to `faults` and return 0.
    """
    try:
        if _is_day(text):
            return day_start_ms(date.fromisoformat(text) + timedelta(days=add_days), zone)
        if _MS_SINCE_EPOCH.fullmatch(text):
            return datetime_to_ms(ms_to_datetime(int(text)))  # the conversion raises for instants outside the calendar
        # In a query string a plus sign that is not escaped is decoded as a space.
        return parse_instant_ms(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        message = "should be an instant with a time zone, ms since 1970, or a day such as 2026-01-31"
        faults.append(fault((name,), message))
        return 0
