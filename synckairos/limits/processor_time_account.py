"""The account of one client: the processor time that it used on this instance, and its requests that run or wait."""

import asyncio
from collections.abc import Callable

from synckairos.limits.step_meter import StepMeter
from synckairos.limits.work_limits import WorkLimit

MAX_PAUSE_S = 2.0
"""Seconds that a client waits at most before its next request, however much time its last request used."""

LITTLE_USE_S = 0.002
"""Seconds of recently used processor time up to which the requests of a client do not pause for presses."""

REFUSAL_DELAY_S = 0.1
"""Seconds for which the answer of a rate-limited client is held back, so that it does not try again at once."""

REFUSAL_INTERVAL_S = 0.01
"""Seconds between two refusals to one rate-limited client. Without this interval, its refusals would leave together."""

MAX_REFUSAL_DELAY_S = 2.0
"""Maximum seconds for which a refusal is held back, however many other refusals to the client are held back."""

MAX_RUNNING = 8
"""Requests of a client that run at the same time while other clients are active. Further requests wait.

A turn of the event loop runs a part of each running request. So this bounds the time that a turn takes.
"""

CHECK_S = 0.05
"""Seconds between two checks whether other clients are still active."""


class ProcessorTimeAccount:
    """The processor time that one client used, and the requests of the client that wait."""

    __slots__ = (
        *("_burst_s", "_clock", "_free_at_s", "_next_refusal_at_s", "_place_is_free", "_share"),
        *("mean_s", "queries", "running", "steps", "turns", "waiting"),
    )

    def __init__(self, limit: WorkLimit, clock: Callable[[], float], steps: StepMeter) -> None:
        """Create an account without charges.

        `limit` is the limit of processor time. `clock` returns monotonic seconds. `steps` measures the client's steps.
        """
        self.steps = steps
        self._share = limit.per_s / 1000
        self._burst_s = limit.burst / 1000 / self._share
        self._clock = clock
        self._free_at_s = float("-inf")
        """Instant at which the client has used no more than its share."""
        self._next_refusal_at_s = float("-inf")
        """Earliest instant of the next answer to a refused request."""
        self._place_is_free: asyncio.Event | None = None
        """The event of the request that waits until fewer than `MAX_RUNNING` requests run. None if none waits."""
        self.running = 0
        """The number of requests that run."""
        self.queries: asyncio.Semaphore | None = None
        """The places of the queries in Postgres. None before the first query."""
        self.mean_s = 0.0
        """Mean processor time of the client's recent requests, in seconds."""
        self.turns: asyncio.Lock | None = None
        """The lock for which the waiting requests wait. None if no request waits."""
        self.waiting = 0
        """The number of requests that wait."""

    def charge(self, seconds: float) -> None:
        """Charge processor time to the client. Negative seconds undo a charge."""
        now_s = self._clock()
        begin_s = max(self._free_at_s, now_s - self._burst_s)
        self._free_at_s = min(begin_s + seconds / self._share, now_s + MAX_PAUSE_S)

    @property
    def has_much_use(self) -> bool:
        """Return whether the client recently used more than `LITTLE_USE_S`."""
        return self._free_at_s + self._burst_s - self._clock() > LITTLE_USE_S / self._share

    def seconds_to_wait(self) -> float:
        """Return the seconds to wait until the client has used no more than its share.

        The result is 0 if no wait is needed.
        """
        return max(0.0, self._free_at_s - self._clock())

    def must_wait(self) -> bool:
        """Return whether a new request must wait, because the client uses its whole share or all its places."""
        return self.turns is not None or self.running >= MAX_RUNNING or self.seconds_to_wait() > 0

    async def wait_for_place(self) -> None:
        """Wait until the end of a request of the client, at most `CHECK_S` seconds. One request waits at a time."""
        self._place_is_free = asyncio.Event()
        try:
            async with asyncio.timeout(CHECK_S):
                await self._place_is_free.wait()
        except TimeoutError:
            pass
        finally:
            self._place_is_free = None

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
        self._next_refusal_at_s = at_s + REFUSAL_INTERVAL_S
        return at_s - now_s
