"""Token buckets: their arithmetic."""

import math

import pytest

from synckairos.limits.token_bucket import TokenBucket


def test_full_bucket_allows_its_size_at_once_and_then_its_rate() -> None:
    bucket = TokenBucket(per_s=10, size=3)
    assert [bucket.take(1, 100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.seconds_until_available(1, 100.0) == pytest.approx(0.1)
    assert [bucket.take(1, at_s) for at_s in (100.09, 100.1, 100.15, 100.2)] == [False, True, False, True]


def test_refused_request_takes_nothing() -> None:
    bucket = TokenBucket(per_s=1, size=5)
    assert bucket.take(4, 0.0)
    assert not bucket.take(2, 0.0)
    assert bucket.tokens_left(0.0) == pytest.approx(1)
    assert bucket.take(1, 0.0)


def test_bucket_never_holds_more_than_its_size() -> None:
    bucket = TokenBucket(per_s=1, size=2)
    assert bucket.take(1, 0.0)
    bucket.return_tokens(10, 0.0)
    assert bucket.tokens_left(0.0) == bucket.tokens_left(1_000.0) == 2
    assert bucket.is_full(0.0)


def test_request_for_more_than_the_size_never_fits() -> None:
    bucket = TokenBucket(per_s=1, size=2)
    assert not bucket.take(3, 0.0)
    assert bucket.seconds_until_available(3, 0.0) == math.inf


def test_clock_set_back_closes_a_bucket_for_no_longer_than_it_takes_to_fill_it() -> None:
    bucket = TokenBucket(per_s=1, size=2)
    assert bucket.take(1, 1_000_000.0)
    assert bucket.seconds_until_available(2, 0.0) == pytest.approx(2)
    assert not bucket.take(1, 0.0)
    assert bucket.tokens_left(0.0) == 0
    assert bucket.take(1, 2.0)
