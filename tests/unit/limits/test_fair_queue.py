"""Turns of clients in a queue of which one part runs at a time."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from synckairos.limits.fair_queue import FairQueue
from synckairos.limits.parse_queue import ParseQueue
from tests.background_task import start


async def settle(tasks: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks)


async def test_client_with_one_call_gets_the_second_turn_after_a_client_with_many() -> None:
    queue, order = FairQueue(), list[str]()

    async def work(client: str) -> None:
        async with queue.turn(client):
            order.append(client)

    async with queue.turn("first"):
        waiting = [await start(work(client)) for client in "aaaabbc"]
    await settle(waiting)
    assert order == list("abcabaa")
    assert queue.waiting_client_count == 0


async def test_group_with_one_call_gets_the_second_turn_after_a_group_with_many_clients() -> None:
    queue, order = FairQueue(), list[str]()

    async def work(client: str, group: str) -> None:
        async with queue.turn(client, group):
            order.append(client)

    async with queue.turn("first"):
        calls = [*((client, "many") for client in "abcabc"), ("x", "one")]
        waiting = [await start(work(*each)) for each in calls]
        assert queue.waiting_client_count == 4
    await settle(waiting)
    assert order == list("axbcabc")


async def test_several_places_run_several_turns() -> None:
    queue, order = FairQueue(2), list[str]()

    async def work(client: str) -> None:
        async with queue.turn(client):
            order.append(client)

    async with queue.turn("first"):
        states = [queue.is_taken]
        async with queue.turn("second"):
            waiting = await start(work("third"))
            states.append(queue.is_taken)
            assert order == []
        await settle([waiting])
        states.append(queue.is_taken)
    assert (order, states) == (["third"], [False, True, False])


async def test_input_of_another_client_is_parsed_before_the_further_inputs_of_a_client() -> None:
    queue, parsed = ParseQueue(), list[str]()

    def parse(client: str) -> Coroutine[Any, Any, None]:
        return queue.run(client, 1, lambda: parsed.append(client))

    await settle([asyncio.create_task(parse(client)) for client in "aaab"])
    assert parsed == list("aaba")


@pytest.mark.parametrize("is_next", [True, False])
async def test_cancelled_call_loses_its_turn_and_the_next_call_gets_it(is_next: bool) -> None:
    queue, order = FairQueue(), list[str]()

    async def work(client: str) -> None:
        async with queue.turn(client):
            order.append(client)

    async with queue.turn("first"):
        cancelled, waiting = await start(work("cancelled")), await start(work("waiting"))
        if not is_next:
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert queue.waiting_client_count == 1
    cancelled.cancel()
    with suppress(asyncio.CancelledError):
        await cancelled
    await settle([waiting])
    assert order == ["waiting"]
    async with asyncio.timeout(10), queue.turn("last"):
        assert queue.waiting_client_count == 0
