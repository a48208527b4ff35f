"""Sessions start and expire without connected clients when servers are killed: once, at their exact instants."""

import asyncio
from collections import Counter
from itertools import cycle, pairwise
from uuid import uuid4

import pytest

from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import CreateRequest
from tests.integration.parts import Parts, open_parts
from tests.outbox import committed_events
from tests.processes import Process, spawn_server
from tests.waiting import eventually

pytestmark = pytest.mark.slow

GLOBAL_SESSIONS, CYCLE_SESSIONS, SCHEDULED_SESSIONS, CYCLES = 240, 60, 60, 5
SPREAD_MS = 5_000  # milliseconds over which the deadlines of the global and scheduled sessions are spread
SCHEDULED_MS = 500  # milliseconds from the start of a scheduled session to its end


async def create_scheduled(parts: Parts, starts_at_ms: int) -> str:
    """Create a global session that starts by itself at this instant, and ends soon after it. Return its id."""
    spec = Create(SyncMode.GLOBAL, starts_at_ms=starts_at_ms, ends_at_ms=starts_at_ms + SCHEDULED_MS)
    created = await parts.sessions.create(CreateRequest(Principal.anonymous_admin(), spec))
    return created.session.session_id


async def test_killed_servers_cause_no_missed_and_no_double_start_or_expiry(settings: Settings) -> None:
    participants = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    cycles = Create(
        SyncMode.PER_CYCLE, participants, time_per_cycle_ms=1_000, max_cycles=CYCLES, on_timeout=OnTimeout.ADVANCE
    )
    global_ = (
        Create(SyncMode.GLOBAL, total_time_ms=2_000 + SPREAD_MS * number // GLOBAL_SESSIONS)
        for number in range(GLOBAL_SESSIONS)
    )
    servers: list[Process] = []
    async with open_parts(settings) as parts:
        try:
            servers += await asyncio.gather(*(asyncio.to_thread(spawn_server, settings) for _ in range(3)))
            started = await asyncio.gather(
                *(parts.start_session(spec) for spec in [*global_, *[cycles] * CYCLE_SESSIONS])
            )
            first_start_ms = await parts.store.now_ms() + 2_000
            starts_ms = {
                await create_scheduled(parts, starts_at_ms): starts_at_ms
                for number in range(SCHEDULED_SESSIONS)
                for starts_at_ms in (first_start_ms + SPREAD_MS * number // SCHEDULED_SESSIONS,)
            }

            async def kill_in_turn() -> None:
                for number in cycle(range(len(servers))):
                    servers[number].kill()
                    servers[number] = await asyncio.to_thread(spawn_server, settings)

            killer = asyncio.create_task(kill_in_turn())

            async def all_ended() -> bool:
                assert not killer.done(), killer.exception()
                return not await parts.pipe.call("ZCARD", parts.store.keys.live_sessions(0))

            await eventually(all_ended, deadline_s=60)
            killer.cancel()
            await asyncio.wait([killer])
        finally:
            for server in servers:
                server.kill()
        events = await committed_events(parts)
    kinds = Counter((each.session_id, each.event["event_type"]) for each in events)
    for session_id, starts_at_ms in starts_ms.items():
        assert [
            (each.version, each.event["event_type"], each.event["occurred_at_ms"])
            for each in events
            if each.session_id == session_id
        ][1:] == [(2, "session_started", starts_at_ms), (3, "session_expired", starts_at_ms + SCHEDULED_MS)]
    for session_id in started:
        assert kinds[session_id, "session_expired"] == 1
        own_events = [each for each in events if each.session_id == session_id]
        assert [each.version for each in own_events] == list(range(1, len(own_events) + 1))
        if kinds[session_id, "cycle_expired"]:
            assert kinds[session_id, "cycle_expired"] == CYCLES - 1
            instants = [each.event["occurred_at_ms"] for each in own_events[1:]]
            assert [after - before for before, after in pairwise(instants)] == [1_000] * CYCLES
        else:
            (start_ms, end_ms) = (each.event["occurred_at_ms"] for each in own_events[1:])
            assert end_ms - start_ms == own_events[-1].event["time_used_ms"]
