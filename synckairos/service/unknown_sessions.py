"""Cache of names for which no session exists, so that repeated reads of such a session do not reach Postgres."""

import time
from collections.abc import Callable

REMEMBER_S = 5.0
"""Seconds that a name stays in the cache. Redis is read each time, so a session that is created later is found."""

MAX_NAMES = 10_000
"""Maximum number of names in the cache. A further name replaces the oldest name."""


class UnknownSessionCache:
    """Session names for which neither Redis nor Postgres had a session a few seconds ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty cache. `clock` returns monotonic seconds."""
        self._clock = clock
        self._until_s: dict[str, float] = {}

    def contains(self, session_name: str) -> bool:
        """Return whether the cache has the name.

        The name was added within the last `REMEMBER_S` seconds, and neither removed nor replaced since then.
        """
        until_s = self._until_s.get(session_name)
        return until_s is not None and self._clock() < until_s

    def add(self, session_name: str) -> None:
        """Add the name of a session that does not exist."""
        self._until_s.pop(session_name, None)  # a name that is added again must become the newest
        self._until_s[session_name] = self._clock() + REMEMBER_S
        if len(self._until_s) > MAX_NAMES:
            del self._until_s[next(iter(self._until_s))]

    def remove(self, session_name: str) -> None:
        """Remove a name, because its session exists now."""
        self._until_s.pop(session_name, None)
