"""A machine that sleeps, as its clocks show it: the monotonic clock stands still, the other one continues."""

import time

from synckairos.client.suspend_aware_clock import MAX_BOOT_STEP_S, LocalClock


class SleepingMachine:
    """The clocks of this machine, as if it had slept for `slept_s` in total."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def sleep(self, seconds: float) -> None:
        """Let the machine sleep and wake up. The test does not wait."""
        self.slept_s += seconds

    def monotonic_ms(self) -> float:
        return (time.monotonic() - self.slept_s) * 1000

    def true_offset_ms(self) -> float:
        """Return the true offset of the wall clock to the monotonic clock, ms."""
        return time.time() * 1000 - self.monotonic_ms()

    def clock(self) -> LocalClock:
        return LocalClock(lambda: self.monotonic_ms() / 1000, time.monotonic, MAX_BOOT_STEP_S)
