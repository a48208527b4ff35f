"""Time limits and rates of the hub, of its connections and of presence."""

from dataclasses import dataclass

from synckairos.store.presence import HEARTBEAT_S


@dataclass(frozen=True, slots=True)
class RealtimeTimings:
    """Time limits in seconds, and the rate of presence frames."""

    check_s: float = 2.5
    """Seconds between two checks of every connection."""

    ping_after_s: float = 20.0
    """Seconds without data from a client after which the client is pinged."""

    silent_after_s: float = 40.0
    """Seconds without data from a client after which the connection is closed."""

    stuck_after_s: float = 15.0
    """Seconds in which a client takes no byte of its unsent data, after which the connection is closed."""

    presence_round_s: float = 0.5
    """Seconds between two rounds of presence: a watcher gets at most one presence frame of a session in this time."""

    presence_beat_s: float = HEARTBEAT_S
    """Seconds between two heartbeats of this instance in the presence store."""

    presence_longest_pause_s: float = 2.0
    """Seconds between two presence frames of a session, at most, however many watchers the session has."""

    presence_bytes_per_s: float = 20_000_000
    """Bytes of presence frames that one session may send in a second; above that its pauses get longer."""


DEFAULT_TIMINGS = RealtimeTimings()
