"""The store's clock is set while sessions run: no time turns negative, nothing happens twice, and it is told."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY

from synckairos.clock.commands import Create, NewParticipant, Switch
from synckairos.clock.model import OnTimeout, Status, SyncMode
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.service.requests import CommandRequest
from tests.faketime import SettableClock
from tests.integration.parts import Parts
from tests.integration.test_timekeeper import SOMEBODY, keeping_time, start, stored
from tests.outbox import committed_events
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def clock(tmp_path: Path) -> SettableClock:
    return SettableClock(tmp_path / "clock")


@pytest.fixture
def redis_url(tmp_path: Path, clock: SettableClock) -> Iterator[str]:
    """Give a Valkey of its own, whose clock can be set."""
    with Valkey(tmp_path / "valkey", env=clock.env) as store:
        yield store.url


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    async with keeping_time(settings) as opened:
        yield opened


async def set_clock(clock: SettableClock, offset_s: int) -> None:
    """Set the store's clock and wait until the timekeeper has told it."""
    before = told()
    clock.set(offset_s)

    async def is_told() -> bool:
        return told() != before

    await eventually(is_told)


def told() -> dict[str, float]:
    """Return how many steps were counted, by direction."""
    name = "synckairos_store_clock_steps_total"
    return {way: REGISTRY.get_sample_value(name, {"direction": way}) or 0 for way in ("back", "forward")}


async def rows(parts: Parts, session_id: str) -> list[dict[str, object]]:
    """Return all events of a session, in order."""
    return [each.event for each in await committed_events(parts) if each.session_id == session_id]


async def test_a_clock_set_back_takes_and_gives_nobody_time(parts: Parts, clock: SettableClock) -> None:
    two = tuple(NewParticipant(str(uuid4()), total_time_ms=60_000) for _ in range(2))
    session_id = await start(parts, Create(SyncMode.PER_PARTICIPANT, two))
    before, seen = (await parts.sessions.read(session_id)).session, told()
    await set_clock(clock, -30)
    for version in (3, 4):
        answer = await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Switch(), "switch"))
        session = answer.session
        assert (session.version, session.status) == (version, Status.RUNNING)
        assert session.updated_at_ms >= before.updated_at_ms
        assert session.anchor_ms == session.updated_at_ms
        assert all(p.used_ms >= 0 and p.used_ms + p.remaining_ms == 60_000 for p in session.participants)
    assert session.used_ms <= 1_000  # what went by before the step; after it the clock has yet to catch up
    assert told() == {"back": seen["back"] + 1, "forward": seen["forward"]}


async def test_nothing_that_time_brought_about_happens_again(parts: Parts, clock: SettableClock) -> None:
    two = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    cycles = Create(SyncMode.PER_CYCLE, two, time_per_cycle_ms=1_000, max_cycles=20, on_timeout=OnTimeout.ADVANCE)
    chained = await start(parts, cycles)
    ended = await start(parts, Create(SyncMode.GLOBAL, total_time_ms=1_000))

    async def is_over(session_id: str = ended) -> bool:
        return (await stored(parts, session_id))["status"] == Status.EXPIRED

    await eventually(is_over)
    over = await stored(parts, ended)
    for offset_s in (-30, 0, -5, 40):
        await set_clock(clock, offset_s)

    async def chain_is_over() -> bool:
        return await is_over(chained)

    await eventually(chain_is_over)
    assert await stored(parts, ended) == over
    kinds = Counter(str(row["event_type"]) for row in await rows(parts, ended))
    assert kinds == {"session_created": 1, "session_started": 1, "session_expired": 1}
    chain = await rows(parts, chained)
    assert [row["event_type"] for row in chain[2:]] == ["cycle_expired"] * 19 + ["session_expired"]
    instants = [int(str(row["occurred_at_ms"])) for row in chain[1:]]
    assert [after - before for before, after in pairwise(instants)] == [1_000] * 20


async def test_a_step_forward_brings_about_what_is_due_then_and_is_told(
    parts: Parts, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await start(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000))
    seen = told()
    await set_clock(clock, 3_700)

    async def is_over() -> bool:
        return (await stored(parts, session_id))["status"] == Status.EXPIRED

    await eventually(is_over)
    state = await stored(parts, session_id)
    assert state["session_completed_at"] == state["deadline_at"]
    assert state["time_used_ms"] == 3_600_000
    assert told() == {"back": seen["back"], "forward": seen["forward"] + 1}
    lines = [record.getMessage() for record in caplog.records]
    assert any("the store's clock was stepped" in line and "forward" in line for line in lines), lines
