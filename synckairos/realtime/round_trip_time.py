"""How long the way to one client and back takes, measured by pings: what of a turn the network took.

A turn begins for a client when the news of it arrives, and has ended when its press arrives here: that is one way
there and one way back. A client can delay its answer to a ping, which the quota bounds; it can't answer too early.
"""

from secrets import token_bytes

from synckairos.wire.websocket_frames import ping_frame

MOST_MS = 2_000
"""A longer way counts as this long: no network usually takes so much, a client that is busy or lies does."""

REMEMBERED = 10
"""Each measurement is worth a tenth, so that one hiccup doesn't matter, and one that is over is soon forgotten."""


class RoundTripTime:
    """One client's way: `ping`, write that, tell what `pong` came. One ping is under way at a time."""

    __slots__ = ("_count", "_mean_ms", "_sent_at", "_token")

    def __init__(self) -> None:
        self._count = 0
        self._mean_ms = 0.0
        self._sent_at = 0.0
        self._token = b""

    @property
    def lag_ms(self) -> int | None:
        """Return how long the way usually takes, whole ms; None before the first answer."""
        return round(self._mean_ms) if self._count else None

    def ping(self, now_s: float) -> bytes:
        """Return a ping to write now, nothing where one is under way. `now_s` is `time.monotonic()`."""
        if self._token:
            return b""
        self._token, self._sent_at = token_bytes(4), now_s
        return ping_frame(self._token)

    def pong(self, payload: bytes, now_s: float) -> None:
        """Take an answer into account; one to another ping than ours is none."""
        if not self._token or payload != self._token:
            return
        self._token = b""
        self._count = min(self._count + 1, REMEMBERED)
        sample_ms = min((now_s - self._sent_at) * 1000, MOST_MS)
        self._mean_ms += (sample_ms - self._mean_ms) / self._count
