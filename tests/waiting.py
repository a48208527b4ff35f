"""Waiting for what will happen, with a deadline; never for time to pass."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_AGAIN_S = 0.01


async def eventually(look: Callable[[], Awaitable[T]], deadline_s: float = 20) -> T:
    """Look until what is seen is true, and return it; fail with what was seen last."""
    seen: T | None = None
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                seen = await look()
                if seen:
                    return seen
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError:
        raise AssertionError(f"didn't happen within {deadline_s} s; last seen: {seen!r}") from None
