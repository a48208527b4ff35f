"""Cached probes of the stores: concurrent requests share one running probe, and its result is reused for a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH_S = 1.0
"""Seconds from the begin of a call of `look` for which its result is used again."""


class CachedProbe(Generic[T]):
    """Calls the function `look`, which reads or checks stores, for many callers.

    At most one call of `look` runs at a time, and its result is used again for `FRESH_S` seconds.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        """Create a probe that calls `look`. `clock` returns monotonic seconds."""
        self._look = look
        self._clock = clock
        self._task: asyncio.Task[T] | None = None
        self._began_s = 0.0

    async def get_or_run(self) -> T:
        """Return the result of the latest call of `look`, or call `look` again if that call is too old.

        A finished call is too old `FRESH_S` seconds after its begin. A running call is never too old: this method waits
        for its result. If the task that waits is cancelled, `look` continues for the other tasks that wait.

        Raises: The exception of that call of `look`. An exception is shared and used again like a result.
        """
        now_s = self._clock()
        if self._task is None or (self._task.done() and now_s - self._began_s >= FRESH_S):
            self._task, self._began_s = asyncio.ensure_future(self._run()), now_s
        return await asyncio.shield(self._task)

    async def _run(self) -> T:
        return await self._look()
