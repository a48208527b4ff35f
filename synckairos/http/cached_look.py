"""Looks at the stores that many requests share: at most one runs, and its result holds for a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH_S = 1.0
"""Seconds for which the result of a look is used again, from its begin."""


class CachedProbe(Generic[T]):
    """A look at a store. Calls that come during a look, or soon after, get its result or its error."""

    def __init__(self, look: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        """Take the function that looks, and the monotonic clock in seconds."""
        self._look = look
        self._clock = clock
        self._task: asyncio.Task[T] | None = None
        self._began_s = 0.0

    async def get_or_run(self) -> T:
        """Return the result of a look that is not older than a second. Raises what the look raises.

        A look that takes longer than a second is not repeated before it ends. If a call is cancelled, the look
        continues for the other calls.
        """
        now_s = self._clock()
        if self._task is None or (self._task.done() and now_s - self._began_s >= FRESH_S):
            self._task, self._began_s = asyncio.ensure_future(self._run()), now_s
        return await asyncio.shield(self._task)

    async def _run(self) -> T:
        return await self._look()
