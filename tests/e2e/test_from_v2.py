"""The move from v2 with real processes, step by step as the guide describes it."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from synckairos.config import Settings
from synckairos.store.shared_connection import RedisPipe
from tests.fixtures.v2 import product
from tests.fixtures.v2.product import State
from tests.fixtures.v2.redis import V2Redis
from tests.processes import Process
from tests.waiting import eventually

pytestmark = pytest.mark.slow

MODES = ("per_participant", "per_cycle", "per_group", "global", "count_up")
VERBS = {"pending": "start", "running": "switch", "paused": "resume"}


class V2:
    """A running v2. It changes sessions, and writes them to its Redis and, like its queue, to Postgres."""

    def __init__(self, redis: V2Redis, database: psycopg.Connection[Any]) -> None:
        self._redis = redis
        self._database = database

    async def save(self, state: State) -> State:
        await self._redis.save(state)
        event_type = "session_created" if state["version"] == 1 else "session_updated"
        product.record(self._database, state, event_type, product.milliseconds(state["updated_at"]))
        return state

    async def create(self, mode: str, *steps: str) -> State:
        at_ms = now_ms() - 60_000
        state = await self.save(
            product.create(at_ms, [600_000, 600_000], sync_mode=mode, time_per_cycle_ms=600_000, max_time_ms=3_600_000)
        )
        for at, step in enumerate(steps, start=1):
            state = await self.save(getattr(product, step)(state, at_ms + at * 1_000))
        return state


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def run(settings: Settings, *args: str) -> tuple[int, list[str]]:
    process = Process(*args, env=settings.to_environment_variables())
    code = await asyncio.to_thread(process.wait_end)
    return code, process.output.splitlines()


async def test_move_from_v2(
    settings: Settings, bare_database_url: str, start_server: Callable[[Settings], Process]
) -> None:
    settings = settings.model_copy(update={"database_url": bare_database_url})
    prefix = f"{settings.key_prefix}-v2:"
    importing = ("import-v2", "--redis", settings.redis_url, "--prefix", prefix)
    with psycopg.connect(bare_database_url, autocommit=True, prepare_threshold=None) as database:
        database.execute(product.SCHEMA)
        async with RedisPipe(settings.redis_url, 5) as pipe:
            v2 = V2(V2Redis(pipe, prefix), database)
            ended = [await v2.create(mode, "start", "switch", "complete") for mode in MODES]
            live = [
                await v2.create(mode, *steps)
                for mode in MODES
                for steps in ((), ("start",), ("start", "switch", "pause"))
            ]

            # 1. Migrate the database while v2 runs.
            code, lines = await run(settings, "migrate")
            assert (code, lines[0]) == (0, "took over v2's database: 20 sessions, 55 events")
            not_yet = "the tenants are not separated in the database before `synckairos import-v2 --finish`"
            assert await run(settings, "migrate") == (0, [not_yet])

            # 2. Start the new product beside v2 and import the sessions of v2. Meanwhile v2 continues.
            server = start_server(settings)
            follower = Process(*importing, "--follow", env=settings.to_environment_variables())
            async with httpx.AsyncClient(base_url=server.base_url) as client:
                await asyncio.to_thread(follower.wait_for_line, lambda line: line.startswith("following v2"))
                await eventually(lambda: are_here(client, live))
                live[1] = await v2.save(product.switch(live[1], now_ms()))
                live.append(await v2.create("per_participant", "start"))
                await eventually(lambda: are_here(client, live))

                # 3. Move: v2 stops, and clients send their commands to the new product.
                follower.send(signal.SIGTERM)
                assert await asyncio.to_thread(follower.wait_end) == 0, follower.output
                for state in live:
                    verb = VERBS[state["status"]]
                    answer = await client.post(f"/v1/sessions/{state['session_id']}/{verb}")
                    assert answer.status_code == 200, answer.text
                    after = answer.json()["data"]
                    assert after["version"] > state["version"]
                    if verb == "switch":
                        elsewhere = product.switch(state, product.milliseconds(after["cycle_started_at"]))
                        for ours, theirs in zip(after["participants"], elsewhere["participants"], strict=True):
                            assert ours["time_used_ms"] == theirs["time_used_ms"]

                # 4. End v2.
                code, lines = await run(settings, *importing)
                assert (code, lines[0]) == (0, "0 imported, 0 updated, 21 unchanged, 0 failed")
                code, lines = await run(settings, "import-v2", "--finish")
                assert (code, lines[-1][:25]) == (0, "v2's writes are no longer"), lines
                worker = Process("worker", env=settings.to_environment_variables())
                try:
                    await eventually(lambda: is_drained(pipe, settings))
                finally:
                    await asyncio.to_thread(worker.stop)
                await check_history(client, ended, live)
    code, lines = await run(settings, "verify-audit", "--all")
    assert code == 0, lines
    assert lines[-1].startswith("21 sessions, ")
    assert lines[-1].endswith(", 0 faults")
    assert sum("imported from v2" in line for line in lines) == 21


async def are_here(client: httpx.AsyncClient, states: list[State]) -> bool:
    """Return whether all these sessions of v2 are in the new product, with the values that v2 has."""
    for state in states:
        answer = await client.get(f"/v1/sessions/{state['session_id']}")
        if answer.status_code != 200:
            return False
        ours = answer.json()["data"]
        if (ours["cycle_started_at"], ours["status"]) != (state["cycle_started_at"], state["status"]):
            return False
    return True


async def is_drained(pipe: RedisPipe, settings: Settings) -> bool:
    keys = [f"{settings.key_prefix}:{{{at}}}:outbox" for at in range(settings.partitions)]
    return not any(await pipe.call_many([("XLEN", key) for key in keys]))


async def check_history(client: httpx.AsyncClient, ended: list[State], live: list[State]) -> None:
    """Check that lists and events show the versions of v2 and of the new product for each session."""
    listed = (await client.get("/v1/sessions?limit=200")).json()["data"]
    assert {each["session_id"] for each in listed} == {state["session_id"] for state in (*ended, *live)}
    for state in live:
        events = (await client.get(f"/v1/sessions/{state['session_id']}/events?limit=200")).json()["data"]
        actors = [each["actor"] for each in events]
        assert actors[0] == "v2", events
        assert set(actors) == {"v2", "import-v2", "anonymous"}
        assert [each["occurred_at"] for each in events] == sorted(each["occurred_at"] for each in events)
    for state in ended:
        found = (await client.get(f"/v1/sessions/{state['session_id']}")).json()["data"]
        assert found["status"] == "completed"
