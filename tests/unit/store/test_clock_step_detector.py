"""The detector of clock steps: it reports each step, but neither drift nor a slow reply."""

import pytest

from synckairos.store.clock_step_detector import ClockStepDetector

HOUR_MS = 3_600_000


def test_first_reading_is_not_a_step() -> None:
    assert ClockStepDetector().detect_step(5.0, 5.1, HOUR_MS) == 0


@pytest.mark.parametrize(
    ("server_ms", "step_ms"),
    [
        (HOUR_MS + 2_000, 0),  # the same time has passed on both clocks
        (HOUR_MS + 2_900, 0),  # the clock was slewed, not stepped
        (HOUR_MS + 1_100, 0),
        (HOUR_MS + 32_000, 30_000),
        (HOUR_MS - 28_000, -30_000),
    ],
)
def test_jump_beyond_drift_and_round_trips_is_a_step(server_ms: int, step_ms: int) -> None:
    detector = ClockStepDetector()
    detector.detect_step(10.0, 10.010, HOUR_MS)
    assert detector.detect_step(12.0, 12.010, server_ms) == step_ms


def test_slow_reply_is_not_a_step() -> None:
    detector = ClockStepDetector()
    detector.detect_step(10.0, 10.001, HOUR_MS)
    assert detector.detect_step(10.5, 15.5, HOUR_MS + 500) == 0  # the clock was read at the beginning of the round trip
    assert detector.detect_step(16.0, 21.0, HOUR_MS + 11_000) == 0  # the clock was read at the end of the round trip


def test_step_is_reported_once() -> None:
    detector = ClockStepDetector()
    for at_s, server_ms in ((1.0, 1_000), (2.0, 62_000), (3.0, 63_000)):
        step_ms = detector.detect_step(at_s, at_s, server_ms)
        assert step_ms == (60_000 if at_s == 2.0 else 0)
