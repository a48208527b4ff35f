"""Single-flight reads: concurrent calls share one read. No call gets the result of a read that began before it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from synckairos.limits.running_request import charge_task

T = TypeVar("T")


class SharedRead(Generic[T]):
    """Single-flight execution of a read: at most one read runs, and at most one further read is scheduled.

    If no read runs, a call starts a read. A call during a running read waits for the scheduled read and gets the result
    of the scheduled read. The reason is that the running read possibly began before a change that the new call must
    see. All calls during one running read share the scheduled read.
    The processor time of a read is charged to the client of the call that started or scheduled it.
    """

    __slots__ = ("_current", "_next")

    def __init__(self) -> None:
        self._current: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def join_next_read(self, read: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a read that begins at this call or later.

        If several calls share a read, only the `read` function of the first call is called. If a call is cancelled, the
        read continues for the other calls.

        Raises: The exceptions of the `read` function that was called.
        """
        if self._current is None:
            task = self._current = asyncio.create_task(charge_task(lambda: self._run(read)))
        else:
            if self._next is None:
                current = self._current
                self._next = asyncio.create_task(charge_task(lambda: self._run_after(current, read)))
            task = self._next
        try:
            return await asyncio.shield(task)
        finally:
            del task  # with it, this frame and the traceback of an error would be a reference cycle

    async def _run(self, read: Callable[[], Awaitable[T]]) -> T:
        try:
            return await read()
        finally:
            self._current, self._next = self._next, None

    async def _run_after(self, current: "asyncio.Task[T]", read: Callable[[], Awaitable[T]]) -> T:
        await asyncio.wait((current,))
        return await self._run(read)
