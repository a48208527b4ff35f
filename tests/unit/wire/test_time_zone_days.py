"""Time zones: every IANA name, and the beginning of days on which clocks are set forward or back around midnight."""

import zoneinfo
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from synckairos.wire.instants import ms_to_datetime, parse_instant_ms, render_instant
from synckairos.wire.time_zone_days import day_start_ms, local_day, parse_time_zone, time_zone_names

HOUR_MS = 3_600_000


@pytest.fixture
def machine_without_time_zones() -> Iterator[None]:
    """Hide the time zones of the operating system during a test."""
    zoneinfo.reset_tzpath(())
    parse_time_zone.cache_clear()
    yield
    zoneinfo.reset_tzpath()


def test_every_iana_name_is_a_time_zone(machine_without_time_zones: None) -> None:
    assert len(time_zone_names()) > 580
    assert {"UTC", "GMT", "Japan", "CET", "EST5EDT", "America/Argentina/Ushuaia", "Etc/GMT+5"} <= time_zone_names()
    for name in time_zone_names():
        assert parse_time_zone(name).key == name


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "japan", "../../etc/passwd", "/UTC", "UTC/", "UTC\n", "UTC+2", "zones", "America"]
)
def test_a_name_that_is_not_an_iana_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a time zone"):
        parse_time_zone(name)


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", "2026-11-20", "2026-11-20T00:00:00.000Z"),
        # British Columbia stays at UTC-7 since 2026, Alberta at UTC-6, and Morocco at UTC+0 since September of 2026.
        ("America/Vancouver", "2026-11-20", "2026-11-20T07:00:00.000Z"),
        ("Asia/Kathmandu", "2026-11-20", "2026-11-19T18:15:00.000Z"),
        # Clocks go back from 01:00 to 00:00. The day begins at the first midnight.
        ("America/Havana", "2024-11-03", "2024-11-03T04:00:00.000Z"),
        # Clocks go back from 00:01 to 23:01 of the day before.
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00.000Z"),
        # Clocks go forward from 00:00 to 01:00.
        ("America/Havana", "2024-03-10", "2024-03-10T05:00:00.000Z"),
        # Clocks go forward from 23:30 to 00:30.
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30:00.000Z"),
        # The day 2011-12-30 does not exist on Samoa. Its beginning is the beginning of 2011-12-31.
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00.000Z"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00.000Z"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00.000Z"),
    ],
)
def test_day_begins_at_its_first_instant(zone: str, day: str, start: str) -> None:
    assert render_instant(day_start_ms(date.fromisoformat(day), parse_time_zone(zone))) == start


@pytest.mark.parametrize(
    "zone", ["America/Toronto", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia", "Asia/Gaza"]
)
def test_days_follow_each_other_and_contain_their_calendar_day(zone: str) -> None:
    tz, day = parse_time_zone(zone), date(1918, 1, 1)
    start_ms = day_start_ms(day, tz)
    while day.year < 2030:
        end_ms = day_start_ms(day + timedelta(days=1), tz)
        assert 0 <= end_ms - start_ms <= 26 * HOUR_MS
        if end_ms > start_ms:
            assert local_day(ms_to_datetime(start_ms), tz) == day
            assert local_day(ms_to_datetime(start_ms - 1), tz) < day
        day, start_ms = day + timedelta(days=1), end_ms


def test_first_day_of_the_calendar_has_a_beginning() -> None:
    assert day_start_ms(date(1, 1, 2), parse_time_zone("UTC")) == parse_instant_ms("0001-01-02T00:00:00Z")
    assert (
        day_start_ms(date(1, 1, 1), parse_time_zone("Etc/GMT-9"))
        == parse_instant_ms("0001-01-01T00:00:00Z") - 9 * HOUR_MS
    )
