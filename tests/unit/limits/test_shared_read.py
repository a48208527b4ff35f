"""Single-flight read: calls share a read that begins after these calls. An error affects only the calls of its read."""

import asyncio

import pytest

from synckairos.limits.shared_read import SharedRead
from tests.background_task import start


class Source:
    """A source whose reads wait until the test finishes them. A read returns its number."""

    def __init__(self) -> None:
        self.finish: list[asyncio.Event] = []
        self._begins = asyncio.Condition()

    async def read(self) -> int:
        number = len(self.finish)
        self.finish.append(asyncio.Event())
        async with self._begins:
            self._begins.notify_all()
        await self.finish[number].wait()
        return number

    async def wait_for_reads(self, number: int) -> None:
        """Wait until this number of reads have begun, the ended reads included. No further read has begun then."""
        async with asyncio.timeout(10), self._begins:
            await self._begins.wait_for(lambda: len(self.finish) >= number)
        assert len(self.finish) == number

    def finish_all(self) -> None:
        for each in self.finish:
            each.set()


async def test_first_caller_starts_a_read_at_once() -> None:
    source, shared = Source(), SharedRead[int]()
    caller = await start(shared.join_next_read(source.read))
    await source.wait_for_reads(1)
    source.finish_all()
    assert await caller == 0


async def test_callers_during_a_read_share_the_next_read() -> None:
    source, shared = Source(), SharedRead[int]()
    first = await start(shared.join_next_read(source.read))
    await source.wait_for_reads(1)
    late = [await start(shared.join_next_read(source.read)) for _ in range(3)]
    await source.wait_for_reads(1)
    source.finish_all()
    assert await first == 0
    await source.wait_for_reads(2)
    source.finish_all()
    assert await asyncio.gather(*late) == [1, 1, 1]


async def test_caller_during_the_next_read_gets_a_third_read() -> None:
    source, shared = Source(), SharedRead[int]()
    callers = []
    for _ in range(3):
        callers.append(await start(shared.join_next_read(source.read)))
        await source.wait_for_reads(1 if len(callers) < 3 else 2)
        if len(callers) == 2:
            source.finish[0].set()
            await source.wait_for_reads(2)
    source.finish[1].set()
    await source.wait_for_reads(3)
    source.finish_all()
    assert await asyncio.gather(*callers) == [0, 1, 2]


async def test_failed_read_fails_its_callers_and_not_the_next_read() -> None:
    source, shared = Source(), SharedRead[int]()

    async def fail() -> int:
        await source.read()
        raise ConnectionResetError

    first = await start(shared.join_next_read(fail))
    await source.wait_for_reads(1)
    late = await start(shared.join_next_read(source.read))
    source.finish_all()
    with pytest.raises(ConnectionResetError):
        await first
    await source.wait_for_reads(2)
    source.finish_all()
    assert await late == 1


async def test_cancelled_caller_does_not_cancel_the_shared_read() -> None:
    source, shared = Source(), SharedRead[int]()
    first = await start(shared.join_next_read(source.read))
    await source.wait_for_reads(1)
    cancelled, late = [await start(shared.join_next_read(source.read)) for _ in range(2)]
    cancelled.cancel()
    source.finish_all()
    assert await first == 0
    await source.wait_for_reads(2)
    source.finish_all()
    assert await late == 1
    assert cancelled.cancelled()
