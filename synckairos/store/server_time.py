"""Redis TIME without a trip: an offset to this process' monotonic clock, measured beside the feed's heartbeats.

For what is shown (timestamps of frames, PONGs). What decides anything asks Redis itself.
"""

import time
from collections import deque
from dataclasses import dataclass

SAMPLES = 8

DRIFT = 1e-4
"""How much two clocks may gain on each other, ms a ms: twice what a poor quartz is off."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    rtt_ms: float
    offset_ms: float


class ServerTime:
    """Redis time, estimated by the sample with the shortest round trip among the last few.

    Its error is at most half that round trip, plus what the clocks drifted apart in the seconds since.
    """

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES)
        # Until Redis has answered once, this machine's clock is the best guess there is.
        self._offset_ms = (time.time() - time.monotonic()) * 1000
        self._best: _Sample | None = None

    @property
    def error_ms(self) -> float:
        """How far the estimate can be off, either way, before `now_ms` cuts it to whole ms; infinite at first."""
        best = self._best
        if best is None:
            return float("inf")
        return best.rtt_ms / 2 + (time.monotonic() - best.at_s) * 1000 * DRIFT

    def now_ms(self) -> int:
        """Return the estimated Redis TIME in whole ms since the Unix epoch."""
        return int(time.monotonic() * 1000 + self._offset_ms)

    def sample(self, sent_s: float, received_s: float, server_ms: float) -> None:
        """Take one answer of Redis into account: asked and answered at `time.monotonic()`, seconds; TIME, ms."""
        new = _Sample(received_s, (received_s - sent_s) * 1000, server_ms - (sent_s + received_s) * 500)
        # A sample that can't be true together with the older ones means that a clock was stepped: believe the new.
        if any(abs(new.offset_ms - old.offset_ms) > (new.rtt_ms + old.rtt_ms) / 2 + 1 for old in self._samples):
            self._samples.clear()
        self._samples.append(new)
        self._best = min(self._samples, key=lambda sample: sample.rtt_ms)
        self._offset_ms = self._best.offset_ms
