"""How far a server's clock is from this process' monotonic one, and how wrong that can be. Pure: reads no clock.

Of many questions and answers the one with the shortest way counts: whatever its two directions took, the true offset
lies within half its round trip (D. L. Mills, RFC 5905, sections 8 and 10). What it is worth fades as the clocks drift.
"""

from collections import deque
from dataclasses import dataclass

DRIFT = 1e-4
"""How much two clocks may gain on each other, ms a ms: twice what a poor quartz is off."""

KEEP = 32


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to a PING: at `at_ms` of the local clock the server was `offset_ms` ahead, ± `error_ms`."""

    at_ms: float
    offset_ms: float
    error_ms: float

    @classmethod
    def of(cls, t0: float, t1: int, t2: int, t3: float, server_error_ms: float = 0.0) -> "Sample":
        """Make the sample of a PING that left at `t0`, came at `t1`, was answered at `t2`, the answer here at `t3`.

        All in ms; `t0` and `t3` by the local clock, `t1` and `t2` by the server's, cut to whole ms, which it knows to
        `server_error_ms`.
        """
        rtt_ms = max(0.0, (t3 - t0) - (t2 - t1))
        # What was cut off t1 and t2 is up to a millisecond each, so the middle of what is possible lies half of one up.
        drift_ms = (t3 - t0) * DRIFT
        return cls(t3, ((t1 - t0) + (t2 - t3)) / 2 + 0.5, rtt_ms / 2 + 0.5 + drift_ms + server_error_ms)

    def error_at(self, at_ms: float) -> float:
        """Return how wrong `offset_ms` can be at a local instant, ms."""
        return self.error_ms + abs(at_ms - self.at_ms) * DRIFT


class ServerClock:
    """The server's time, by the sample that is worth most: the minimum-RTT rule, with age."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEEP)

    @property
    def is_known(self) -> bool:
        return bool(self._samples)

    def learn(self, new: Sample) -> None:
        """Take one answer into account."""
        for old in self._samples:
            # Two that can't both be true mean that a clock was set, or that this machine slept: believe the new one.
            if abs(new.offset_ms - old.offset_ms) > new.error_ms + old.error_at(new.at_ms):
                self._samples.clear()
                break
        self._samples.append(new)

    def best(self, at_ms: float) -> Sample:
        """Return the sample that is worth most at a local instant, ms. Raises ValueError where there is none."""
        return min(self._samples, key=lambda sample: sample.error_at(at_ms))

    def now_ms(self, at_ms: float) -> float:
        """Return the server's time, ms since the Unix epoch, at a local instant. Raises ValueError where unknown."""
        return at_ms + self.best(at_ms).offset_ms

    def error_ms(self, at_ms: float) -> float:
        """Return how far `now_ms` can be off, either way; infinite where nothing is known."""
        return self.best(at_ms).error_at(at_ms) if self._samples else float("inf")
