"""Periods that people ask hours for: instants, or days of a time zone, and what is meant where nothing is said."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from synckairos.errors import ValidationFailed
from synckairos.wire.instants import instant_ms, parse_instant, to_datetime
from synckairos.wire.query_parameters import ParticipantTimeQuery
from synckairos.wire.validation_faults import Fault, fault

DAY_MS = 86_400_000

DEFAULT_DAYS = 30

_SINCE_EPOCH = re.compile(r"0|[0-9]{12,15}", re.ASCII)


def parse_time_range(query: ParticipantTimeQuery, now_ms: int) -> tuple[int, int]:
    """Return the beginning and end of what is asked for, in ms since the Unix epoch, the end not included.

    A day as `from` begins, a day as `to` ends at that day's local midnight. Without `to` it is now, without `from` 30
    days before the end. Raises ValidationFailed.
    """
    faults: list[Fault] = []
    zone: tzinfo = UTC
    try:
        zone = ZoneInfo(query.tz)
    except (ValueError, OSError, KeyError):
        faults.append(fault(("tz",), "should be the name of a time zone, such as Europe/Berlin"))
    to_ms = _instant("to", query.to, zone, faults, 1) if query.to is not None else now_ms
    from_ms = to_ms - DEFAULT_DAYS * DAY_MS
    if query.from_ is not None:
        from_ms = _instant("from", query.from_, zone, faults, 0)
    # A day that begins where the last one ended is after it; an instant isn't.
    is_beyond = from_ms == to_ms and _is_day(query.from_) and _is_day(query.to)
    if not faults and (from_ms > to_ms or is_beyond):
        faults.append(fault(("from",), "should not be after to"))
    if faults:
        raise ValidationFailed(faults)
    return from_ms, to_ms


def _is_day(text: str | None) -> bool:
    return text is not None and len(text) == len("2026-01-31")


def _instant(name: str, text: str, zone: tzinfo, faults: list[Fault], days: int) -> int:
    try:
        if _is_day(text):
            day = datetime.combine(date.fromisoformat(text) + timedelta(days=days), time(), zone)
            return int(day.timestamp() * 1000)
        if _SINCE_EPOCH.fullmatch(text):
            return instant_ms(to_datetime(int(text)))  # which no calendar may have
        # A plus sign in a query string that nobody escaped has become a blank.
        return parse_instant(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        faults.append(fault((name,), "should be an instant with a time zone, or in ms, or a day such as 2026-01-31"))
        return 0
