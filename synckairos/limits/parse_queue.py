"""Parsing of large inputs: one at a time, and never long on the event loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

THREAD_VALUES = 2_000
"""Values in a JSON text above which it is parsed in a thread. So many take about 2 ms."""

T = TypeVar("T")


class ParseQueue:
    """Parses the large inputs of all clients of this instance in their order, at most one in a turn of the event loop.

    Several threads would not parse faster, because the interpreter runs one of them at a time.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, values: int, parse: Callable[[], T]) -> T:
        """Return the result of `parse`, which parses about this number of JSON values."""
        async with self._lock:
            if values > THREAD_VALUES:
                return await asyncio.to_thread(parse)
            # The lock is kept for a turn of the event loop. So the next input is parsed in a later turn.
            await asyncio.sleep(0)
            return parse()
