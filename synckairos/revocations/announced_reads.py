"""Reads of a table that each instance keeps in memory: after each announcement of a change, and from time to time."""

import asyncio
from collections.abc import Awaitable, Callable

from synckairos.backoff import Backoff

REFRESH_S = 30.0
"""Seconds between two reads if no change is announced."""

LONGEST_RETRY_S = 5.0
"""Seconds: maximum delay before the next attempt after a failed read."""

KEEP_MS = 3_600_000
"""Milliseconds for which the control channel keeps the announcement of a change."""


class AnnouncedReads:
    """Runs the reads of one table, at most one at a time. Callers that need a read during a read share it."""

    def __init__(self, read: Callable[[], Awaitable[bool]], refresh_s: float = REFRESH_S) -> None:
        """Create the object without a read.

        - `read`: reads the table. It returns whether the read succeeded, and must not raise.
        - `refresh_s`: seconds between two reads if no change is announced.
        """
        self._read = read
        self._refresh_s = refresh_s
        self._announced = asyncio.Event()
        self._running: asyncio.Task[bool] | None = None

    @property
    def is_running(self) -> bool:
        """Return whether a read runs now."""
        return self._running is not None

    def announce(self) -> None:
        """Let `run` read the table soon, because a change was announced."""
        self._announced.set()

    async def run(self) -> None:
        """Read the table after each announcement and every `refresh_s` seconds, until cancelled."""
        backoff = Backoff(longest_s=LONGEST_RETRY_S)
        while True:
            self._announced.clear()
            if await self.refresh():
                backoff = Backoff(longest_s=LONGEST_RETRY_S)
                try:
                    async with asyncio.timeout(self._refresh_s):
                        await self._announced.wait()
                except TimeoutError:
                    pass
            else:
                await asyncio.sleep(backoff.next_s())

    async def refresh(self) -> bool:
        """Read the table, or wait for the read that runs. Return whether the read succeeded."""
        if self._running is None:
            self._running = asyncio.create_task(self._run_once())
        # A caller that is cancelled must not cancel the read, because others wait for it.
        return await asyncio.shield(self._running)

    async def _run_once(self) -> bool:
        try:
            return await self._read()
        finally:
            self._running = None
