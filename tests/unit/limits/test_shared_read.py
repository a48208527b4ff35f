"""Single-flight read: calls share a read that begins after these calls. An error affects only the calls of its read."""

import asyncio

import pytest

from synckairos.limits.shared_read import SharedRead


class Source:
    """A source whose reads wait until the test finishes them. A read returns its number."""

    def __init__(self) -> None:
        self.finish: list[asyncio.Event] = []

    async def read(self) -> int:
        number = len(self.finish)
        self.finish.append(asyncio.Event())
        await self.finish[number].wait()
        return number

    def finish_all(self) -> None:
        for each in self.finish:
            each.set()


async def run_started_tasks() -> None:
    """Run the event loop until all tasks wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_first_caller_starts_a_read_at_once() -> None:
    source, shared = Source(), SharedRead[int]()
    caller = asyncio.create_task(shared.join_next_read(source.read))
    await run_started_tasks()
    assert len(source.finish) == 1
    source.finish_all()
    assert await caller == 0


async def test_callers_during_a_read_share_the_next_read() -> None:
    source, shared = Source(), SharedRead[int]()
    first = asyncio.create_task(shared.join_next_read(source.read))
    await run_started_tasks()
    late = [asyncio.create_task(shared.join_next_read(source.read)) for _ in range(3)]
    await run_started_tasks()
    assert len(source.finish) == 1
    source.finish_all()
    assert await first == 0
    await run_started_tasks()
    assert len(source.finish) == 2
    source.finish_all()
    assert await asyncio.gather(*late) == [1, 1, 1]


async def test_caller_during_the_next_read_gets_a_third_read() -> None:
    source, shared = Source(), SharedRead[int]()
    callers = []
    for _ in range(3):
        callers.append(asyncio.create_task(shared.join_next_read(source.read)))
        await run_started_tasks()
        if len(callers) == 2:
            source.finish[0].set()
            await run_started_tasks()
    source.finish[1].set()
    await run_started_tasks()
    source.finish_all()
    assert await asyncio.gather(*callers) == [0, 1, 2]


async def test_failed_read_fails_its_callers_and_not_the_next_read() -> None:
    source, shared = Source(), SharedRead[int]()

    async def fail() -> int:
        await source.read()
        raise ConnectionResetError

    first = asyncio.create_task(shared.join_next_read(fail))
    await run_started_tasks()
    late = asyncio.create_task(shared.join_next_read(source.read))
    await run_started_tasks()
    source.finish_all()
    with pytest.raises(ConnectionResetError):
        await first
    await run_started_tasks()
    source.finish_all()
    assert await late == 1


async def test_cancelled_caller_does_not_cancel_the_shared_read() -> None:
    source, shared = Source(), SharedRead[int]()
    first = asyncio.create_task(shared.join_next_read(source.read))
    await run_started_tasks()
    cancelled, late = (asyncio.create_task(shared.join_next_read(source.read)) for _ in range(2))
    await run_started_tasks()
    cancelled.cancel()
    source.finish_all()
    assert await first == 0
    await run_started_tasks()
    source.finish_all()
    assert await late == 1
    assert cancelled.cancelled()
