"""Detector of steps of the Redis clock. A step happens if an operator or a time service sets the clock forward or back.

The Redis clock decides all instants, so a step affects all sessions, and the operator must be notified. The detector
compares the time of Redis with the monotonic clock of this process, which cannot be set.
"""

MIN_STEP_MS = 1_000
"""Milliseconds: the smallest step that is reported.

A time service slews a clock by less, and drift between two readings is less.
"""


class ClockStepDetector:
    """Compares each reading of the Redis clock with the previous reading of one connection."""

    def __init__(self) -> None:
        self._offset_ms: tuple[float, float] | None = None

    def detect_step(self, sent_at_s: float, received_at_s: float, server_ms: int) -> int:
        """Return the milliseconds by which the Redis clock was stepped since the previous call.

        A negative result means a step back. The result is 0 for the first call, and for a difference below
        `MIN_STEP_MS`. `sent_at_s` and `received_at_s` are readings of this process' monotonic clock in seconds. The
        caller must have read `server_ms` from the Redis clock between these readings. So a slow reply never counts as a
        step.
        """
        least_ms, most_ms = server_ms - received_at_s * 1000, server_ms + 1 - sent_at_s * 1000
        before, self._offset_ms = self._offset_ms, (least_ms, most_ms)
        if before is None:
            return 0
        if least_ms - before[1] > MIN_STEP_MS or before[0] - most_ms > MIN_STEP_MS:
            return round((least_ms + most_ms - before[0] - before[1]) / 2)
        return 0
