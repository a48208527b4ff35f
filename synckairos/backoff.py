"""How long to wait before the next attempt: full jitter, so that a crowd that lost its server doesn't come at once.

M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

import random

FIRST_S = 0.25
CAP_S = 10.0


class Backoff:
    """Waits that grow with each failure, up to `cap_s`; each is drawn evenly from nothing to that."""

    def __init__(self, first_s: float = FIRST_S, cap_s: float = CAP_S, chance: random.Random | None = None) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._chance = chance or random.Random()  # noqa: S311 - jitter
        self._bound_s = first_s

    def next_s(self) -> float:
        """Return how many seconds to wait now; the one after may be twice as long."""
        wait_s = self._chance.uniform(0, min(self._bound_s, self._cap_s))
        self._bound_s = min(self._bound_s * 2, self._cap_s)
        return wait_s

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._bound_s = self._first_s
