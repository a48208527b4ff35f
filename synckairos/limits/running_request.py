"""The client whose request runs in the present task: waits, queries, threads and tasks that count for its account."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar

from synckairos.limits.processor_time_account import ProcessorTimeAccount

MAX_QUERIES = 3
"""Queries of a client that run in Postgres at the same time, without reports. Further queries wait."""

QUERY_S = 0.001
"""Seconds that a query in Postgres counts. The processor time of Postgres cannot be measured for it."""

MAX_REPORT_S = 0.05
"""Seconds that a report in Postgres counts at most, because it possibly waits for other work in Postgres."""

T = TypeVar("T")

current_account: ContextVar[ProcessorTimeAccount | None] = ContextVar("processor_time_account", default=None)
"""The account of the client whose request runs in this task. None for presses and for work that no client requested."""


class idle_wait:  # noqa: N801  used like a function; a generator would be too slow for the hot path
    """Give the place of the running request to another request of the client, for a wait inside the block.

    The wait must use no processor time and can be long, such as a wait for the client itself.
    """

    __slots__ = ("_account",)

    def __enter__(self) -> None:
        self._account = current_account.get()
        if self._account is not None:
            self._account.leave_place()

    def __exit__(self, *_: object) -> None:
        if self._account is not None:
            self._account.enter_place()


@asynccontextmanager
async def query_place() -> AsyncIterator[None]:
    """Wait until the client whose request runs may run a query in Postgres, and charge the query. Run it in the block.

    A client runs `MAX_QUERIES` queries at a time, and its tenant a few more. Queries that no client requested do not
    wait.
    """
    account = current_account.get()
    if account is None:
        yield
        return
    if account.queries is None:
        account.queries = asyncio.Semaphore(MAX_QUERIES)
    async with account.queries, nullcontext() if account.tenant is None else account.tenant.query_place(account.client):
        account.charge(QUERY_S)
        yield


@contextmanager
def charge_report() -> Iterator[None]:
    """Charge the time in which a report runs in Postgres in the block, at most `MAX_REPORT_S` seconds.

    The processor time of Postgres cannot be measured for one report.
    """
    account, began_s = current_account.get(), time.monotonic()
    try:
        yield
    finally:
        if account is not None:
            account.charge(min(time.monotonic() - began_s, MAX_REPORT_S))


async def run_in_thread(function: Callable[[], T]) -> T:
    """Call `function` in a thread, and return its result.

    The processor time of the thread is charged to the client whose request runs in this task. The function should take
    at least some milliseconds, because a thread costs 0.1 ms.
    """
    account = current_account.get()
    if account is None:
        return await asyncio.to_thread(function)

    def measure() -> tuple[T, float]:
        began_s = time.thread_time()
        return function(), time.thread_time() - began_s

    result, spent_s = await asyncio.to_thread(measure)
    account.charge(spent_s)
    return result


def charge_task(work: Callable[[], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]:
    """Return the coroutine of a new task, which awaits `work()`, a part of the request that runs in this task.

    The processor time of the new task is charged to the client of the request. The steps of a request are measured in
    its own task only, so a task that it starts needs this function. If the task is cancelled before its first step,
    `work` is not called.
    """
    account = current_account.get()
    return work() if account is None else _charge(work, account)


async def _charge(work: Callable[[], Coroutine[Any, Any, T]], account: ProcessorTimeAccount) -> T:
    return await account.steps.run(work(), account, [0.0])
