"""One authority: servers whose own clocks are wrong charge what the store measured, as one with a right clock does."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle, islice
from statistics import median
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.clock.commands import Create, Start
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.wire.instants import parse_instant
from tests.faketime import wrong_clock
from tests.integration.parts import Parts, open_parts
from tests.integration.test_timekeeper import SOMEBODY
from tests.outbox import committed_events
from tests.processes import Process, spawn_server
from tests.waiting import eventually

pytestmark = pytest.mark.slow

WRONG: dict[str, Callable[[], dict[str, str]]] = {
    "an hour ahead": lambda: wrong_clock("+1h"),
    "an hour behind": lambda: wrong_clock("-1h"),
    "5 % fast": lambda: wrong_clock("+0 x1.05", monotonic=True),
}
TURNS, TURN_MS = 7, 400
TOLERANCE_MS = 5


@pytest.fixture
def servers(settings: Settings) -> Iterator[dict[str, Process]]:
    """Give a server with a right clock and one with each wrong one, on one store."""
    with ExitStack() as stack:
        found = {"right": spawn_server(settings)}
        stack.callback(found["right"].stop)
        for name, env in WRONG.items():
            found[name] = spawn_server(settings, env())
            stack.callback(found[name].stop)
        yield found


async def play(parts: Parts, doors: list[str]) -> tuple[str, list[int]]:
    """Play a session whose commands go through these doors, one after the other; return what each turn was charged."""
    body = {
        "sync_mode": "per_participant",
        "participants": [{"participant_id": str(uuid4()), "total_time_ms": 600_000} for _ in range(2)],
    }
    door = cycle(doors)
    async with httpx.AsyncClient() as client:

        async def ask(path: str, **fields: Any) -> dict[str, Any]:
            answer = await client.post(f"{next(door)}/v1/sessions{path}", json=fields)
            assert answer.is_success, answer.text
            found: dict[str, Any] = answer.json()["data"]
            return found

        session_id: str = (await ask("", **body))["session_id"]
        began_ms = parse_instant((await ask(f"/{session_id}/start"))["cycle_started_at"])
        used_ms, charged = 0, []
        for _ in range(TURNS):

            async def is_time(at_ms: int = began_ms + TURN_MS) -> bool:
                return await parts.sessions.now_ms() >= at_ms

            await eventually(is_time)
            session = await ask(f"/{session_id}/switch")
            began_ms = parse_instant(session["cycle_started_at"])
            total_ms = sum(each["time_used_ms"] for each in session["participants"])
            charged.append(total_ms - used_ms)
            used_ms = total_ms
    return session_id, charged


async def test_every_server_charges_what_the_store_measured(settings: Settings, servers: dict[str, Process]) -> None:
    urls = {name: server.base_url for name, server in servers.items()}
    # Each alone, and one session that goes round: a turn that begins with one clock ends with another.
    ways = {**{name: [url] for name, url in urls.items()}, "in turn": list(urls.values())}
    async with open_parts(settings) as parts:
        played = dict(zip(ways, await asyncio.gather(*(play(parts, doors) for doors in ways.values())), strict=True))
        committed = await committed_events(parts)
    for name, (session_id, charged) in played.items():
        stamps = [each.committed_at_ms for each in committed if each.session_id == session_id][1:]
        measured = [after - before for before, after in zip(stamps, islice(stamps, 1, None), strict=False)]
        # A busy machine delays a commit now and then; a wrong clock would be wrong in every turn.
        errors = [abs(ours - theirs) for ours, theirs in zip(charged, measured, strict=True)]
        assert median(errors) <= TOLERANCE_MS, (name, charged, measured)
        assert abs(sum(charged) - sum(measured)) <= TOLERANCE_MS + max(errors), (name, charged, measured)


@pytest.mark.parametrize("wrong", WRONG)
async def test_deadlines_are_kept_by_the_stores_clock(settings: Settings, wrong: str) -> None:
    async with open_parts(settings) as parts:
        server = await asyncio.to_thread(spawn_server, settings, WRONG[wrong]())
        try:
            for budget_ms in range(1_000, 2_000, 100):
                made = await parts.sessions.create(
                    CreateRequest(SOMEBODY, Create(SyncMode.GLOBAL, total_time_ms=budget_ms))
                )
                await parts.sessions.execute(CommandRequest(SOMEBODY, made.session.session_id, Start(), "start"))

            async def all_over() -> bool:
                return not await parts.pipe.call("ZCARD", parts.store.keys.deadlines(0))

            await eventually(all_over)
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
