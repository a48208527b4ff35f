"""Redis lost everything: open sessions come back from Postgres, at the next version, under a new epoch."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from synckairos.background.recovery import RecoveryLoop
from synckairos.clock.commands import Cancel, Create, Start, Switch
from synckairos.clock.commands import NewParticipant as Newcomer
from synckairos.clock.model import EventType, OnTimeout, Status, SyncMode
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.errors import InvalidTransition, ReplayedRefusal, SessionNotFound
from synckairos.principal import Principal
from synckairos.process import arq_worker
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.store.store_generation import Generations
from tests.integration.parts import Parts, open_parts
from tests.waiting import eventually

SOMEBODY = Principal()


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[Valkey]:
    """Give a Valkey that this test may flush."""
    with Valkey(data_dir / tmp_path_factory.mktemp("recovery").name) as store:
        yield store


@pytest.fixture
def own_settings(settings: Settings, own_valkey: Valkey) -> Settings:
    return settings.model_copy(update={"redis_url": own_valkey.url, "queue_redis_url": own_valkey.url})


@asynccontextmanager
async def draining(settings: Settings) -> AsyncIterator[None]:
    """Run a worker meanwhile."""
    task = asyncio.create_task(arq_worker.run_arq_worker(settings, sweep_s=0.05))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def recovering(parts: Parts) -> AsyncIterator[None]:
    """Look for lost data meanwhile, as every instance does."""
    keys = parts.store.keys
    recovery = RecoveryLoop(parts.sessions, parts.history, Generations(parts.pipe, keys), keys)
    task = asyncio.create_task(recovery.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def start(parts: Parts) -> str:
    two = tuple(Newcomer(str(uuid4()), total_time_ms=3_600_000) for _ in range(2))
    spec = Create(SyncMode.PER_PARTICIPANT, two)
    session_id = (await parts.sessions.create(CreateRequest(SOMEBODY, spec))).session.session_id
    await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Start(), "start"))
    return session_id


async def press(parts: Parts, session_id: str, command_id: str | None = None) -> bytes:
    request = CommandRequest(SOMEBODY, session_id, Switch(), "switch", command_id=command_id, fingerprint="f")
    return (await parts.sessions.execute(request)).snapshot.document


async def drained(parts: Parts) -> None:
    """Wait until everything committed so far is in Postgres."""

    async def is_empty() -> bool:
        return not await parts.pipe.call("XLEN", parts.store.keys.outbox(0))

    await eventually(is_empty)


async def test_a_session_asked_for_comes_back_at_the_next_version_under_a_new_epoch(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_id = await start(parts)
        pressed = await press(parts, session_id, "press-1")
        before = await parts.sessions.read(session_id)
        await drained(parts)
        await parts.pipe.call("FLUSHALL")
        after = await parts.sessions.read(session_id)
        assert after.snapshot.version == before.snapshot.version + 1
        assert after.snapshot.epoch != before.snapshot.epoch
        was, is_now = before.session, after.session
        assert is_now == replace(was, version=after.snapshot.version, epoch=after.snapshot.epoch)
        assert await press(parts, session_id, "press-1") == pressed
        await drained(parts)
        events = (await parts.history.events(session_id)).items
        assert [(event.version, event.event_type) for event in events][-2:] == [
            (3, EventType.CYCLE_SWITCHED),
            (4, EventType.SESSION_RECOVERED),
        ]


async def test_a_final_session_comes_back_as_it_was(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        made = await parts.sessions.create(CreateRequest(SOMEBODY, spec))
        session_id = made.session.session_id
        await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Start(), "start"))
        await parts.rewind(session_id, 5_000)
        over = await parts.sessions.read(session_id)
        assert over.session.status is Status.EXPIRED
        await drained(parts)
        await parts.pipe.call("FLUSHALL")
        assert (await parts.sessions.read(session_id)).snapshot.document == over.snapshot.document


async def test_one_that_redis_let_go_is_not_lost(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_id = await start(parts)
        before = await parts.sessions.read(session_id)
        await drained(parts)
        await parts.pipe.call("DEL", parts.store.keys.session(session_id), parts.store.keys.history(session_id))
        after = await parts.sessions.read(session_id)
        assert (after.snapshot.epoch, after.snapshot.version, after.snapshot.document) == (
            before.snapshot.epoch,
            before.snapshot.version,
            before.snapshot.document,
        )


async def test_a_creation_key_finds_its_session_although_redis_let_it_go(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        request = CreateRequest(
            SOMEBODY, Create(SyncMode.GLOBAL, total_time_ms=60_000), command_id="c", fingerprint="f"
        )
        made = await parts.sessions.create(request)
        session_id = made.session.session_id
        await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Start(), "start"))
        await drained(parts)
        keys = parts.store.keys
        await parts.pipe.call(
            "DEL", keys.session(session_id), keys.history(session_id), keys.idempotency_records(session_id)
        )
        again = await parts.sessions.create(request)
        assert again.replayed
        assert again.snapshot.document == made.snapshot.document
        assert (await parts.sessions.read(session_id)).snapshot.version == 2


async def test_what_was_decided_is_remembered_as_long_as_the_session_lives(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_id = await start(parts)
        refused = CommandRequest(SOMEBODY, session_id, Start(), "start", command_id="again", fingerprint="f")
        with pytest.raises(InvalidTransition):
            await parts.sessions.execute(refused)
        await press(parts, session_id)
        await drained(parts)
        keys = parts.store.keys

        async def has_ttl() -> bool:
            return bool(await parts.pipe.call("PTTL", keys.session(session_id)) > 0)

        await eventually(has_ttl)
        assert await parts.pipe.call("PTTL", keys.idempotency_records(session_id)) == -1
        with pytest.raises(ReplayedRefusal):
            await parts.sessions.execute(refused)
        await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Cancel(), "cancel"))
        await drained(parts)
        await eventually(has_ttl)
        assert await parts.pipe.call("PTTL", keys.idempotency_records(session_id)) > 0


async def test_a_clock_that_runs_without_an_end_is_not_let_go(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        spec = Create(SyncMode.GLOBAL, total_time_ms=86_400_000, on_timeout=OnTimeout.OVERTIME)
        session_id = (await parts.sessions.create(CreateRequest(SOMEBODY, spec))).session.session_id
        await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, Start(), "start"))

        async def is_audited() -> bool:
            return bool(await parts.pipe.call("HGET", parts.store.keys.session(session_id), "audited") == b"2")

        await eventually(is_audited)
        assert await parts.pipe.call("PTTL", parts.store.keys.session(session_id)) == -1


async def test_a_thousand_open_sessions_come_back_with_nobody_asking(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_ids = [await start(parts) for _ in range(1_000)]
        await drained(parts)
        async with recovering(parts):
            await parts.pipe.call("FLUSHALL")

            async def all_back() -> bool:
                return await parts.store.count_live() == len(session_ids)

            await eventually(all_back, deadline_s=60)
        epochs = set()
        for session_id in session_ids:
            document = orjson.loads(await parts.pipe.call("HGET", parts.store.keys.session(session_id), "state"))
            assert (document["version"], document["status"]) == (3, Status.RUNNING)
            epochs.add(document["epoch"][:8])
        assert len(epochs) == 1


async def test_what_never_was_is_still_not_found(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts:
        with pytest.raises(SessionNotFound):
            await parts.sessions.read(str(uuid4()))
