"""The share of each client in the processor time of this instance.

An instance has one event loop, so its processor time is what clients share. The time that the requests of a client use
is measured. If a client has used more than its share while other clients are active, its next requests wait. Presses
never wait: they are short, and other limits bound them. While a press runs, requests of clients with much work pause.
"""

import asyncio
import math
import time
import types
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from synckairos.errors import RateLimitExceeded
from synckairos.limits.press_priority import PressPriority
from synckairos.limits.work_limits import PROCESSOR_MS, SETTING, WorkLimit

MAX_CLIENTS = 20_000
"""Maximum number of clients with an account.

Beyond it, the account of the client that was idle for the longest time is dropped.
"""

ACTIVE_S = 0.5
"""Seconds for which a client counts as active after a request."""

MAX_PAUSE_S = 2.0
"""Seconds that a client waits at most before its next request, however much time its last request used."""

LITTLE_USE_S = 0.002
"""Seconds of recently used processor time up to which the requests of a client do not pause for presses."""

MAX_WAIT_S = 5.0
"""Seconds that a request waits for its turn. Then it is refused."""

MAX_UNLIMITED_WAIT_S = 1.0
"""Seconds that a request without rate limit waits for its turn. Then it runs."""

REFUSAL_DELAY_S = 0.1
"""Seconds for which the answer of a rate-limited client is held back, so that it does not try again at once."""

REFUSAL_INTERVAL_S = 0.01
"""Seconds between two refusals to one rate-limited client. Without this interval, its refusals would leave together."""

MAX_REFUSAL_DELAY_S = 2.0
"""Maximum seconds for which a refusal is held back, however many other refusals to the client are held back."""

MAX_RUNNING = 8
"""Requests of a client that run at the same time while other clients are active. Further requests wait.

A turn of the event loop runs a part of each running request. So this bounds the time that a turn takes.
"""

MAX_QUERIES = 3
"""Queries of a client that run in Postgres at the same time, without reports. Further queries wait."""

QUERY_S = 0.001
"""Seconds that a query in Postgres counts. The processor time of Postgres cannot be measured for it."""

REQUEST_S = 0.000_1
"""Seconds that are charged for each request in addition to its measured time.

They stand for the work of protocols and the turns of the event loop, which cannot be measured for one request.
"""

RESPONSE_BYTE_S = 3e-9
"""Seconds that are charged for each byte of a response body, for work in the stores and on the way to the client."""

LONG_STEP_S = 0.02
"""Seconds without a wait from which on a step of a request is a candidate for `ProcessorTime.take_longest_step`."""

CHECK_S = 0.05
"""Seconds between two checks whether other clients are still active."""

_RECENT_WEIGHT = 0.2  # weight of the newest request in the mean of a client

T = TypeVar("T")


class ProcessorTimeAccount:
    """The processor time that one client used, and the requests of the client that wait."""

    __slots__ = (
        *("_burst_s", "_clock", "_free_at_s", "_next_refusal_at_s", "_place_is_free", "_share"),
        *("mean_s", "queries", "running", "turns", "waiting"),
    )

    def __init__(self, limit: WorkLimit, clock: Callable[[], float]) -> None:
        self._share = limit.per_s / 1000
        self._burst_s = limit.burst / 1000 / self._share
        self._clock = clock
        self._free_at_s = float("-inf")
        """Instant at which the client has used no more than its share."""
        self._next_refusal_at_s = float("-inf")
        """Earliest instant of the next answer to a refused request."""
        self._place_is_free: asyncio.Event | None = None
        """The event of the request that waits until fewer than `MAX_RUNNING` requests run. None if none waits."""
        self.running = 0
        """The number of requests that run."""
        self.queries: asyncio.Semaphore | None = None
        """The places of the queries in Postgres. None before the first query."""
        self.mean_s = 0.0
        """Mean processor time of the client's recent requests, in seconds."""
        self.turns: asyncio.Lock | None = None
        """The lock for which the waiting requests wait. None if no request waits."""
        self.waiting = 0
        """The number of requests that wait."""

    def charge(self, seconds: float) -> None:
        """Charge processor time to the client. Negative seconds undo a charge."""
        now_s = self._clock()
        begin_s = max(self._free_at_s, now_s - self._burst_s)
        self._free_at_s = min(begin_s + seconds / self._share, now_s + MAX_PAUSE_S)

    @property
    def has_much_use(self) -> bool:
        """Return whether the client recently used more than `LITTLE_USE_S`."""
        return self._free_at_s + self._burst_s - self._clock() > LITTLE_USE_S / self._share

    def seconds_to_wait(self) -> float:
        """Return the seconds to wait until the client has used no more than its share.

        The result is 0 if no wait is needed.
        """
        return max(0.0, self._free_at_s - self._clock())

    def must_wait(self) -> bool:
        """Return whether a new request must wait, because the client uses its whole share or all its places."""
        return self.turns is not None or self.running >= MAX_RUNNING or self.seconds_to_wait() > 0

    async def wait_for_place(self) -> None:
        """Wait until the end of a request of the client, at most `CHECK_S` seconds. One request waits at a time."""
        self._place_is_free = asyncio.Event()
        try:
            async with asyncio.timeout(CHECK_S):
                await self._place_is_free.wait()
        except TimeoutError:
            pass
        finally:
            self._place_is_free = None

    def leave_place(self) -> None:
        """Count that a request has ended, or begins a wait that uses no processor time."""
        self.running -= 1
        if self._place_is_free is not None:
            self._place_is_free.set()

    def reserve_refusal(self) -> float:
        """Return the seconds to wait before the answer to a refused request.

        Each call reserves a later instant than the call before, up to a maximum.
        """
        now_s = self._clock()
        at_s = max(now_s + REFUSAL_DELAY_S, min(self._next_refusal_at_s, now_s + MAX_REFUSAL_DELAY_S))
        self._next_refusal_at_s = at_s + REFUSAL_INTERVAL_S
        return at_s - now_s


_current: ContextVar[ProcessorTimeAccount | None] = ContextVar("processor_time_account", default=None)


class ProcessorTime:
    """The accounts of all clients of this instance."""

    def __init__(self, limit: WorkLimit = PROCESSOR_MS, clock: Callable[[], float] = time.monotonic) -> None:
        """Create the accounts.

        `limit` is the limit of processor time of each client. `clock` returns monotonic seconds.
        """
        self._limit = limit
        self._clock = clock
        self._accounts: OrderedDict[str, ProcessorTimeAccount] = OrderedDict()
        self._last_client = ""
        self._last_at_s = self._other_at_s = float("-inf")
        self._longest_step = ("", 0.0)
        self.press_priority = PressPriority()

    def note_activity(self, client: str) -> None:
        """Mark a client as active now, because it sent a request. It stays active for `ACTIVE_S` seconds."""
        now_s = self._clock()
        if client != self._last_client:
            self._last_client, self._other_at_s = client, self._last_at_s
        self._last_at_s = now_s

    def has_other_clients(self, client: str) -> bool:
        """Return whether at least one client other than `client` is active."""
        at_s = self._other_at_s if client == self._last_client else self._last_at_s
        return self._clock() - at_s < ACTIVE_S

    async def run(self, client: str, work: Callable[[], Coroutine[Any, Any, T]], *, is_rate_limited: bool = True) -> T:
        """Wait until the client has a place and a share of the processor, then await `work()` and charge its time.

        The call does not wait if no other client is active. If `is_rate_limited` is False, `work` is always called,
        after a wait of at most `MAX_UNLIMITED_WAIT_S` seconds.

        Raises: RateLimitExceeded if the wait takes more than `MAX_WAIT_S` seconds. `work` is not called then.
        """
        account = self._account(client)
        if account.must_wait():
            await self._wait(client, account, MAX_WAIT_S if is_rate_limited else MAX_UNLIMITED_WAIT_S, is_rate_limited)
        return await self._charge_while_running(account, work)

    async def pace(self, client: str, stream: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of a response body. Charge the processor time of each piece to the client.

        Before each piece, wait until the client has used no more than its share. The wait ends when no other client is
        active. The caller must close the result and `stream`.
        """
        pieces = aiter(stream)

        async def next_piece() -> bytes | None:
            return await anext(pieces, None)

        while True:
            account = self._account(client)
            if account.must_wait():
                await self._wait(client, account, None, is_rate_limited=False)
            piece = await self._charge_while_running(account, next_piece)
            if piece is None:
                return
            account.charge(len(piece) * RESPONSE_BYTE_S)
            yield piece
            await asyncio.sleep(0)  # if the client reads fast, the sending does not end the turn of the event loop

    def take_longest_step(self) -> tuple[str, float]:
        """Return the longest step of a request since the last call: the name of its function, and its seconds.

        A step is the time in which a request ran on the event loop without a wait. Steps below `LONG_STEP_S` seconds
        are not noted. The name is empty if no step was noted.
        """
        longest, self._longest_step = self._longest_step, ("", 0.0)
        return longest

    def _note_step(self, name: str, seconds: float) -> None:
        if seconds > self._longest_step[1]:
            self._longest_step = (name, seconds)

    async def _charge_while_running(
        self, account: ProcessorTimeAccount, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Await `work()` and charge its processor time to an account."""
        reserved_s = account.mean_s
        account.charge(reserved_s + REQUEST_S)
        account.running += 1
        token = _current.set(account)
        spent = [REQUEST_S]
        try:
            return await _measure(work(), account, spent, self._note_step, self.press_priority)
        finally:
            _current.reset(token)
            account.leave_place()
            account.charge(-reserved_s)
            account.mean_s += (spent[0] - account.mean_s) * _RECENT_WEIGHT

    def charge_response(self, client: str, size_bytes: int) -> None:
        """Charge the estimated processor time for sending a response body of `size_bytes` bytes to a client."""
        self._account(client).charge(size_bytes * RESPONSE_BYTE_S)

    async def delay_refusal(self, client: str) -> None:
        """Wait at least `REFUSAL_DELAY_S` seconds, before the answer to a refused request of a rate-limited client.

        A client with many refused requests gets one answer each `REFUSAL_INTERVAL_S` seconds. Return immediately if no
        other client is active.
        """
        if self.has_other_clients(client):
            await asyncio.sleep(self._account(client).reserve_refusal())

    @property
    def account_count(self) -> int:
        """Return the number of clients with an account."""
        return len(self._accounts)

    @property
    def waiting_count(self) -> int:
        """Return the number of requests and pieces of responses that wait because of the shares of their clients."""
        return sum(account.waiting for account in self._accounts.values())

    def _account(self, client: str) -> ProcessorTimeAccount:
        account = self._accounts.get(client)
        if account is None:
            account = self._accounts[client] = ProcessorTimeAccount(self._limit, self._clock)
            if len(self._accounts) > MAX_CLIENTS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(client)
        return account

    async def _wait(
        self, client: str, account: ProcessorTimeAccount, max_wait_s: float | None, is_rate_limited: bool
    ) -> None:
        """Wait until the client has a place and has used no more than its share, or no other client is active.

        The requests of a client wait in the order of their arrival. The wait ends after `max_wait_s` seconds; None is
        no limit.

        Raises: RateLimitExceeded if `is_rate_limited` and the wait takes more than `max_wait_s` seconds.
        """
        if account.turns is None:
            account.turns = asyncio.Lock()
        account.waiting += 1
        try:
            async with asyncio.timeout(max_wait_s), account.turns:
                while self.has_other_clients(client):
                    if account.running >= MAX_RUNNING:
                        await account.wait_for_place()
                    elif wait_s := account.seconds_to_wait():
                        await asyncio.sleep(min(wait_s, CHECK_S))
                    else:
                        break
        except TimeoutError:
            if is_rate_limited:
                wait_ms = max(1, math.ceil(account.seconds_to_wait() * 1000))
                raise RateLimitExceeded(self._limit.description, SETTING, wait_ms) from None
        finally:
            account.waiting -= 1
            if not account.waiting:
                account.turns = None


@contextmanager
def idle_wait() -> Iterator[None]:
    """Give the place of the running request to another request of the client, for a wait inside the block.

    The wait must use no processor time and can be long, such as a wait for the client itself.
    """
    account = _current.get()
    if account is None:
        yield
        return
    account.leave_place()
    try:
        yield
    finally:
        account.running += 1


@asynccontextmanager
async def query_place() -> AsyncIterator[None]:
    """Wait until the client whose request runs may run a query in Postgres, and charge the query. Run it in the block.

    A client runs `MAX_QUERIES` queries at a time. Queries that no client requested do not wait.
    """
    account = _current.get()
    if account is None:
        yield
        return
    if account.queries is None:
        account.queries = asyncio.Semaphore(MAX_QUERIES)
    async with account.queries:
        account.charge(QUERY_S)
        yield


async def run_in_thread(function: Callable[[], T]) -> T:
    """Call `function` in a thread, and return its result.

    The processor time of the thread is charged to the client whose request runs in this task. The function should take
    at least some milliseconds, because a thread costs 0.1 ms.
    """
    account = _current.get()
    if account is None:
        return await asyncio.to_thread(function)

    def measure() -> tuple[T, float]:
        began_s = time.thread_time()
        return function(), time.thread_time() - began_s

    result, spent_s = await asyncio.to_thread(measure)
    account.charge(spent_s)
    return result


@types.coroutine
def _measure(
    coroutine: Coroutine[Any, Any, T],
    account: ProcessorTimeAccount,
    spent: list[float],
    note_step: Callable[[str, float], None],
    presses: PressPriority,
) -> Generator[Any, Any, T]:
    """Run a coroutine to its end, and charge to the account the time in which it did not wait.

    While presses run, each step of a client with much use waits first.
    """
    sent: Any = None
    raised: BaseException | None = None
    while True:
        is_delayed = presses.must_wait and account.has_much_use
        if is_delayed:
            try:
                yield from presses.wait().__await__()
            except GeneratorExit:
                coroutine.close()
                presses.run_next_step()
                raise
            except BaseException as error:  # noqa: BLE001 - the coroutine must see cancellations too
                raised = error
        began_s = time.perf_counter()
        try:
            awaited = coroutine.send(sent) if raised is None else coroutine.throw(raised)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            used_s = time.perf_counter() - began_s
            spent[0] += used_s
            account.charge(used_s)
            if is_delayed:
                presses.run_next_step()
            if used_s >= LONG_STEP_S:
                note_step(getattr(coroutine, "__qualname__", ""), used_s)
        sent = raised = None
        try:
            sent = yield awaited
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the coroutine must see cancellations too
            raised = error
