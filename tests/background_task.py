"""Tasks that run beside a test."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def running(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine inside the block, and cancel it at the end of the block."""
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def start(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run a coroutine as a task. Return when the coroutine waits for the first time, or has ended."""
    begins = asyncio.Event()

    async def run() -> T:
        begins.set()  # the caller continues in a later turn of the event loop, when the coroutine waits
        return await coroutine

    task = asyncio.create_task(run())
    await begins.wait()
    return task
