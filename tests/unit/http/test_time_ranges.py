"""Time ranges of a time report: defaults, days of a time zone, instants and faults."""

import pytest

from synckairos.errors import ValidationFailed
from synckairos.http.time_ranges import DAY_MS, parse_time_range
from synckairos.wire.instants import parse_instant_ms
from synckairos.wire.query_parameters import ParticipantTimeQuery, parse_query

# -- periods ----------------------------------------------------------------------------------------------------------

NOW_MS = parse_instant_ms("2026-03-29T12:00:00.000Z")


def time_range(query: bytes) -> tuple[int, int]:
    return parse_time_range(parse_query(ParticipantTimeQuery, query), NOW_MS)


def test_range_without_parameters_is_the_last_30_days() -> None:
    assert time_range(b"") == (NOW_MS - 30 * DAY_MS, NOW_MS)


def test_range_is_bounded_by_instants_ms_or_local_days() -> None:
    assert time_range(b"from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00%2B01:00") == (
        parse_instant_ms("2026-01-01T00:00:00Z"),
        parse_instant_ms("2026-01-01T00:00:00Z"),
    )
    assert time_range(b"from=0&to=1767225600000") == (0, parse_instant_ms("2026-01-01T00:00:00Z"))
    # In Berlin, clocks are set forward on this day, so the day has 23 hours.
    began, ended = time_range(b"from=2026-03-29&to=2026-03-29&tz=Europe/Berlin")
    assert (began, ended - began) == (parse_instant_ms("2026-03-28T23:00:00Z"), 23 * 3_600_000)


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        (b"from=2026-02-30", ["from"]),
        (b"from=20260230&to=999999999999999", ["to", "from"]),
        (b"from=yesterday&to=2026-01-01T00:00:00&tz=Mars/Base", ["tz", "to", "from"]),
        (b"from=2026-01-02&to=2026-01-01T00:00:00Z", ["from"]),
        (b"from=2026-01-02&to=2026-01-01", ["from"]),
        (b"to=9999-12-31", ["to"]),
        (b"tz=../../etc/passwd", ["tz"]),
    ],
)
def test_invalid_range_is_refused_with_the_paths_of_all_faults(query: bytes, paths: list[str]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        time_range(query)
    assert [fault["path"] for fault in refused.value.details] == paths
