"""Retired keys of one instance: keys that verified tokens before and must not do so any more.

Tokens that such a key verified are ended like revoked tokens, also on open sockets and streams.
"""

import time
from collections.abc import Callable

MAX_KEYS = 10_000
"""Maximum number of retired keys in memory. Beyond that, the key that was retired first is forgotten."""

Listener = Callable[[str], None]
"""Function that receives the name of each retired key. It must not raise."""


class RetiredKeys:
    """The names of retired keys. A name is the `name` of a `VerificationKey`.

    A name is forgotten when all tokens of its key have expired.
    """

    def __init__(self, *, max_credential_life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Create a set without keys.

        - `max_credential_life_s`: seconds after which each token of a retired key has expired.
        - `clock`: returns monotonic seconds.
        """
        self._max_life_s = max_credential_life_s
        self._clock = clock
        self._retired_at_s: dict[str, float] = {}
        self._listeners: list[Listener] = []

    def __contains__(self, name: str | None) -> bool:
        """Return whether the key with this name is retired. None is the name of keys that are never retired."""
        return name in self._retired_at_s

    def add_listener(self, listener: Listener) -> None:
        """Register `listener`, which is called for each key that is retired from now on."""
        self._listeners.append(listener)

    def retire(self, name: str) -> None:
        """Retire a key and call the listeners. If the key is retired already, nothing happens."""
        if name in self._retired_at_s:
            return
        now_s = self._clock()
        # The dictionary has the order of the instants, so the first names are the oldest.
        while self._retired_at_s:
            oldest = next(iter(self._retired_at_s))
            if len(self._retired_at_s) < MAX_KEYS and now_s - self._retired_at_s[oldest] < self._max_life_s:
                break
            del self._retired_at_s[oldest]
        self._retired_at_s[name] = now_s
        for listener in self._listeners:
            listener(name)

    def restore(self, name: str) -> None:
        """Accept a key again that its issuer published again. If the key is not retired, nothing happens."""
        self._retired_at_s.pop(name, None)
