"""The local monotonic clock, and detection of times at which this machine slept.

The monotonic clock stands still while a machine sleeps, so the offset of the server's clock changes. A second clock
that continues during sleep shows this: `CLOCK_BOOTTIME` on Linux, the wall clock on other systems. If the wall clock is
set, the machine seems to have slept. This costs only one measurement, and no reading is wrong.
"""

import time
from collections.abc import Callable

MAX_WALL_STEP_S = 0.25
"""Seconds: maximum difference of the wall clock between two checks without sleep.

Time synchronization moves the wall clock by less.
"""

MAX_BOOT_STEP_S = 0.001
"""Seconds: maximum difference of `CLOCK_BOOTTIME` between two checks without sleep.

It has the same source as the monotonic clock.
"""


class SuspendAwareClock:
    """The local monotonic clock, compared with a clock that continues while the machine sleeps.

    `monotonic_s` and `continuous_s` read the two clocks, in seconds. `max_step_s` is the maximum change of their
    difference between two checks, in seconds, that does not count as sleep.
    """

    def __init__(
        self, monotonic_s: Callable[[], float], continuous_s: Callable[[], float], max_step_s: float = MAX_WALL_STEP_S
    ) -> None:
        self._monotonic_s = monotonic_s
        self._continuous_s = continuous_s
        self._max_step_s = max_step_s
        self._sleeps = 0
        self._lead_s = self._measure_lead_s()

    @classmethod
    def from_machine_clocks(cls) -> "SuspendAwareClock":
        """Return the clock of this machine."""
        boot_clock = getattr(time, "CLOCK_BOOTTIME", None)
        if boot_clock is None:
            return cls(time.monotonic, time.time)
        return cls(time.monotonic, lambda: time.clock_gettime(boot_clock), MAX_BOOT_STEP_S)

    def now_ms(self) -> float:
        """Return the time of the local monotonic clock in ms.

        It has an arbitrary start. `Sample.at_ms` is of this clock.
        """
        return self._monotonic_s() * 1000

    def detect_sleeps(self) -> int:
        """Check whether the machine has slept after the previous check. Return the number of all sleeps until now.

        When this number changes, measurements and offsets from before are no longer valid.
        """
        least_s, most_s = self._measure_lead_s()
        before_least_s, before_most_s = self._lead_s
        if least_s > before_most_s + self._max_step_s or most_s < before_least_s - self._max_step_s:
            self._sleeps += 1
        self._lead_s = least_s, most_s
        return self._sleeps

    def _measure_lead_s(self) -> tuple[float, float]:
        """Return the minimum and the maximum by which the continuous clock can be ahead of the monotonic clock, s.

        The clocks cannot be read at one instant, because this process can be interrupted between the two readings.
        """
        before_s = self._monotonic_s()
        continuous_s = self._continuous_s()
        return continuous_s - self._monotonic_s(), continuous_s - before_s
