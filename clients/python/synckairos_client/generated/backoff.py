# Generated from synckairos.backoff by `make python-client`. Do not edit.
"""Delays before the next attempt: back-off with full jitter, and schedules of retries.

`Backoff` is for a loop that repeats its own attempt, such as a reconnection. Full jitter means that each delay is a
random number between 0 and a maximum. So clients that lost the same server do not reconnect at the same instant (M.
Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). `RetrySchedule` is for work whose next attempt
is stored, such as a webhook delivery.
"""

import random
from collections.abc import Sequence

FIRST_S = 0.25
"""Seconds: maximum of the first delay."""

LONGEST_S = 10.0
"""Seconds: maximum of all delays."""


class Backoff:
    """Random delays between attempts.

    Each delay is between 0 and a maximum. The maximum begins with `first_s` seconds and doubles with each failure, up
    to `longest_s` seconds.
    """

    def __init__(
        self, first_s: float = FIRST_S, longest_s: float = LONGEST_S, *, rng: random.Random | None = None
    ) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._limit_s = self._first_s

    def next_s(self) -> float:
        """Return the seconds to wait after a failure, and double the maximum delay of the next call."""
        delay_s = self._rng.uniform(0, self._limit_s)
        self._limit_s = min(self._limit_s * 2, self._longest_s)
        return delay_s

    def delay_after_run_s(self, lasted_s: float) -> float:
        """Return the seconds to wait before the next run, after a run of `lasted_s` seconds has ended.

        A run longer than two times `longest_s` counts as a success, so the maximum delay is reset first. A shorter run
        counts as a failure.
        """
        if lasted_s > 2 * self._longest_s:
            self.reset()
        return self.next_s()

    def reset(self) -> None:
        """Reset the maximum delay to `first_s`. Call this after a success."""
        self._limit_s = self._first_s


class RetrySchedule:
    """Fixed delays before the retries of one piece of work. After the last retry the work is given up.

    Each delay is extended by a random share of its length, at most by `jitter` (0.1 means 10 %). So deliveries that
    failed together are not retried together, and no delay is shorter than in the schedule.
    """

    def __init__(self, delays_s: Sequence[float], *, jitter: float = 0.0, rng: random.Random | None = None) -> None:
        self._delays_s = tuple(delays_s)
        self._jitter = jitter
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret

    def delay_s(self, retries: int) -> float | None:
        """Return the seconds before the next retry, None if no retry is left.

        `retries` is the number of retries that were already made, 0 after the first failure.
        """
        if retries >= len(self._delays_s):
            return None
        return self._delays_s[retries] * (1 + self._jitter * self._rng.random())
