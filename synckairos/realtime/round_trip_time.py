"""Round-trip time to one client, measured with WebSocket pings, for lag compensation.

The network adds one round trip to each turn: the update travels to the client, and the switch travels back. A client
can delay its pong to appear slower; the lag quota limits this gain. A client cannot answer a ping before it arrives,
because the payload is random.
"""

from secrets import token_bytes

from synckairos.wire.websocket_frames import ping_frame

MAX_SAMPLE_MS = 2_000
"""Maximum milliseconds of one sample. A longer measured time comes from a busy or dishonest client, not the network."""

SAMPLE_WEIGHT = 0.1
"""Weight of a new sample in the mean, from the second sample on. The value is the one of lichess' lila-ws.

The weight is low, so that one delayed pong changes the mean only a little.
"""


class RoundTripTime:
    """Running mean of a client's round-trip time. At most one ping is unanswered at a time."""

    __slots__ = ("_mean_ms", "_sent_at_s", "_token")

    def __init__(self) -> None:
        self._mean_ms: float | None = None
        self._sent_at_s = 0.0
        self._token = b""

    @property
    def mean_ms(self) -> int | None:
        """Return the mean round-trip time in whole milliseconds; None before the first pong."""
        return None if self._mean_ms is None else round(self._mean_ms)

    def make_ping_frame(self, now_s: float) -> bytes:
        """Begin a measurement and return its ping frame; empty bytes if an earlier ping is unanswered.

        The caller must write the frame to the socket immediately. `now_s` is the instant of this write in seconds, by
        `time.monotonic()`.
        """
        if self._token:
            return b""
        self._token, self._sent_at_s = token_bytes(4), now_s
        return ping_frame(self._token)

    def receive_pong(self, payload: bytes, now_s: float) -> None:
        """Add the measured time to the mean if the pong answers the unanswered ping. Otherwise ignore the pong.

        `payload` is the payload of the pong. `now_s` is the instant of its arrival in seconds, by `time.monotonic()`. A
        measured time above `MAX_SAMPLE_MS` counts as `MAX_SAMPLE_MS`.
        """
        if not self._token or payload != self._token:
            return
        self._token = b""
        sample_ms = min((now_s - self._sent_at_s) * 1000, MAX_SAMPLE_MS)
        if self._mean_ms is None:
            self._mean_ms = sample_ms
        else:
            self._mean_ms += (sample_ms - self._mean_ms) * SAMPLE_WEIGHT
