"""The timekeeper: sessions expire at their deadlines, only once, and without a request."""

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from uuid import uuid4

import orjson
import pytest

from synckairos.clock.commands import Adjust, Create, NewParticipant, Pause
from synckairos.clock.model import OnTimeout, Status, SyncMode
from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.frozen_replace import replace
from synckairos.service.expire import OverdueBatchCommitter
from synckairos.service.requests import CommandRequest
from synckairos.service.session_cache import SessionCache
from tests.integration.background.timekeeping import CALLER, create_started, keeping_time, load_document
from tests.integration.parts import open_parts
from tests.waiting import eventually


async def test_hundred_sessions_expire_at_their_deadlines_without_a_request(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        session_ids = await asyncio.gather(*(create_started(parts, spec) for _ in range(100)))

        async def all_over() -> bool:
            return not await parts.pipe.call("ZCARD", parts.store.keys.deadlines(0))

        await eventually(all_over)
        for session_id in session_ids:
            state = await load_document(parts, session_id)
            assert (state["status"], state["version"]) == (Status.EXPIRED, 3)
            assert state["session_completed_at"] == state["deadline_at"]


async def test_earlier_deadline_wakes_up_the_timekeeper(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        late = await create_started(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000))
        await parts.sessions.execute(CommandRequest(CALLER, late, Adjust(-3_600_000 + 50), "adjust"))

        async def is_over() -> bool:
            return (await load_document(parts, late))["status"] == Status.EXPIRED

        await eventually(is_over)


async def test_pause_with_max_ms_is_lifted_on_time(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        session_id = await create_started(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000))
        await parts.sessions.execute(CommandRequest(CALLER, session_id, Pause("tea", 100), "pause"))
        paused = await load_document(parts, session_id)

        async def runs_again() -> bool:
            return (await load_document(parts, session_id))["status"] == Status.RUNNING

        await eventually(runs_again)
        resumed = await load_document(parts, session_id)
        assert resumed["version"] == int(str(paused["version"])) + 1


async def test_overdue_cycles_are_committed_once_by_three_timekeepers(settings: Settings) -> None:
    two = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    spec = replace(
        Create(SyncMode.PER_CYCLE, two, time_per_cycle_ms=1_000, max_cycles=10), on_timeout=OnTimeout.ADVANCE
    )
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings))
        session_ids = [await create_started(parts, spec) for _ in range(10)]
        for session_id in session_ids:
            await parts.rewind(session_id, 60_000)
        for _ in range(3):
            await stack.enter_async_context(keeping_time(settings))

        async def all_over() -> bool:
            return not await parts.pipe.call("ZCARD", parts.store.keys.deadlines(0))

        await eventually(all_over)
        for session_id in session_ids:
            history = [
                orjson.loads(message.snapshot.document) for message in await parts.store.read_history(session_id)
            ][::-1]
            assert [state["version"] for state in history] == list(range(1, 13))
            assert history[-1]["status"] == Status.EXPIRED
            instants = [message.at_ms for message in await parts.store.read_history(session_id)][::-1]
            assert [after - before for before, after in pairwise(instants[2:])] == [1_000] * 9


async def test_batch_expires_each_session_independently_of_other_sessions(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        keys, store = parts.store.keys, parts.store
        due_one, expired, broken, absent, early = [
            await create_started(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000)) for _ in range(5)
        ]
        for session_id in (due_one, expired, broken, absent):
            await parts.rewind(session_id, 3_600_000)
        await parts.pipe.call("HSET", keys.session(broken), "state", "{}")
        due = [(session_id, await store.load(session_id)) for session_id in (expired, broken, absent, early, due_one)]
        await parts.sessions.commit_overdue(expired)
        due[2] = (absent, replace(due[2][1], stored=None))
        assert await parts.sessions.commit_overdue_batch(due) == [False, False, False, False, True]
        over = await load_document(parts, due_one)
        assert (over["status"], over["session_completed_at"]) == (Status.EXPIRED, over["deadline_at"])
        assert [message.snapshot.version for message in await store.read_history(expired)] == [3, 2, 1]
        assert (await load_document(parts, early))["status"] == Status.RUNNING
        assert await parts.sessions.commit_overdue_batch([]) == []


async def test_drain_gets_a_wake_up_for_the_committed_sessions_of_a_batch_that_fails(settings: Settings) -> None:
    woken_up: list[int] = []
    async with open_parts(settings) as parts:
        spec = Create(SyncMode.GLOBAL, total_time_ms=3_600_000)
        first, invalid = [await create_started(parts, spec) for _ in range(2)]
        for session_id in (first, invalid):
            await parts.rewind(session_id, 3_600_000)
        due = [(session_id, await parts.store.load(session_id)) for session_id in (first, invalid)]
        await parts.pipe.call("SET", parts.store.keys.session(invalid), "no hash")
        committer = OverdueBatchCommitter(parts.store, SessionCache(), woken_up.append)
        with pytest.raises(SyncKairosError):
            await committer.commit_overdue(due)
        assert (await load_document(parts, first))["status"] == Status.EXPIRED
        assert set(woken_up) == {parts.store.keys.partition_of(session_id) for session_id in (first, invalid)}


async def test_broken_session_and_lost_scripts_do_not_stop_the_timekeeper(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        one, broken, other = await asyncio.gather(*(create_started(parts, spec) for _ in range(3)))
        await parts.pipe.call("HSET", parts.store.keys.session(broken), "state", "{}")
        await parts.pipe.call("SCRIPT", "FLUSH")

        async def others_are_over() -> bool:
            return [(await load_document(parts, each))["status"] for each in (one, other)] == [Status.EXPIRED] * 2

        await eventually(others_are_over)


async def test_failing_commit_of_one_session_does_not_stop_other_sessions(settings: Settings) -> None:
    async with keeping_time(settings) as parts:
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        one, broken, other = await asyncio.gather(*(create_started(parts, spec) for _ in range(3)))
        history = parts.store.keys.history(broken)
        await parts.pipe.call("SET", history, "not a list")

        async def are_over(*session_ids: str) -> bool:
            return all([(await load_document(parts, each))["status"] == Status.EXPIRED for each in session_ids])

        await eventually(lambda: are_over(one, other))
        later = await create_started(parts, spec)
        await eventually(lambda: are_over(later))
