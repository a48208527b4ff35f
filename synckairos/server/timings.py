"""Time limits for HTTP requests, for the close of WebSockets, and for graceful shutdown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTimeLimits:
    """Time limits of the server in seconds."""

    headers_s: float = 5.0
    """Maximum seconds until all headers of a request have arrived.

    For the first request the seconds count from the connection, for later requests from the first byte of the request.
    """

    body_s: float = 15.0
    """Maximum seconds from the end of a request's headers until the whole body has arrived."""

    close_s: float = 2.0
    """Maximum seconds in which a client must answer a close frame. Then the server aborts the connection."""

    not_ready_s: float = 1.0
    """Minimum seconds for which a draining server still accepts requests, so that load balancers see `/ready` fail.

    The server uses a quarter of the drain time instead if that is shorter.
    """

    late_line_s: float = 60.0
    """Minimum seconds between two log lines about a late event loop."""


DEFAULT_TIMINGS = ServerTimeLimits()
