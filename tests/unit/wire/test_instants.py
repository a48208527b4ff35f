"""Instants as text: exact to the millisecond, and only with a time zone."""

import pytest

from synckairos.wire.instants import parse_instant_ms, render_instant


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_769_860_800_123, "2026-01-31T12:00:00.123Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_an_instant_renders_to_text_and_back(at_ms: int, text: str) -> None:
    assert render_instant(at_ms) == text
    assert parse_instant_ms(text) == at_ms


def test_each_millisecond_of_a_second_is_exact() -> None:
    instants = range(1_750_000_000_000, 1_750_000_001_000)
    assert [parse_instant_ms(render_instant(at_ms)) for at_ms in instants] == list(instants)


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00", "tomorrow", "2026-13-31T12:00:00Z", ""])
def test_a_text_without_time_zone_or_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_instant_ms(text)


def test_an_instant_with_an_offset_is_converted_to_utc() -> None:
    assert parse_instant_ms("2026-01-31T13:00:00.5+01:00") == parse_instant_ms("2026-01-31T12:00:00.500Z")
