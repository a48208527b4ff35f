"""Time limits of the server and of its HTTP and WebSocket protocols."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTimings:
    """Time limits, in seconds."""

    headers_s: float = 5.0
    """Seconds until all headers must have arrived, counted from the connection or from a request's first byte."""

    body_s: float = 15.0
    """Seconds until the whole body must have arrived, counted from the end of the headers."""

    close_s: float = 2.0
    """Seconds that a client may take to answer a close frame before its connection is cut."""

    not_ready_s: float = 1.0
    """Seconds for which a draining server still answers at least, so that load balancers see `/ready` fail.

    At most a quarter of the drain time is spent on this.
    """


DEFAULT_TIMINGS = ServerTimings()
