"""Time range of a time report: `from` and `to` as instants, as ms, or as days of a time zone, with defaults."""

import re
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from synckairos.errors import ValidationFailed
from synckairos.wire.instants import instant_ms, parse_instant, to_datetime
from synckairos.wire.query_parameters import ParticipantTimeQuery
from synckairos.wire.time_zones import day_start_ms, parse_time_zone
from synckairos.wire.validation_faults import Fault, fault

DAY_MS = 86_400_000

DEFAULT_DAYS = 30

_MS_SINCE_EPOCH = re.compile(r"0|[0-9]{12,15}", re.ASCII)


def parse_time_range(query: ParticipantTimeQuery, now_ms: int) -> tuple[int, int]:
    """Return the begin and the end of the range, in ms since the Unix epoch. The end is not included.

    A day in `from` begins at its local midnight; a day in `to` is included up to its end. The default of `to` is now,
    and the default of `from` is 30 days before the end. Raises ValidationFailed.
    """
    faults: list[Fault] = []
    try:
        zone = parse_time_zone(query.tz)
    except ValueError:
        zone = parse_time_zone("UTC")
        faults.append(fault(("tz",), "should be the name of a time zone, such as Europe/Berlin"))
    to_ms = now_ms if query.to is None else _parse_instant_or_day("to", query.to, zone, faults, add_days=1)
    from_ms = to_ms - DEFAULT_DAYS * DAY_MS
    if query.from_ is not None:
        from_ms = _parse_instant_or_day("from", query.from_, zone, faults, add_days=0)
    # If both are days and the begin equals the end, then `from` is the day after `to`. Equal instants are allowed.
    is_day_after = from_ms == to_ms and _is_day(query.from_) and _is_day(query.to)
    if not faults and (from_ms > to_ms or is_day_after):
        faults.append(fault(("from",), "should not be after to"))
    if faults:
        raise ValidationFailed(faults)
    return from_ms, to_ms


def _is_day(text: str | None) -> bool:
    return text is not None and len(text) == len("2026-01-31")


def _parse_instant_or_day(name: str, text: str, zone: ZoneInfo, faults: list[Fault], *, add_days: int) -> int:
    """Return the instant in ms, with `add_days` added if it is a day. Appends to `faults` if it is neither."""
    try:
        if _is_day(text):
            return day_start_ms(date.fromisoformat(text) + timedelta(days=add_days), zone)
        if _MS_SINCE_EPOCH.fullmatch(text):
            return instant_ms(to_datetime(int(text)))  # raises if no calendar has this instant
        # In a query string a plus sign that is not escaped is decoded as a space.
        return parse_instant(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        message = "should be an instant with a time zone, ms since 1970, or a day such as 2026-01-31"
        faults.append(fault((name,), message))
        return 0
