"""Steps of the store's clock: it decides everything, so whoever sets it is told that everybody noticed.

Seen by holding Redis TIME against this process' monotonic clock, which nobody can set.
"""

STEP_MS = 1_000
"""Jumps up to this much aren't told: clocks are disciplined by less, and a drift between two looks is far below."""


class ClockStepDetector:
    """Compares each reading of the store's clock with the one before."""

    def __init__(self) -> None:
        self._offset_ms: tuple[float, float] | None = None

    def see(self, asked_at_s: float, answered_at_s: float, server_ms: int) -> int:
        """Take one reading into account and return by how many ms the clock jumped since the last, 0 where it didn't.

        Below 0 it went back. `asked_at_s` and `answered_at_s` are this process' monotonic clock; between the two it was
        `server_ms` there, so that a slow answer is never taken for a jump.
        """
        least_ms, most_ms = server_ms - answered_at_s * 1000, server_ms + 1 - asked_at_s * 1000
        before, self._offset_ms = self._offset_ms, (least_ms, most_ms)
        if before is None:
            return 0
        if least_ms - before[1] > STEP_MS or before[0] - most_ms > STEP_MS:
            return round((least_ms + most_ms - before[0] - before[1]) / 2)
        return 0
