"""Detects steps of the store's clock: an operator or a time service set it forward or back.

The store's clock decides all instants, so a step affects all sessions and the operator must learn of it. The detector
compares Redis TIME with the monotonic clock of this process, which cannot be set.
"""

MIN_STEP_MS = 1_000
"""Milliseconds: smaller jumps are ignored. Time services slew a clock by less, and drift between readings is less."""


class ClockStepDetector:
    """Compares each reading of the store's clock with the reading before."""

    def __init__(self) -> None:
        self._offset_ms: tuple[float, float] | None = None

    def observe(self, sent_at_s: float, received_at_s: float, server_ms: int) -> int:
        """Return the milliseconds by which the clock was stepped since the last reading, 0 if it was not.

        A negative step went back. `sent_at_s` and `received_at_s` are readings of this process' monotonic clock. The
        server's clock showed `server_ms` at an instant between them, so a slow reply never counts as a step.
        """
        least_ms, most_ms = server_ms - received_at_s * 1000, server_ms + 1 - sent_at_s * 1000
        before, self._offset_ms = self._offset_ms, (least_ms, most_ms)
        if before is None:
            return 0
        if least_ms - before[1] > MIN_STEP_MS or before[0] - most_ms > MIN_STEP_MS:
            return round((least_ms + most_ms - before[0] - before[1]) / 2)
        return 0
