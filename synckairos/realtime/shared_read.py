"""Single-flight reads: concurrent callers share a read that began after all their calls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedRead(Generic[T]):
    """Runs at most one read at a time, and at most one read after it.

    A caller that comes while a read runs gets the result of the next read: the running read may have begun before a
    change that the caller must see. All callers of the next read share it.
    """

    __slots__ = ("_current", "_next")

    def __init__(self) -> None:
        self._current: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def join(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a read that begins now or later; the callers that share it use one caller's `read`.

        A cancelled caller does not cancel the read. Raises: the exceptions of `read`.
        """
        if self._current is None:
            task = self._current = asyncio.create_task(self._run(read))
        else:
            if self._next is None:
                self._next = asyncio.create_task(self._run_after(self._current, read))
            task = self._next
        return await asyncio.shield(task)

    async def _run(self, read: Callable[[], Awaitable[T]]) -> T:
        try:
            return await read()
        finally:
            self._current, self._next = self._next, None

    async def _run_after(self, current: "asyncio.Task[T]", read: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait((current,))
        return await self._run(read)
