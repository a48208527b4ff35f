"""Memory of the clients whose rate limit is used up, so that an instance refuses them without a round trip."""

import time
from collections.abc import Callable, Sequence
from math import ceil

from synckairos.store.rate_meter import RateLimitStatus

MAX_LIMITED_CLIENTS = 10_000
"""Maximum number of limited clients that an instance remembers."""


class LimitedClients:
    """Clients whose general quota was used up at their last request, until the client gets its next token.

    Each instance remembers these clients in memory, so that it refuses further requests without a round trip.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty memory. `clock` returns monotonic seconds."""
        self._clock = clock
        self._limited: dict[str, tuple[RateLimitStatus, float]] = {}

    def remember_if_limited(self, client: str, statuses: Sequence[RateLimitStatus]) -> None:
        """Remember a client if `statuses` has its general quota as exceeded.

        Call this after each refusal of a request.
        """
        for status in statuses:
            if status.exceeded and status.rate is not None and status.rate.name == "general":
                self._limited.pop(client, None)  # a key that is set again must be the newest
                self._limited[client] = (status, self._clock() + status.wait_ms / 1000)
                if len(self._limited) > MAX_LIMITED_CLIENTS:
                    del self._limited[next(iter(self._limited))]

    def find(self, client: str) -> tuple[RateLimitStatus, int] | None:
        """Return the status of a limited client, and the milliseconds until its next token.

        Returns None if this instance does not know the client as limited. The request must then be counted.
        """
        found = self._limited.get(client)
        if found is None:
            return None
        status, until_s = found
        wait_ms = ceil((until_s - self._clock()) * 1000)
        if wait_ms > 0:
            return status, wait_ms
        del self._limited[client]
        return None
