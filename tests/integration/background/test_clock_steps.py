"""The Redis clock is set while sessions run: no time becomes negative, no expiry happens twice, steps are reported."""

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
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest
from tests.faketime import SettableClock
from tests.integration.background.timekeeping import CALLER, create_started, keeping_time, load_document
from tests.integration.parts import Parts
from tests.outbox import committed_events
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def clock(tmp_path: Path) -> SettableClock:
    return SettableClock(tmp_path / "clock")


@pytest.fixture
def redis_url(tmp_path: Path, clock: SettableClock) -> Iterator[str]:
    """Start a Valkey server for one test, with a clock that the test can set."""
    with Valkey(tmp_path / "valkey", env=clock.env) as store:
        yield store.url


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    async with keeping_time(settings) as opened:
        yield opened


async def set_clock(clock: SettableClock, offset_s: int) -> None:
    """Set the Redis clock, and wait until the timekeeper has counted the step."""
    before = counted_steps()
    clock.set(offset_s)

    async def is_counted() -> bool:
        return counted_steps() != before

    await eventually(is_counted)


def counted_steps() -> dict[str, float]:
    """Return the number of counted steps by direction."""
    name = "synckairos_store_clock_steps_total"
    return {
        direction: REGISTRY.get_sample_value(name, {"direction": direction}) or 0 for direction in ("back", "forward")
    }


async def list_events(parts: Parts, session_id: str) -> list[dict[str, object]]:
    """Return all events of a session in order."""
    return [each.event for each in await committed_events(parts) if each.session_id == session_id]


async def test_time_is_neither_lost_nor_gained_if_the_clock_is_set_back(parts: Parts, clock: SettableClock) -> None:
    two = tuple(NewParticipant(str(uuid4()), total_time_ms=60_000) for _ in range(2))
    session_id = await create_started(parts, Create(SyncMode.PER_PARTICIPANT, two))
    before, steps_before = (await parts.sessions.read(TIMEKEEPER, session_id)).session, counted_steps()
    await set_clock(clock, -30)
    for version in (3, 4):
        answer = await parts.sessions.execute(CommandRequest(CALLER, session_id, Switch(), "switch"))
        session = answer.session
        assert (session.version, session.status) == (version, Status.RUNNING)
        assert session.updated_at_ms >= before.updated_at_ms
        assert session.anchor_ms == session.updated_at_ms
        assert all(p.used_ms >= 0 and p.used_ms + p.remaining_ms == 60_000 for p in session.participants)
    assert session.used_ms <= 1_000  # only the time before the step; the clock has not reached the anchor again
    assert counted_steps() == {"back": steps_before["back"] + 1, "forward": steps_before["forward"]}


async def test_expiries_do_not_happen_again_after_clock_steps(parts: Parts, clock: SettableClock) -> None:
    two = tuple(NewParticipant(str(uuid4())) for _ in range(2))
    cycles = Create(SyncMode.PER_CYCLE, two, time_per_cycle_ms=1_000, max_cycles=20, on_timeout=OnTimeout.ADVANCE)
    cycles_id = await create_started(parts, cycles)
    ended = await create_started(parts, Create(SyncMode.GLOBAL, total_time_ms=1_000))

    async def is_over(session_id: str = ended) -> bool:
        return (await load_document(parts, session_id))["status"] == Status.EXPIRED

    await eventually(is_over)
    over = await load_document(parts, ended)
    for offset_s in (-30, 0, -5, 40):
        await set_clock(clock, offset_s)

    async def are_cycles_over() -> bool:
        return await is_over(cycles_id)

    await eventually(are_cycles_over)
    assert await load_document(parts, ended) == over
    kinds = Counter(str(row["event_type"]) for row in await list_events(parts, ended))
    assert kinds == {"session_created": 1, "session_started": 1, "session_expired": 1}
    cycle_events = await list_events(parts, cycles_id)
    assert [row["event_type"] for row in cycle_events[2:]] == ["cycle_expired"] * 19 + ["session_expired"]
    instants = [int(str(row["occurred_at_ms"])) for row in cycle_events[1:]]
    assert [after - before for before, after in pairwise(instants)] == [1_000] * 20


async def test_clock_set_forward_expires_due_sessions_and_is_logged(
    parts: Parts, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = await create_started(parts, Create(SyncMode.GLOBAL, total_time_ms=3_600_000))
    steps_before = counted_steps()
    await set_clock(clock, 3_700)

    async def is_over() -> bool:
        return (await load_document(parts, session_id))["status"] == Status.EXPIRED

    await eventually(is_over)
    state = await load_document(parts, session_id)
    assert state["session_completed_at"] == state["deadline_at"]
    assert state["time_used_ms"] == 3_600_000
    assert counted_steps() == {"back": steps_before["back"], "forward": steps_before["forward"] + 1}
    lines = [record.getMessage() for record in caplog.records]
    assert any("the store's clock was stepped" in line and "forward" in line for line in lines), lines
