"""The local clock: each sleep is detected, even a short sleep and a sleep during a check.

Other differences are ignored.
"""

import time
from collections.abc import Callable

import pytest

from synckairos_client.sleep_detecting_clock import MAX_BOOT_STEP_S, MAX_WALL_STEP_S, SuspendAwareClock


class Clocks:
    """Two clocks that a test sets, in seconds. `between_reads` is called before each read of a clock."""

    def __init__(self) -> None:
        self.monotonic = 1_000.0
        self.other = 1_764_000_000.0
        self.between_reads: Callable[[], None] = lambda: None

    def pass_time(self, seconds: float) -> None:
        self.monotonic += seconds
        self.other += seconds

    def local_clock(self, max_step_s: float) -> SuspendAwareClock:
        def monotonic() -> float:
            self.between_reads()
            return self.monotonic

        def other() -> float:
            self.between_reads()
            return self.other

        return SuspendAwareClock(monotonic, other, max_step_s)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.mark.parametrize("max_step_s", [MAX_BOOT_STEP_S, MAX_WALL_STEP_S])
def test_each_sleep_is_counted_once(clocks: Clocks, max_step_s: float) -> None:
    clock = clocks.local_clock(max_step_s)
    for sleeps, slept_s in enumerate((600.0, 1.0, 86_400.0), start=1):
        clocks.pass_time(30)
        assert clock.detect_sleeps() == sleeps - 1
        clocks.other += slept_s
        assert clock.detect_sleeps() == sleeps
        clocks.pass_time(3_600)
        assert clock.detect_sleeps() == sleeps
        assert clock.now_ms() == clocks.monotonic * 1000


def test_slow_correction_of_the_wall_clock_does_not_count_as_sleep(clocks: Clocks) -> None:
    clock = clocks.local_clock(MAX_WALL_STEP_S)
    for _ in range(1_000):
        clocks.pass_time(10)
        clocks.other += 10 * 0.0005
        assert clock.detect_sleeps() == 0


@pytest.mark.parametrize("step_s", [-3_600.0, -0.3, 0.3, 3_600.0])
def test_wall_clock_that_is_set_counts_as_one_sleep(clocks: Clocks, step_s: float) -> None:
    clock = clocks.local_clock(MAX_WALL_STEP_S)
    clocks.other += step_s
    assert [clock.detect_sleeps() for _ in range(3)] == [1, 1, 1]


def test_interruption_between_two_reads_does_not_count_as_sleep(clocks: Clocks) -> None:
    clocks.between_reads = lambda: clocks.pass_time(0.7)
    clock = clocks.local_clock(MAX_BOOT_STEP_S)
    assert clock.detect_sleeps() == 0
    clocks.between_reads = lambda: None
    assert clock.detect_sleeps() == 0


@pytest.mark.parametrize("read", [1, 2, 3])
def test_sleep_between_two_reads_is_counted(clocks: Clocks, read: int) -> None:
    clock = clocks.local_clock(MAX_BOOT_STEP_S)
    reads = 0

    def sleep_at_one_read() -> None:
        nonlocal reads
        reads += 1
        if reads == read:
            clocks.other += 600

    clocks.between_reads = sleep_at_one_read
    clock.detect_sleeps()
    assert clock.detect_sleeps() == 1


def test_machine_that_does_not_sleep_has_no_sleeps() -> None:
    clock = SuspendAwareClock.from_machine_clocks()
    before_ms = time.monotonic() * 1000
    assert before_ms <= clock.now_ms() <= time.monotonic() * 1000
    assert [clock.detect_sleeps() for _ in range(1_000)] == [0] * 1_000
