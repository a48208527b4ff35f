"""The timekeeper: sessions run out on time with nobody connected, once, whoever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from uuid import uuid4

import orjson

from synckairos.background.timekeeper import Timekeeper
from synckairos.clock.commands import Adjust, Create, NewParticipant, Pause, Start
from synckairos.clock.model import OnTimeout, Status, SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.store.connect import open_redis
from synckairos.store.deadlines import Deadlines
from tests.integration.parts import Parts, open_parts
from tests.waiting import eventually

SOMEBODY = Principal()


@asynccontextmanager
async def keeping_time(settings: Settings) -> AsyncIterator[Parts]:
    """Open an instance's parts with its timekeeper at work."""
    redis = open_redis(settings.redis_url, settings.redis_timeout_s)
    async with open_parts(settings) as parts:
        keeper = Timekeeper(parts.sessions, Deadlines(parts.pipe, redis, parts.store.keys), settings.partitions)
        task = asyncio.create_task(keeper.run())
        try:
            yield parts
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await redis.aclose()


async def start(parts: Parts, spec: Create) -> str:
    made = await parts.sessions.create(CreateRequest(SOMEBODY, spec))
    session_id = made.session.session_id
    await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Start(), "start"))
    return session_id


async def stored(parts: Parts, session_id: str) -> dict[str, object]:
    """Look at what Redis holds, without asking the service, which would commit what is due itself."""
    found: dict[str, object] = orjson.loads(
        await parts.pipe.call("HGET", parts.store.keys.session(session_id), "state")
    )
    return found


async def test_many_sessions_expire_at_their_deadlines_with_nobody_asking(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        session_ids = await asyncio.gather(*(start(parts, spec) for _ in range(100)))

        async def all_over() -> bool:
            return not await parts.pipe.call("ZCARD", parts.store.keys.deadlines(0))

        await eventually(all_over)
        for session_id in session_ids:
            state = await stored(parts, session_id)
            assert (state["status"], state["version"]) == (Status.EXPIRED, 3)
            assert state["session_completed_at"] == state["deadline_at"]


async def test_an_earlier_deadline_wakes_a_sleeping_keeper(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        late = await start(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000))
        await parts.sessions.execute(CommandRequest(SOMEBODY, late, Adjust(-3_600_000 + 50), "adjust"))

        async def is_over() -> bool:
            return (await stored(parts, late))["status"] == Status.EXPIRED

        await eventually(is_over)


async def test_a_pause_with_an_end_lifts_itself(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        session_id = await start(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000))
        await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Pause("tea", 100), "pause"))
        paused = await stored(parts, session_id)

        async def runs_again() -> bool:
            return (await stored(parts, session_id))["status"] == Status.RUNNING

        await eventually(runs_again)
        resumed = await stored(parts, session_id)
        assert resumed["version"] == int(str(paused["version"])) + 1


async def test_three_keepers_bring_each_cycle_about_once_and_late_is_as_good_as_on_time(settings: Settings) -> None:
    two = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    spec = replace(
        Create(SyncMode.PER_CYCLE, two, time_per_cycle_ms=1_000, max_cycles=10), on_timeout=OnTimeout.ADVANCE
    )
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings))
        session_ids = [await start(parts, spec) for _ in range(10)]
        for session_id in session_ids:
            await parts.rewind(session_id, 60_000)
        for _ in range(3):
            await stack.enter_async_context(keeping_time(settings))

        async def all_over() -> bool:
            return not await parts.pipe.call("ZCARD", parts.store.keys.deadlines(0))

        await eventually(all_over)
        for session_id in session_ids:
            history = [orjson.loads(message.snapshot.document) for message in await parts.store.history(session_id)][
                ::-1
            ]
            assert [state["version"] for state in history] == list(range(1, 13))
            assert history[-1]["status"] == Status.EXPIRED
            instants = [message.at_ms for message in await parts.store.history(session_id)][::-1]
            assert [after - before for before, after in pairwise(instants[2:])] == [1_000] * 9


async def test_of_those_that_are_due_together_each_stands_by_itself(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        keys, store = parts.store.keys, parts.store
        fine, beaten, broken, absent, early = [
            await start(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000)) for _ in range(5)
        ]
        for session_id in (fine, beaten, broken, absent):
            await parts.rewind(session_id, 3_600_000)
        await parts.pipe.call("HSET", keys.session(broken), "state", "{}")
        due = [(session_id, await store.load(session_id)) for session_id in (beaten, broken, absent, early, fine)]
        await parts.sessions.expire(beaten)
        due[2] = (absent, replace(due[2][1], stored=None))
        assert await parts.sessions.expire_batch(due) == [False, False, False, False, True]
        over = await stored(parts, fine)
        assert (over["status"], over["session_completed_at"]) == (Status.EXPIRED, over["deadline_at"])
        assert [message.snapshot.version for message in await store.history(beaten)] == [3, 2, 1]
        assert (await stored(parts, early))["status"] == Status.RUNNING
        assert await parts.sessions.expire_batch([]) == []


async def test_neither_a_broken_session_nor_a_forgotten_script_stops_the_clock(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        one, broken, other = await asyncio.gather(*(start(parts, spec) for _ in range(3)))
        await parts.pipe.call("HSET", parts.store.keys.session(broken), "state", "{}")
        await parts.pipe.call("SCRIPT", "FLUSH")

        async def others_are_over() -> bool:
            return [(await stored(parts, each))["status"] for each in (one, other)] == [Status.EXPIRED] * 2

        await eventually(others_are_over)


async def test_a_commit_that_the_store_refuses_stops_no_other_clock(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        one, broken, other = await asyncio.gather(*(start(parts, spec) for _ in range(3)))
        history = parts.store.keys.history(broken)
        await parts.pipe.call("SET", history, "no list")

        async def are_over(*session_ids: str) -> bool:
            return all([(await stored(parts, each))["status"] == Status.EXPIRED for each in session_ids])

        await eventually(lambda: are_over(one, other))
        later = await start(parts, spec)
        await eventually(lambda: are_over(later))
