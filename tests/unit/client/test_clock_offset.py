"""The offset of the server's clock and its maximum error, with simulated networks and clocks."""

import math
import random
from collections.abc import Callable

import pytest

from synckairos_client.clock_offset import MAX_DRIFT, MAX_SAMPLES, Sample, ServerClock


def server_clock(chance: random.Random) -> Callable[[float], float]:
    """Return a simulated clock with a random offset, and a random drift within the limit."""
    offset, drift = chance.uniform(-1e9, 1e9), chance.uniform(-MAX_DRIFT, MAX_DRIFT)
    return lambda at_ms: at_ms + offset + at_ms * drift


@pytest.mark.parametrize("seed", range(200))
def test_maximum_error_is_not_less_than_the_true_error_for_any_delay_and_drift(seed: int) -> None:
    chance = random.Random(seed)
    server, clock, now = server_clock(chance), ServerClock(), 0.0
    for _ in range(3 * MAX_SAMPLES):
        came, left = now + chance.uniform(0, 300), now + 300 + chance.choice([0, 40])
        back = left + chance.uniform(0, 300)
        sample = Sample.from_ping(now, math.floor(server(came)), math.floor(server(left)), back)
        clock.add_sample(sample)
        assert abs(server(back) - back - sample.offset_ms) <= sample.error_ms
        now = back + chance.uniform(0, 10_000)
        assert abs(server(now) - clock.now_ms(now)) <= clock.error_ms(now)


def test_sample_with_the_shortest_round_trip_is_used() -> None:
    clock = ServerClock()
    clock.add_sample(Sample.from_ping(0, 1_100, 1_100, 300))
    clock.add_sample(Sample.from_ping(400, 1_405, 1_405, 410))
    clock.add_sample(Sample.from_ping(500, 1_700, 1_700, 750))
    assert clock.best_sample(750).at_ms == 410
    assert clock.error_ms(750) == pytest.approx(5.5 + 350 * MAX_DRIFT)


def test_newer_sample_is_used_after_an_older_sample_has_drifted() -> None:
    clock = ServerClock()
    clock.add_sample(Sample.from_ping(0, 1_005, 1_005, 10))
    clock.add_sample(Sample.from_ping(600_000, 601_020, 601_020, 600_040))
    assert clock.best_sample(600_040).at_ms == 600_040


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_sample_that_contradicts_the_others_replaces_them(step_ms: int) -> None:
    clock = ServerClock()
    clock.add_sample(Sample.from_ping(0, 5, 5, 10))
    clock.add_sample(Sample.from_ping(100, 150 + step_ms, 150 + step_ms, 200))
    assert abs(clock.now_ms(200) - (200 + step_ms)) <= clock.error_ms(200)


def test_time_is_unknown_before_the_first_sample() -> None:
    clock = ServerClock()
    assert not clock.is_known
    assert clock.error_ms(0) == math.inf
    with pytest.raises(ValueError, match="empty"):
        clock.now_ms(0)
