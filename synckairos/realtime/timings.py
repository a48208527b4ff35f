"""Time limits and rates for the hub, for WebSocket connections and for presence frames."""

from dataclasses import dataclass

from synckairos.store.presence import HEARTBEAT_S


@dataclass(frozen=True, slots=True)
class RealtimeTimeLimits:
    """Time limits in seconds for connections and presence, and the byte rate of presence frames."""

    check_s: float = 2.5
    """Seconds between two liveness checks of a connection. Each check covers all connections of the instance."""

    ping_after_s: float = 20.0
    """Seconds without data from a client after which the instance pings the client."""

    silent_after_s: float = 40.0
    """Seconds without data from a client after which the instance closes the connection."""

    stuck_after_s: float = 15.0
    """Seconds in which a client with unsent data receives no byte. Then the instance closes the connection."""

    presence_round_s: float = 0.5
    """Seconds between two presence rounds. In one round a watcher gets at most one presence frame for each session."""

    presence_beat_s: float = HEARTBEAT_S
    """Seconds between two heartbeats that this instance writes to the presence store."""

    presence_longest_pause_s: float = 2.0
    """Maximum pause in seconds between two presence frames of a session, for any number of watchers."""

    presence_bytes_per_s: float = 20_000_000
    """Maximum bytes per second of all presence frames of one session. Larger sessions get longer pauses."""


DEFAULT_TIMINGS = RealtimeTimeLimits()
