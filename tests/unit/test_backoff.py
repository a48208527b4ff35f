"""Delays between attempts: full jitter up to a maximum that doubles, and schedules of retries."""

import random

import pytest

from synckairos.backoff import Backoff, RetrySchedule


class Maximum(random.Random):
    """A source of random numbers that always returns the maximum."""

    def random(self) -> float:
        return 1.0


def test_limit_doubles_with_each_failure_up_to_the_longest_delay() -> None:
    backoff = Backoff(1, 5, rng=Maximum())
    assert [backoff.next_s() for _ in range(5)] == [1, 2, 4, 5, 5]


def test_reset_begins_with_the_first_delay() -> None:
    backoff = Backoff(1, 8, rng=Maximum())
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 1


def test_first_delay_is_at_most_the_longest() -> None:
    assert Backoff(1, 0.01, rng=Maximum()).next_s() == 0.01


@pytest.mark.parametrize(("lasted_s", "delay_s"), [(0, 2), (16, 2), (16.1, 1)])
def test_run_longer_than_twice_the_longest_delay_counts_as_a_success(lasted_s: float, delay_s: float) -> None:
    backoff = Backoff(1, 8, rng=Maximum())
    backoff.next_s()
    assert backoff.delay_after_run_s(lasted_s) == delay_s


def test_delays_of_many_clients_cover_the_whole_span() -> None:
    delays_s = [Backoff(1, 8, rng=random.Random(seed)).next_s() for seed in range(1_000)]
    assert 0 <= min(delays_s) < 0.01
    assert 0.99 < max(delays_s) <= 1


def test_schedule_has_one_delay_for_each_retry_and_then_gives_up() -> None:
    schedule = RetrySchedule((2, 4))
    assert [schedule.delay_s(retries) for retries in range(3)] == [2, 4, None]
    assert RetrySchedule(()).delay_s(0) is None


def test_jitter_only_extends_a_scheduled_delay() -> None:
    delays_s = [RetrySchedule((10,), jitter=0.2, rng=random.Random(seed)).delay_s(0) for seed in range(1_000)]
    assert all(delay_s is not None and 10 <= delay_s <= 12 for delay_s in delays_s)
    assert RetrySchedule((10,), jitter=0.2, rng=Maximum()).delay_s(0) == 12
