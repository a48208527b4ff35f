"""Estimate of the time of Redis without a round trip, from samples that the heartbeats of the feed measure.

The estimate is for instants that are only shown, such as those in frames and PONGs. Decisions use the time of Redis
itself.
"""

import time
from collections import deque

from msgspec import Struct

SAMPLES = 8
"""Number of samples that are kept, the newest."""

DRIFT = 1e-4
"""Milliseconds per millisecond by which two clocks can drift apart: twice the error of a poor quartz."""


class _Sample(Struct, frozen=True):
    at_s: float
    round_trip_ms: float
    offset_ms: float


class ServerTime:
    """Estimate of the time of Redis, as an offset to the monotonic clock of this process.

    The offset is from the sample with the shortest round trip. The error is at most half of that round trip, plus the
    drift of the clocks since the sample.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        # Before the first reply of Redis, the clock of this machine is the best estimate.
        self._offset_ms = (time.time() - time.monotonic()) * 1000
        self._best: _Sample | None = None

    @property
    def error_ms(self) -> float:
        """Return the maximum error of the estimate in ms, in both directions. It is infinite before the first sample.

        `now_ms` also rounds down to whole milliseconds.
        """
        best = self._best
        if best is None:
            return float("inf")
        return best.round_trip_ms / 2 + (time.monotonic() - best.at_s) * 1000 * DRIFT

    def now_ms(self) -> int:
        """Return the estimated time of Redis in whole ms since the Unix epoch.

        Before the first sample, the estimate is the clock of this machine.
        """
        return int(time.monotonic() * 1000 + self._offset_ms)

    def add_sample(self, sent_s: float, received_s: float, server_ms: float) -> None:
        """Add a sample: a request at `sent_s` and its reply at `received_s`, both by `time.monotonic()` in seconds.

        `server_ms` is the time of Redis in the reply, ms since the Unix epoch.
        """
        new = _Sample(received_s, (received_s - sent_s) * 1000, server_ms - (sent_s + received_s) * 500)
        # If a sample contradicts the older samples, a clock was stepped. Then only the new sample is kept.
        if any(
            abs(new.offset_ms - old.offset_ms) > (new.round_trip_ms + old.round_trip_ms) / 2 + 1
            for old in self._samples
        ):
            self._samples.clear()
        self._samples.append(new)
        self._best = min(self._samples, key=lambda sample: sample.round_trip_ms)
        self._offset_ms = self._best.offset_ms
