"""Cache of ids for which no session exists, so that repeated reads of such an id do not reach Postgres."""

import time
from collections.abc import Callable

REMEMBER_S = 5.0
"""Seconds that an id stays in the cache. Redis is still read each time, so a session that is created later is found."""

MAX_IDS = 10_000
"""Maximum number of ids in the cache. A further id replaces the oldest id."""


class UnknownSessionCache:
    """Session ids for which neither Redis nor Postgres had a session a few seconds ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Create an empty cache. `clock` returns monotonic seconds."""
        self._clock = clock
        self._until_s: dict[str, float] = {}

    def contains_id(self, session_id: str) -> bool:
        """Return whether the cache has the id.

        The id was added within the last `REMEMBER_S` seconds, and neither removed nor replaced since then.
        """
        until_s = self._until_s.get(session_id)
        return until_s is not None and self._clock() < until_s

    def add_id(self, session_id: str) -> None:
        """Add the id of a session that does not exist."""
        self._until_s.pop(session_id, None)  # an id that is added again must become the newest
        self._until_s[session_id] = self._clock() + REMEMBER_S
        if len(self._until_s) > MAX_IDS:
            del self._until_s[next(iter(self._until_s))]

    def remove_id(self, session_id: str) -> None:
        """Remove an id, because its session exists now."""
        self._until_s.pop(session_id, None)
