"""Buckets of a time report: names and bounds of local days and ISO weeks."""

import pytest

from synckairos.history.records import Bucket
from synckairos.history.time_bucket_bounds import TimeBuckets, build_time_buckets
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.time_zone_days import parse_time_zone

HOUR_MS = 3_600_000


def buckets(bucket: Bucket, begin: str, hours: float, zone: str) -> TimeBuckets:
    begin_ms = parse_instant_ms(begin)
    return build_time_buckets(bucket, begin_ms, begin_ms + round(hours * HOUR_MS), parse_time_zone(zone))


def lengths(found: TimeBuckets) -> dict[str, float]:
    """Return the duration of each bucket in hours."""
    spans = zip(found.bounds_ms, found.bounds_ms[1:], strict=False)
    return {name: (end - begin) / HOUR_MS for name, (begin, end) in zip(found.names, spans, strict=True)}


@pytest.mark.parametrize(
    ("bucket", "begin", "hours", "zone", "expected"),
    [
        ("day", "2026-11-20T12:00:00Z", 1, "UTC", {"2026-11-20": 24}),
        ("day", "2026-11-20T12:00:00Z", 12, "UTC", {"2026-11-20": 24}),
        ("day", "2026-11-20T12:00:00Z", 12.001, "UTC", {"2026-11-20": 24, "2026-11-21": 24}),
        ("day", "2024-10-26T23:00:00Z", 48, "Europe/Berlin", {"2024-10-27": 25, "2024-10-28": 24}),
        ("day", "2024-03-30T23:00:00Z", 24, "Europe/Berlin", {"2024-03-31": 23, "2024-04-01": 24}),
        # At the second 23:30 the local date is the 6th, but the 7th has begun before.
        ("day", "2010-11-07T03:00:00Z", 1, "America/St_Johns", {"2010-11-07": 25}),
        # The range ends at the second 23:30.
        ("day", "2010-11-06T20:00:00Z", 7, "America/St_Johns", {"2010-11-06": 24, "2010-11-07": 25}),
        # In Samoa the 30th does not exist.
        ("day", "2011-12-29T12:00:00Z", 24, "Pacific/Apia", {"2011-12-29": 24, "2011-12-31": 24}),
        ("week", "2024-12-29T23:00:00Z", 2, "UTC", {"2024-W52": 168, "2025-W01": 168}),
        ("week", "2021-01-03T23:00:00Z", 2, "UTC", {"2020-W53": 168, "2021-W01": 168}),
        ("week", "2026-03-29T12:00:00Z", 1, "Europe/Berlin", {"2026-W13": 167}),
        ("week", "2026-10-25T12:00:00Z", 1, "Europe/Berlin", {"2026-W43": 169}),
        ("session", "2026-11-20T12:00:00Z", 7, "Europe/Berlin", {"": 7}),
    ],
)
def test_buckets_contain_the_range(
    bucket: Bucket, begin: str, hours: float, zone: str, expected: dict[str, float]
) -> None:
    found = buckets(bucket, begin, hours, zone)
    assert lengths(found) == expected
    assert found.bounds_ms[0] <= parse_instant_ms(begin) < found.bounds_ms[1]
    assert found.bounds_ms[-2] < parse_instant_ms(begin) + hours * HOUR_MS <= found.bounds_ms[-1]


def test_years_before_1000_have_four_digits() -> None:
    assert buckets("day", "0900-01-01T00:00:00Z", 1, "UTC").names == ("0900-01-01",)
    assert buckets("week", "0900-01-01T00:00:00Z", 1, "UTC").names == ("0899-W53",)
