"""Turns of the steps of clients with much work: one in a turn of the event loop, and pauses while a press runs."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from synckairos.limits import press_priority
from synckairos.limits.press_priority import PressPriority
from synckairos.limits.processor_time import RESPONSE_BYTE_S, ProcessorTime
from synckairos.limits.processor_time_account import LITTLE_USE_S
from tests.background_task import start

Work = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no step run because its pause ends while a press runs."""
    monkeypatch.setattr(press_priority, "MIN_PAUSE_S", 60)


def processor_time_with_much_use(*clients: str) -> ProcessorTime:
    """Return accounts in which these clients have recently used more time than a client with little work."""
    shares = ProcessorTime()
    for client in clients:
        shares.charge_response(client, int(10 * LITTLE_USE_S / RESPONSE_BYTE_S))
    return shares


def record_steps(steps: list[str], name: str, count: int = 3) -> Work:
    """Return work with this number of steps, each of which appends the name to `steps`."""

    async def work() -> None:
        for _ in range(count):
            steps.append(name)
            await asyncio.sleep(0)

    return work


async def turn_loop(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_step_of_a_client_with_much_work_waits_until_no_press_runs() -> None:
    shares, steps = processor_time_with_much_use("a"), list[str]()
    presses = shares.press_priority
    presses.begin_press()
    presses.begin_press()
    request = await start(shares.run("a", record_steps(steps, "a")))
    presses.end_press()
    await turn_loop()
    assert steps == [], "one press still runs"
    presses.end_press()
    await request
    assert steps == ["a"] * 3


async def test_press_that_begins_during_a_request_delays_the_next_step_of_the_request() -> None:
    shares, steps = processor_time_with_much_use("a"), list[str]()
    request = await start(shares.run("a", record_steps(steps, "a")))
    assert steps == ["a"]
    shares.press_priority.begin_press()
    await turn_loop()
    assert steps == ["a"]
    shares.press_priority.end_press()
    await request


async def test_client_with_little_work_does_not_wait() -> None:
    shares, steps = ProcessorTime(), list[str]()
    shares.press_priority.begin_press()
    await shares.run("a", record_steps(steps, "a"))
    assert steps == ["a"] * 3


async def test_waiting_steps_run_in_order_and_one_in_a_turn_of_the_loop() -> None:
    clients = ("a", "b", "c")
    shares, steps = processor_time_with_much_use(*clients), list[str]()
    presses = shares.press_priority
    presses.begin_press()
    requests = [await start(shares.run(client, record_steps(steps, client, 1))) for client in clients]
    presses.end_press()
    seen = list[int]()
    while len(seen) < 20 and len(steps) < len(clients):
        await asyncio.sleep(0)
        seen.append(len(steps))
    assert set(seen) >= {1, 2, 3}, "no turn of the loop ran two of the steps"
    assert steps == list(clients)
    await asyncio.gather(*requests)


async def test_steps_of_several_requests_run_one_in_a_turn_of_the_loop_without_a_press() -> None:
    clients = ("a", "b", "c")
    shares, steps, seen = processor_time_with_much_use(*clients), list[str](), list[int]()
    requests = [asyncio.ensure_future(shares.run(client, record_steps(steps, client))) for client in clients]
    while not all(each.done() for each in requests):
        await asyncio.sleep(0)
        seen.append(len(steps))
    assert seen[-1] == 9
    assert all(after - before <= 1 for before, after in pairwise([0, *seen]))
    assert steps[:3] == [*clients], "the requests take turns"


async def test_request_within_a_request_of_the_same_task_does_not_wait_for_it() -> None:
    shares, steps = processor_time_with_much_use("a", "b"), list[str]()
    requests = [shares.run(client, partial(shares.run, client, record_steps(steps, client))) for client in ("a", "b")]
    async with asyncio.timeout(10):
        await asyncio.gather(*requests)
    assert sorted(steps) == ["a"] * 3 + ["b"] * 3


async def test_turn_that_comes_together_with_a_cancellation_goes_to_the_next_step() -> None:
    shares, steps = processor_time_with_much_use("a", "b"), list[str]()
    presses = shares.press_priority
    presses.begin_press()
    cancelled = await start(shares.run("a", record_steps(steps, "a")))
    other = await start(shares.run("b", record_steps(steps, "b", 1)))
    presses.end_press()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await other
    assert steps == ["b"]


async def test_press_that_begins_between_waiting_steps_delays_the_rest() -> None:
    shares, steps = processor_time_with_much_use("a", "b"), list[str]()
    presses = shares.press_priority

    async def press_during_the_step() -> None:
        steps.append("a")
        presses.begin_press()

    presses.begin_press()
    first = await start(shares.run("a", press_during_the_step))
    second = await start(shares.run("b", record_steps(steps, "b")))
    presses.end_press()
    await first
    await turn_loop()
    assert steps == ["a"]
    presses.end_press()
    await second
    assert steps == ["a", "b", "b", "b"]


async def test_steps_run_after_pauses_while_a_press_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(press_priority, "MIN_PAUSE_S", 0)
    shares, steps = processor_time_with_much_use("a"), list[str]()
    shares.press_priority.begin_press()
    await shares.run("a", record_steps(steps, "a"))
    assert steps == ["a"] * 3
    shares.press_priority.end_press()
    await turn_loop()
    assert not shares.press_priority.must_wait


async def test_cancellation_reaches_a_request_that_waits_for_presses_and_others_continue() -> None:
    shares, steps = processor_time_with_much_use("a", "b"), list[str]()
    presses = shares.press_priority
    is_waiting = asyncio.Event()

    async def clean_up_slowly() -> None:
        try:
            is_waiting.set()
            await asyncio.sleep(0)
        finally:
            steps.append("cleaned up")

    cancelled = await start(shares.run("a", clean_up_slowly))
    await is_waiting.wait()
    presses.begin_press()
    await turn_loop()
    other = await start(shares.run("b", record_steps(steps, "b", 1)))
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert steps == ["cleaned up"]
    presses.end_press()
    await other
    await turn_loop()
    assert not presses.must_wait


def test_press_without_waiting_steps_leaves_nothing() -> None:
    presses = PressPriority()
    presses.begin_press()
    assert presses.must_wait
    presses.end_press()
    assert not presses.must_wait
