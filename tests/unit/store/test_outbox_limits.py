"""Limits of the outbox: their share for each partition, and the fullness of a partition."""

import pytest

from synckairos.config import Settings
from synckairos.store.outbox_limits import UNLIMITED, OutboxLimits


def test_each_partition_gets_an_equal_part_of_the_limits() -> None:
    settings = Settings(partitions=4, outbox_max_entries=1000, outbox_max_bytes=3, outbox_max_age_s=7)
    assert OutboxLimits.from_settings(settings) == OutboxLimits(entries=250, bytes=1, age_ms=7_000)
    assert OutboxLimits.from_settings(Settings()) == OutboxLimits(entries=2_000_000, bytes=2 << 30, age_ms=None)


@pytest.mark.parametrize(
    ("limits", "found", "fullness"),
    [
        (UNLIMITED, (10**9, 10**12, 10**9), 0.0),
        (OutboxLimits(10, 100, 1000), (0, 0, 0), 0.0),
        (OutboxLimits(10, 100, 1000), (5, 10, 100), 0.5),
        (OutboxLimits(10, 100, 1000), (5, 80, 100), 0.8),
        (OutboxLimits(10, 100, 1000), (5, 80, 1100), 1.1),
        (OutboxLimits(10, 100), (5, 10, 10**9), 0.5),
    ],
)
def test_fullness_is_the_largest_used_share(limits: OutboxLimits, found: tuple[int, int, int], fullness: float) -> None:
    assert limits.fullness(*found) == fullness


def test_default_limits_hold_ten_minutes_of_commits_without_postgres() -> None:
    changes = 300 * 600
    assert OutboxLimits.from_settings(Settings()).fullness(changes, changes * 11_000, 600_000) < 1


def test_script_arguments_are_empty_without_limits() -> None:
    assert UNLIMITED.script_arguments() == ("", "", "")
    assert OutboxLimits(1, 2, 3).script_arguments() == (1, 2, 3)
