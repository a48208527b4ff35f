"""The clock of Redis decides: servers with wrong clocks charge the same time as a server with a correct clock."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from statistics import median
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.clock.commands import Create
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.wire.instants import parse_instant_ms
from tests.faketime import wrong_clock
from tests.integration.parts import Parts, open_parts
from tests.outbox import committed_events
from tests.processes import Process, spawn_server
from tests.waiting import eventually

pytestmark = pytest.mark.slow

WRONG_CLOCKS: dict[str, Callable[[], dict[str, str]]] = {
    "an hour ahead": lambda: wrong_clock("+1h"),
    "an hour behind": lambda: wrong_clock("-1h"),
    "5 % fast": lambda: wrong_clock("+0 x1.05", monotonic=True),
}
TURNS, TURN_MS = 7, 400
TOLERANCE_MS = 12
"""Maximum median error of a charge. A clock that is 5 % fast would cause 20 ms in each turn of `TURN_MS`."""


@pytest.fixture
def servers(settings: Settings) -> Iterator[dict[str, Process]]:
    """Start one server with a correct clock, and one server with each wrong clock, all on one Redis."""
    environments = {"correct": {}, **{name: env() for name, env in WRONG_CLOCKS.items()}}
    with ThreadPoolExecutor(len(environments)) as threads:
        processes = threads.map(partial(spawn_server, settings), environments.values())
        started = dict(zip(environments, processes, strict=True))
    yield started
    for server in started.values():
        server.stop()


async def play(parts: Parts, base_urls: list[str]) -> tuple[str, list[int]]:
    """Run a session whose commands go to the servers in turn. Return the session id and the charge of each turn."""
    body = {
        "sync_mode": "per_participant",
        "participants": [{"participant_id": str(uuid4()), "total_time_ms": 600_000} for _ in range(2)],
    }
    servers = cycle(base_urls)
    async with httpx.AsyncClient() as client:

        async def post(path: str, **fields: Any) -> dict[str, Any]:
            answer = await client.post(f"{next(servers)}/v1/sessions{path}", json=fields)
            assert answer.is_success, answer.text
            found: dict[str, Any] = answer.json()["data"]
            return found

        session_id: str = (await post("", **body))["session_id"]
        began_ms = parse_instant_ms((await post(f"/{session_id}/start"))["cycle_started_at"])
        used_ms, charged = 0, []
        for _ in range(TURNS):

            async def is_turn_over(at_ms: int = began_ms + TURN_MS) -> bool:
                return await parts.sessions.now_ms() >= at_ms

            await eventually(is_turn_over)
            session = await post(f"/{session_id}/switch")
            began_ms = parse_instant_ms(session["cycle_started_at"])
            total_ms = sum(each["time_used_ms"] for each in session["participants"])
            charged.append(total_ms - used_ms)
            used_ms = total_ms
    return session_id, charged


async def test_every_server_charges_the_time_that_the_store_measured(
    settings: Settings, servers: dict[str, Process]
) -> None:
    urls = {name: server.base_url for name, server in servers.items()}
    # One session for each server, and one session whose commands go to all servers in turn. Each turn of the last
    # session begins on one server and ends on another.
    orders = {**{name: [url] for name, url in urls.items()}, "in turn": list(urls.values())}
    async with open_parts(settings) as parts:
        played = dict(
            zip(orders, await asyncio.gather(*(play(parts, order) for order in orders.values())), strict=True)
        )
        committed = await committed_events(parts)
    for name, (session_id, charged) in played.items():
        stamps = [each.committed_at_ms for each in committed if each.session_id == session_id][1:]
        measured = [after - before for before, after in zip(stamps, islice(stamps, 1, None), strict=False)]
        # A busy machine delays some commits. A wrong clock would cause an error in each turn.
        errors = [abs(charge - measure) for charge, measure in zip(charged, measured, strict=True)]
        assert median(errors) <= TOLERANCE_MS, (name, charged, measured)
        assert abs(sum(charged) - sum(measured)) <= TOLERANCE_MS + max(errors), (name, charged, measured)


@pytest.mark.parametrize("wrong", WRONG_CLOCKS)
async def test_server_with_a_wrong_clock_expires_sessions_at_the_deadline(settings: Settings, wrong: str) -> None:
    async with open_parts(settings) as parts:
        server = await asyncio.to_thread(spawn_server, settings, WRONG_CLOCKS[wrong]())
        try:
            for budget_ms in range(1_000, 2_000, 100):
                await parts.start_session(Create(SyncMode.GLOBAL, total_time_ms=budget_ms))

            async def all_expired() -> bool:
                return not await parts.pipe.call("ZCARD", parts.store.keys.deadlines(0))

            await eventually(all_expired)
            committed = await committed_events(parts)
        finally:
            server.stop()
    started = (each for each in committed if each.event["event_type"] == "session_started")
    began = {each.session_id: each.event["occurred_at_ms"] for each in started}
    expired = [each for each in committed if each.event["event_type"] == "session_expired"]
    assert sorted(each.session_id for each in expired) == sorted(began)
    for each in expired:
        assert each.event["occurred_at_ms"] == began[each.session_id] + each.event["time_used_ms"]
        assert each.event["time_remaining_ms"] == 0
    lateness_ms = [each.committed_at_ms - each.event["occurred_at_ms"] for each in expired]
    assert min(lateness_ms) >= 0
    assert median(lateness_ms) <= 100
