"""Sessions run out with nobody connected while the servers that keep their time are killed: none missed, none twice."""

import asyncio
from collections import Counter
from itertools import cycle, pairwise
from uuid import uuid4

import pytest

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.config import Settings
from tests.integration.parts import open_parts
from tests.integration.test_timekeeper import start
from tests.outbox import committed_events
from tests.processes import Process, spawn_server
from tests.waiting import eventually

pytestmark = pytest.mark.slow

ONCE, CYCLING, CYCLES = 240, 60, 5
SPREAD_MS = 5_000


async def test_none_missed_and_none_twice_while_servers_are_killed(settings: Settings) -> None:
    two = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    cycling = Create(SyncMode.PER_CYCLE, two, time_per_cycle_ms=1_000, max_cycles=CYCLES, on_timeout=OnTimeout.ADVANCE)
    once = (Create(SyncMode.GLOBAL, total_time_ms=2_000 + SPREAD_MS * at // ONCE) for at in range(ONCE))
    servers: list[Process] = []
    async with open_parts(settings) as parts:
        try:
            servers += await asyncio.gather(*(asyncio.to_thread(spawn_server, settings) for _ in range(3)))
            started = await asyncio.gather(*(start(parts, spec) for spec in [*once, *[cycling] * CYCLING]))

            async def kill_in_turn() -> None:
                for at in cycle(range(len(servers))):
                    servers[at].kill()  # by -9, wherever it is in its work
                    servers[at] = await asyncio.to_thread(spawn_server, settings)

            killer = asyncio.create_task(kill_in_turn())

            async def all_over() -> bool:
                assert not killer.done(), killer.exception()
                return not await parts.pipe.call("ZCARD", parts.store.keys.live_sessions(0))

            await eventually(all_over, deadline_s=60)
            killer.cancel()
            await asyncio.wait([killer])
        finally:
            for server in servers:
                server.kill()
        events = await committed_events(parts)
    kinds = Counter((each.session_id, each.event["event_type"]) for each in events)
    for session_id in started:
        assert kinds[session_id, "session_expired"] == 1
        theirs = [each for each in events if each.session_id == session_id]
        assert [each.version for each in theirs] == list(range(1, len(theirs) + 1))
        if kinds[session_id, "cycle_expired"]:
            assert kinds[session_id, "cycle_expired"] == CYCLES - 1
            instants = [each.event["occurred_at_ms"] for each in theirs[1:]]
            assert [after - before for before, after in pairwise(instants)] == [1_000] * CYCLES
        else:
            (began, over) = (each.event["occurred_at_ms"] for each in theirs[1:])
            assert over - began == theirs[-1].event["time_used_ms"]
