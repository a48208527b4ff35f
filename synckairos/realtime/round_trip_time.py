"""Round-trip time to one client, measured by pings: the part of a turn that the network took.

A client's turn begins when the update arrives there, and ends when its switch arrives here. That is one way there and
one way back. A client can delay its pong, and the lag quota limits the gain; it cannot send a pong too early.
"""

from secrets import token_bytes

from synckairos.wire.websocket_frames import ping_frame

MAX_SAMPLE_MS = 2_000
"""Milliseconds of a sample, at most. Networks usually need less; a longer time is a busy or lying client."""

SAMPLE_WEIGHT = 0.1
"""Part of the difference to a new sample by which the mean moves, from the second sample on, as in lichess' lila-ws.

One delayed pong therefore changes little.
"""


class RoundTripTime:
    """Running mean of a client's round-trip time. At most one ping is open at a time."""

    __slots__ = ("_mean_ms", "_sent_at_s", "_token")

    def __init__(self) -> None:
        self._mean_ms: float | None = None
        self._sent_at_s = 0.0
        self._token = b""

    @property
    def mean_ms(self) -> int | None:
        """Return the mean in whole milliseconds; None before the first pong."""
        return None if self._mean_ms is None else round(self._mean_ms)

    def start_ping(self, now_s: float) -> bytes:
        """Return a ping frame to write now; empty if a ping is open. `now_s` is `time.monotonic()`."""
        if self._token:
            return b""
        self._token, self._sent_at_s = token_bytes(4), now_s
        return ping_frame(self._token)

    def receive_pong(self, payload: bytes, now_s: float) -> None:
        """Add the sample of a pong. Pongs that do not answer the open ping are ignored."""
        if not self._token or payload != self._token:
            return
        self._token = b""
        sample_ms = min((now_s - self._sent_at_s) * 1000, MAX_SAMPLE_MS)
        if self._mean_ms is None:
            self._mean_ms = sample_ms
        else:
            self._mean_ms += (sample_ms - self._mean_ms) * SAMPLE_WEIGHT
