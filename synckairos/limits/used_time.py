"""The processor time that a client or a tenant used, the places of its requests, and the interval of its refusals."""

import asyncio
from collections.abc import Callable

from synckairos.limits.work_limits import WorkLimit

MAX_PAUSE_S = 2.0
"""Seconds that a client or tenant waits at most for its next request, however much time its last request used."""

REFUSAL_DELAY_S = 0.1
"""Seconds for which the answer of a rate-limited client is held back, so that it does not try again at once."""

MAX_REFUSAL_DELAY_S = 2.0
"""Maximum seconds for which a refusal is held back, however many other refusals are held back."""

CHECK_S = 0.05
"""Seconds between two checks whether others are still active."""


class UsedTime:
    """The processor time that a client or a tenant used, the places of its requests, and its refusals."""

    __slots__ = (
        *("_burst_s", "_clock", "_free_at_s", "_little_s", "_next_refusal_at_s", "_place_is_free"),
        *("_refusal_interval_s", "_share", "max_running", "running"),
    )

    def __init__(
        self,
        limit: WorkLimit,
        clock: Callable[[], float],
        *,
        max_running: int,
        little_use_s: float,
        refusal_interval_s: float,
    ) -> None:
        """Start without charges.

        - `limit`: the limit of processor time. `clock` returns monotonic seconds.
        - `max_running`: the number of requests that may run at the same time.
        - `little_use_s`: the seconds of processor time of `has_much_use`.
        - `refusal_interval_s`: the seconds between two refusals.
        """
        self._share = limit.per_s / 1000
        self._burst_s = limit.burst / 1000 / self._share
        self._clock = clock
        self._free_at_s = float("-inf")
        """Instant at which no more than the share is used."""
        self._next_refusal_at_s = float("-inf")
        """Earliest instant of the next answer to a refused request."""
        self._place_is_free: asyncio.Event | None = None
        """The event of the request that waits until fewer than `max_running` requests run. None if none waits."""
        self._little_s = little_use_s / self._share
        self._refusal_interval_s = refusal_interval_s
        self.max_running = max_running
        self.running = 0
        """The number of requests that run."""

    def charge(self, seconds: float) -> None:
        """Charge processor time. Negative seconds undo a charge."""
        now_s = self._clock()
        begin_s = max(self._free_at_s, now_s - self._burst_s)
        self._free_at_s = min(begin_s + seconds / self._share, now_s + MAX_PAUSE_S)

    @property
    def has_much_use(self) -> bool:
        """Return whether recently more than `little_use_s` was used beyond the share."""
        return self._free_at_s + self._burst_s - self._clock() > self._little_s

    def seconds_to_wait(self) -> float:
        """Return the seconds to wait until no more than the share is used.

        The result is 0 if no wait is needed.
        """
        return max(0.0, self._free_at_s - self._clock())

    async def wait_while(self, is_limited: Callable[[], bool]) -> None:
        """Wait until there is a place and no more than the share is used, or `is_limited` returns False.

        One request waits at a time.
        """
        while is_limited():
            if self.running >= self.max_running:
                await self._wait_for_place()
            elif wait_s := self.seconds_to_wait():
                await asyncio.sleep(min(wait_s, CHECK_S))
            else:
                return

    async def _wait_for_place(self) -> None:
        """Wait until the end of a request, at most `CHECK_S` seconds."""
        self._place_is_free = asyncio.Event()
        try:
            async with asyncio.timeout(CHECK_S):
                await self._place_is_free.wait()
        except TimeoutError:
            pass
        finally:
            self._place_is_free = None

    def enter_place(self) -> None:
        """Count that a request begins, or continues after a wait that used no processor time."""
        self.running += 1

    def leave_place(self) -> None:
        """Count that a request has ended, or begins a wait that uses no processor time."""
        self.running -= 1
        if self._place_is_free is not None:
            self._place_is_free.set()

    def reserve_refusal(self) -> float:
        """Return the seconds to wait before the answer to a refused request.

        Each call reserves a later instant than the call before, up to a maximum.
        """
        now_s = self._clock()
        at_s = max(now_s + REFUSAL_DELAY_S, min(self._next_refusal_at_s, now_s + MAX_REFUSAL_DELAY_S))
        self._next_refusal_at_s = at_s + self._refusal_interval_s
        return at_s - now_s
