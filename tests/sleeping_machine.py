"""Clocks of a machine that sleeps: the monotonic clock stops during a sleep, the wall clock continues."""

import time

from synckairos_client.sleep_detecting_clock import MAX_BOOT_STEP_S, SuspendAwareClock


class SleepingMachine:
    """The clocks of this machine, changed as if it had slept for `slept_s` seconds in total."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def sleep(self, seconds: float) -> None:
        """Change the clocks as after a sleep of `seconds` seconds. The test does not wait."""
        self.slept_s += seconds

    def monotonic_ms(self) -> float:
        return (time.monotonic() - self.slept_s) * 1000

    def true_offset_ms(self) -> float:
        """Return the true offset between the wall clock and the monotonic clock in milliseconds."""
        return time.time() * 1000 - self.monotonic_ms()

    def clock(self) -> SuspendAwareClock:
        return SuspendAwareClock(lambda: self.monotonic_ms() / 1000, time.monotonic, MAX_BOOT_STEP_S)
