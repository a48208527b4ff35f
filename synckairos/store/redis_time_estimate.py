"""Estimates Redis TIME without a round trip, from samples that the feed's heartbeats take.

For timestamps that are shown, such as those of frames and PONGs. Decisions use Redis TIME itself.
"""

import time
from collections import deque

from msgspec import Struct

SAMPLES = 8
"""Number of the newest samples that are kept."""

DRIFT = 1e-4
"""Milliseconds per millisecond that two clocks can drift apart: twice the error of a poor quartz."""


class _Sample(Struct, frozen=True):
    at_s: float
    round_trip_ms: float
    offset_ms: float


class ServerTime:
    """Redis TIME as an offset to this process' monotonic clock, from the sample with the shortest round trip.

    The error is at most half of that round trip, plus the drift of the clocks since the sample.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        # This machine's clock is the best estimate before the first answer of Redis.
        self._offset_ms = (time.time() - time.monotonic()) * 1000
        self._best: _Sample | None = None

    @property
    def error_ms(self) -> float:
        """Return the largest error of the estimate in ms, in both directions; infinite before the first sample.

        `now_ms` then rounds down to whole milliseconds.
        """
        best = self._best
        if best is None:
            return float("inf")
        return best.round_trip_ms / 2 + (time.monotonic() - best.at_s) * 1000 * DRIFT

    def now_ms(self) -> int:
        """Return the estimated Redis TIME in whole ms since the Unix epoch."""
        return int(time.monotonic() * 1000 + self._offset_ms)

    def add_sample(self, sent_s: float, received_s: float, server_ms: float) -> None:
        """Use one answer of Redis: `time.monotonic()` when it was requested and received, and its TIME in ms."""
        new = _Sample(received_s, (received_s - sent_s) * 1000, server_ms - (sent_s + received_s) * 500)
        # A sample that contradicts the older samples means that a clock was stepped. The new sample is right.
        if any(
            abs(new.offset_ms - old.offset_ms) > (new.round_trip_ms + old.round_trip_ms) / 2 + 1
            for old in self._samples
        ):
            self._samples.clear()
        self._samples.append(new)
        self._best = min(self._samples, key=lambda sample: sample.round_trip_ms)
        self._offset_ms = self._best.offset_ms
