"""Whether a store's clock was set is told from what a slow answer can't be mistaken for."""

import pytest

from synckairos.store.clock_step_detector import ClockStepDetector

HOUR_MS = 3_600_000


def test_the_first_reading_is_no_step() -> None:
    assert ClockStepDetector().observe(5.0, 5.1, HOUR_MS) == 0


@pytest.mark.parametrize(
    ("server_ms", "told"),
    [
        (HOUR_MS + 2_000, 0),  # as much time went by as here
        (HOUR_MS + 2_900, 0),  # disciplined, not set
        (HOUR_MS + 1_100, 0),
        (HOUR_MS + 32_000, 30_000),
        (HOUR_MS - 28_000, -30_000),
    ],
)
def test_a_step_is_what_goes_beyond_both_round_trips(server_ms: int, told: int) -> None:
    watch = ClockStepDetector()
    watch.observe(10.0, 10.010, HOUR_MS)
    assert watch.observe(12.0, 12.010, server_ms) == told


def test_a_slow_answer_is_no_step() -> None:
    watch = ClockStepDetector()
    watch.observe(10.0, 10.001, HOUR_MS)
    assert watch.observe(10.5, 15.5, HOUR_MS + 500) == 0  # read at once, answered late
    assert watch.observe(16.0, 21.0, HOUR_MS + 11_000) == 0  # read just before it was answered


def test_a_step_is_told_once() -> None:
    watch = ClockStepDetector()
    for at_s, server_ms in ((1.0, 1_000), (2.0, 62_000), (3.0, 63_000)):
        told = watch.observe(at_s, at_s, server_ms)
        assert told == (60_000 if at_s == 2.0 else 0)
