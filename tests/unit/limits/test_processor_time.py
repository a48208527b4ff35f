"""The share of each client in the processor time of an instance."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from synckairos.errors import RateLimitExceeded
from synckairos.limits import processor_time, processor_time_account, running_request, used_time
from synckairos.limits.processor_time import ProcessorTime
from synckairos.limits.processor_time_account import ProcessorTimeAccount
from synckairos.limits.running_request import charge_report, charge_task, idle_wait, query_place, run_in_thread
from synckairos.limits.step_meter import StepMeter
from synckairos.limits.work_limits import PROCESSOR_MS, SETTING
from tests.background_task import start
from tests.waiting import eventually


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def answer() -> str:
    await asyncio.sleep(0)
    return "answer"


async def answer_without_waits() -> str:
    return "answer"


def use_all(shares: ProcessorTime, client: str) -> None:
    """Charge so much to a client that its next request waits."""
    shares.charge_response(client, int(10 / processor_time.RESPONSE_BYTE_S))


def test_client_may_use_the_burst_at_once_and_then_its_share() -> None:
    clock = Clock()
    account = ProcessorTimeAccount(PROCESSOR_MS, clock, StepMeter())
    account.charge(PROCESSOR_MS.burst / 1000)
    assert account.seconds_to_wait() == 0
    account.charge(0.1)
    assert account.seconds_to_wait() == pytest.approx(0.1 / (PROCESSOR_MS.per_s / 1000))
    clock.now_s += account.seconds_to_wait()
    assert account.seconds_to_wait() == 0
    account.charge(1_000)
    assert account.seconds_to_wait() == used_time.MAX_PAUSE_S


def test_another_client_is_active_for_a_while_after_its_request() -> None:
    clock = Clock()
    shares = ProcessorTime(clock=clock)
    shares.note_activity("a")
    shares.note_activity("a")
    assert (shares.has_other_clients("a"), shares.has_other_clients("b")) == (False, True)
    shares.note_activity("b")
    shares.note_activity("a")
    assert (shares.has_other_clients("a"), shares.has_other_clients("b")) == (True, True)
    clock.now_s += processor_time.ACTIVE_S
    shares.note_activity("a")
    assert (shares.has_other_clients("a"), shares.has_other_clients("b")) == (False, True)


async def test_client_above_its_share_is_refused_only_while_others_are_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_time, "MAX_WAIT_S", 0)
    monkeypatch.setattr(processor_time, "MAX_UNLIMITED_WAIT_S", 0)
    shares = ProcessorTime(clock=Clock())
    shares.note_activity("a")
    use_all(shares, "a")
    assert await shares.run("a", answer) == "answer"
    shares.note_activity("b")
    with pytest.raises(RateLimitExceeded, match="limit of 200 milliseconds of processor time") as refusal:
        await shares.run("a", answer)
    assert refusal.value.details["setting"] == SETTING
    assert await shares.run("a", answer, is_rate_limited=False) == "answer", "a probe is never refused"
    assert await shares.run("b", answer) == "answer"


async def test_waiting_requests_of_a_client_run_in_order_when_the_share_allows_it() -> None:
    clock, order = Clock(), list[int]()
    shares = ProcessorTime(clock=clock)
    shares.note_activity("a")
    shares.note_activity("b")
    use_all(shares, "a")

    async def work(number: int) -> None:
        order.append(number)

    async def request(number: int) -> asyncio.Task[None]:
        return await start(shares.run("a", lambda: work(number)))

    requests = [await request(number) for number in range(5)]
    assert order == []
    clock.now_s += used_time.MAX_PAUSE_S
    async with asyncio.timeout(10):
        await asyncio.gather(*requests)
    assert order == list(range(5))


async def test_time_of_a_request_is_charged_without_its_waits_and_with_its_threads() -> None:
    clock = Clock()
    shares = ProcessorTime(clock=clock)

    def use_processor() -> int:
        end_s = time.thread_time() + 0.02
        while time.thread_time() < end_s:
            pass
        return threading.get_ident()

    async def work() -> None:
        assert await run_in_thread(use_processor) != threading.get_ident()
        use_processor()
        await asyncio.sleep(0.01)

    await shares.run("a", work)
    shares.charge_response("a", round((PROCESSOR_MS.burst / 1000 - 0.04) / processor_time.RESPONSE_BYTE_S))
    shares.note_activity("b")
    shares.note_activity("a")
    pending = await start(shares.run("a", answer_without_waits))
    assert not pending.done(), "the threads and the coroutine used the burst together"
    clock.now_s += used_time.MAX_PAUSE_S
    assert await pending == "answer"


async def test_time_of_a_task_and_of_a_report_is_charged_to_the_client_of_the_request() -> None:
    shares, events = ProcessorTime(clock=Clock()), list[str]()

    async def use_processor() -> None:
        end_s = time.perf_counter() + 0.01
        while time.perf_counter() < end_s:
            pass
        events.append("used")

    async def work() -> None:
        await asyncio.create_task(charge_task(use_processor))

    async def report() -> None:
        with charge_report():
            await asyncio.sleep(0.01)

    for client, each in (("a", work), ("b", report)):
        account = shares._account(client)
        assert not account.has_much_use
        await shares.run(client, each)
        assert account.has_much_use
    await charge_task(use_processor)  # without a client
    with charge_report():
        events.append("report without a client")
    assert events == ["used", "used", "report without a client"]


async def test_a_task_that_is_cancelled_before_its_first_step_does_not_begin_its_work() -> None:
    begun = list[str]()

    async def wait() -> None:
        pass

    def begin() -> Coroutine[Any, Any, None]:
        begun.append("begun")
        return wait()

    async def work() -> None:
        task = asyncio.create_task(charge_task(begin))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await ProcessorTime(clock=Clock()).run("a", work)
    assert begun == []


async def test_error_of_a_request_is_raised_and_a_cancellation_reaches_it() -> None:
    shares, events = ProcessorTime(), list[str]()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("wrong")

    is_waiting = asyncio.Event()

    async def wait_forever() -> None:
        is_waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            events.append("cleaned up")

    async def catch() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "caught"
        return "not reached"

    with pytest.raises(ValueError, match="wrong"):
        await shares.run("a", fail)
    task = asyncio.create_task(shares.run("a", wait_forever))
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["cleaned up"]
    assert await shares.run("a", catch) == "caught"


async def test_number_of_accounts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_time, "MAX_CLIENTS", 3)
    shares = ProcessorTime()
    for client in range(10):
        await shares.run(str(client), answer)
    assert shares.account_count == 3


async def test_refusal_is_held_back_only_while_others_are_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(used_time, "REFUSAL_DELAY_S", 60)
    shares = ProcessorTime(clock=Clock())
    shares.note_activity("a")
    await shares.delay_refusal("a")
    shares.note_activity("b")
    held_back = await start(shares.delay_refusal("a"))
    assert not held_back.done()
    held_back.cancel()


async def test_refusals_of_one_client_are_answered_one_after_the_other() -> None:
    clock = Clock()
    account = ProcessorTimeAccount(PROCESSOR_MS, clock, StepMeter())
    waits = [account.reserve_refusal() for _ in range(1_000)]
    assert waits[0] == pytest.approx(used_time.REFUSAL_DELAY_S)
    steps = [later - earlier for earlier, later in pairwise(waits[:100])]
    assert steps == pytest.approx([processor_time_account.REFUSAL_INTERVAL_S] * len(steps))
    assert max(waits) == pytest.approx(used_time.MAX_REFUSAL_DELAY_S)
    clock.now_s += 2 * used_time.MAX_REFUSAL_DELAY_S
    assert account.reserve_refusal() == pytest.approx(used_time.REFUSAL_DELAY_S)


class Pieces:
    """A stream of ten equal pieces."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece
        self.produced = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(10):
            self.produced += 1
            yield self.piece


async def test_pieces_of_a_stream_wait_for_the_share_of_their_client_while_others_are_active() -> None:
    clock = Clock()
    shares = ProcessorTime(clock=clock)
    shares.note_activity("b")
    shares.note_activity("a")
    burst_s = PROCESSOR_MS.burst / 1000
    stream = Pieces(b"x" * int(burst_s / 2 / processor_time.RESPONSE_BYTE_S))
    received: list[bytes] = []

    async def read() -> None:
        received.extend([piece async for piece in shares.pace("a", stream)])

    async def is_waiting() -> bool:
        return shares.waiting_count == 1

    reading = asyncio.create_task(read())
    await eventually(is_waiting)
    assert stream.produced in (2, 3), "two pieces and the time to produce them use the burst"
    assert await shares.run("b", answer) == "answer"
    shares.note_activity("b")
    clock.now_s += processor_time.ACTIVE_S
    async with asyncio.timeout(10):
        await reading
    assert received == [stream.piece] * 10, "no other client was active any more"


async def start_requests(
    shares: ProcessorTime, count: int, work: Callable[[], Coroutine[Any, Any, None]]
) -> list[asyncio.Task[None]]:
    """Start requests of the client `a`, and return when no further one of them begins to run."""
    requests = [asyncio.create_task(shares.run("a", work)) for _ in range(count)]
    for _ in range(10 + count):
        await asyncio.sleep(0)
    return requests


@pytest.mark.parametrize("others", [True, False])
async def test_only_some_requests_of_a_client_run_at_a_time_while_others_are_active(others: bool) -> None:
    shares, finish, begun = ProcessorTime(clock=Clock()), asyncio.Event(), list[int]()
    if others:
        shares.note_activity("b")

    async def work() -> None:
        begun.append(1)
        await finish.wait()

    requests = await start_requests(shares, 3 * processor_time_account.MAX_RUNNING, work)
    assert len(begun) == (processor_time_account.MAX_RUNNING if others else len(requests))
    assert await shares.run("b", answer) == "answer"
    finish.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*requests)
    assert len(begun) == len(requests)


async def test_request_that_waits_idle_gives_its_place_to_another_request() -> None:
    shares, client_sends = ProcessorTime(clock=Clock()), asyncio.Event()
    shares.note_activity("b")

    async def read_slow_body() -> None:
        with idle_wait():
            await client_sends.wait()

    slow = await start_requests(shares, 3 * processor_time_account.MAX_RUNNING, read_slow_body)
    async with asyncio.timeout(10):
        assert await shares.run("a", answer) == "answer"
    client_sends.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*slow)


async def test_queries_of_a_client_wait_for_each_other_and_other_queries_do_not() -> None:
    shares, finish, begun = ProcessorTime(clock=Clock()), asyncio.Event(), list[int]()

    async def query() -> None:
        async with query_place():
            begun.append(1)
            await finish.wait()

    requests = await start_requests(shares, 2 * running_request.MAX_QUERIES, query)
    assert len(begun) == running_request.MAX_QUERIES
    background = asyncio.create_task(query())
    other = asyncio.create_task(shares.run("b", query))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(begun) == running_request.MAX_QUERIES + 2
    finish.set()
    async with asyncio.timeout(10):
        await asyncio.gather(background, other, *requests)
    assert len(begun) == len(requests) + 2
