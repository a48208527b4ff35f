"""Memory of session ids that no store knows, so that repeated reads of such an id do not reach Postgres."""

import time
from collections.abc import Callable

REMEMBER_S = 5.0
"""Seconds for which an unknown id is remembered. Redis is read each time, so a session that is created is found."""

MAX_IDS = 10_000
"""Ids that are remembered, at most. Beyond that, the oldest id is forgotten."""


class UnknownSessions:
    """Ids that were unknown to Redis and Postgres a short time ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the monotonic clock in seconds."""
        self._clock = clock
        self._until_s: dict[str, float] = {}

    def remembers(self, session_id: str) -> bool:
        """Return whether an id was unknown within the last seconds."""
        until_s = self._until_s.get(session_id)
        return until_s is not None and self._clock() < until_s

    def remember(self, session_id: str) -> None:
        """Note that an id is unknown."""
        self._until_s.pop(session_id, None)  # a key that is set again must be the newest
        self._until_s[session_id] = self._clock() + REMEMBER_S
        if len(self._until_s) > MAX_IDS:
            del self._until_s[next(iter(self._until_s))]

    def forget(self, session_id: str) -> None:
        """Note that an id is known."""
        self._until_s.pop(session_id, None)
