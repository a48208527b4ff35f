"""The offset between the server's clock and the local monotonic clock, with its maximum error. Reads no clock.

The sample with the shortest round trip usually has the smallest error. The true offset differs by at most half of the
round trip, even if the two directions have different delays (D. L. Mills, RFC 5905, sections 8 and 10). The error of a
sample grows with its age, because clocks drift.
"""

from collections import deque
from dataclasses import dataclass

MAX_DRIFT = 1e-4
"""Milliseconds per millisecond by which two clocks can drift apart: twice the error of a poor quartz."""

MAX_SAMPLES = 32
"""Maximum number of samples that a `ServerClock` keeps."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: at `at_ms` of the local clock, the server's clock was ahead by `offset_ms` ± `error_ms`.

    `round_trip_ms` is the duration of the measurement in ms, without the time that the server used.
    """

    at_ms: float
    offset_ms: float
    error_ms: float
    round_trip_ms: float = 0.0

    @classmethod
    def from_ping(cls, t0: float, t1: int, t2: int, t3: float, server_error_ms: float = 0.0) -> "Sample":
        """Return the sample of one PING from its four instants, in ms.

        By the local clock, the client sent the PING at `t0` and received the answer at `t3`. By the server's clock, the
        server received the PING at `t1` and answered at `t2`. `t1` and `t2` are rounded down to whole ms.
        `server_error_ms` is the maximum error of the server's own estimate of the time.
        """
        rtt_ms = max(0.0, (t3 - t0) - (t2 - t1))
        # t1 and t2 are each rounded down by up to 1 ms. So the middle of the possible offsets is half a millisecond
        # higher.
        drift_ms = (t3 - t0) * MAX_DRIFT
        return cls(t3, ((t1 - t0) + (t2 - t3)) / 2 + 0.5, rtt_ms / 2 + 0.5 + drift_ms + server_error_ms, rtt_ms)

    def max_error_at_ms(self, at_ms: float) -> float:
        """Return the maximum error of `offset_ms` in ms, at the instant `at_ms` of the local clock."""
        return self.error_ms + abs(at_ms - self.at_ms) * MAX_DRIFT


class ServerClock:
    """The server's time, calculated from the sample with the smallest error.

    It keeps the newest `MAX_SAMPLES` samples.
    """

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)

    @property
    def is_known(self) -> bool:
        """Return whether there is at least one sample."""
        return bool(self._samples)

    @property
    def round_trip_ms(self) -> float:
        """Return the shortest measured round trip in ms, 0 if there is no sample."""
        return min((sample.round_trip_ms for sample in self._samples), default=0.0)

    def add_sample(self, new: Sample) -> None:
        """Add a sample. If it contradicts an earlier sample, remove all earlier samples."""
        for old in self._samples:
            # If two samples contradict each other, a clock was set or this machine slept. Then only the new sample is
            # valid.
            if abs(new.offset_ms - old.offset_ms) > new.error_ms + old.max_error_at_ms(new.at_ms):
                self._samples.clear()
                break
        self._samples.append(new)

    def remove_all_samples(self) -> None:
        """Remove all samples. Call this after the local clock has stood still, because the samples are then wrong."""
        self._samples.clear()

    def best_sample(self, at_ms: float) -> Sample:
        """Return the sample with the smallest error at the instant `at_ms` of the local clock.

        Raises: ValueError if there is no sample.
        """
        return min(self._samples, key=lambda sample: sample.max_error_at_ms(at_ms))

    def now_ms(self, at_ms: float) -> float:
        """Return the server's time at the instant `at_ms` of the local clock, ms since the Unix epoch.

        Raises: ValueError if there is no sample.
        """
        return at_ms + self.best_sample(at_ms).offset_ms

    def error_ms(self, at_ms: float) -> float:
        """Return the maximum error of `now_ms` in either direction, ms. It is infinite if there is no sample."""
        return self.best_sample(at_ms).max_error_at_ms(at_ms) if self._samples else float("inf")
