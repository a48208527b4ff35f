"""Waits for a condition, with a deadline. Tests never wait for a fixed time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.01
"""Seconds between two checks of a condition."""


async def eventually(check: Callable[[], Awaitable[T]], deadline_s: float = 20) -> T:
    """Call `check` repeatedly until its result is true, and return this result.

    Raises: AssertionError with the last result, if no result is true within `deadline_s` seconds.
    """
    result: T | None = None
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                result = await check()
                if result:
                    return result
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AssertionError(f"not true within {deadline_s} s; last result: {result!r}") from None
