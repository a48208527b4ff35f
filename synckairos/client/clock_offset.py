"""The offset between the server's clock and the local monotonic clock, with its possible error. Reads no clock.

The sample with the shortest round trip counts most. The true offset lies within half of the round trip, even if the two
directions differ in delay (D. L. Mills, RFC 5905, sections 8 and 10). A sample loses value with age, because clocks
drift.
"""

from collections import deque
from dataclasses import dataclass

MAX_DRIFT = 1e-4
"""Milliseconds per millisecond that two clocks may drift apart: twice the error of a poor quartz."""

MAX_SAMPLES = 32
"""Samples that a `ServerClock` keeps."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: at `at_ms` of the local clock, the server's clock was ahead by `offset_ms` ± `error_ms`."""

    at_ms: float
    offset_ms: float
    error_ms: float

    @classmethod
    def from_ping(cls, t0: float, t1: int, t2: int, t3: float, server_error_ms: float = 0.0) -> "Sample":
        """Make a sample from the four instants of a PING, in ms.

        The client sent the PING at `t0`. The server received it at `t1` and answered at `t2`. The client received the
        answer at `t3`. `t0` and `t3` are local. `t1` and `t2` are the server's, cut to whole ms; the server itself
        knows them to ± `server_error_ms`.
        """
        rtt_ms = max(0.0, (t3 - t0) - (t2 - t1))
        # t1 and t2 are cut by up to 1 ms each. So the middle of the possible offsets is half a millisecond higher.
        drift_ms = (t3 - t0) * MAX_DRIFT
        return cls(t3, ((t1 - t0) + (t2 - t3)) / 2 + 0.5, rtt_ms / 2 + 0.5 + drift_ms + server_error_ms)

    def error_at(self, at_ms: float) -> float:
        """Return the largest possible error of `offset_ms` at a local instant, ms."""
        return self.error_ms + abs(at_ms - self.at_ms) * MAX_DRIFT


class ServerClock:
    """The server's time, calculated from the sample with the smallest error at the asked instant."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)

    @property
    def is_known(self) -> bool:
        """Return whether there is a sample."""
        return bool(self._samples)

    def add_sample(self, new: Sample) -> None:
        """Add a sample."""
        for old in self._samples:
            # Two samples that cannot both be true mean that a clock was set, or that this machine slept. Only the new
            # sample then counts.
            if abs(new.offset_ms - old.offset_ms) > new.error_ms + old.error_at(new.at_ms):
                self._samples.clear()
                break
        self._samples.append(new)

    def forget(self) -> None:
        """Remove all samples: the local clock has stood still, so they give a wrong time."""
        self._samples.clear()

    def best_sample(self, at_ms: float) -> Sample:
        """Return the sample with the smallest error at a local instant, ms. Raises ValueError if there is none."""
        return min(self._samples, key=lambda sample: sample.error_at(at_ms))

    def now_ms(self, at_ms: float) -> float:
        """Return the server's time at a local instant, ms since the Unix epoch. Raises ValueError without a sample."""
        return at_ms + self.best_sample(at_ms).offset_ms

    def error_ms(self, at_ms: float) -> float:
        """Return the largest possible error of `now_ms` in either direction, ms; infinite without a sample."""
        return self.best_sample(at_ms).error_at(at_ms) if self._samples else float("inf")
