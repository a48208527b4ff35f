"""Versions that Redis has lost: the session continues under a new epoch, so that no caller mistakes a later version.

The tests restore an earlier dump of a session, which loses its later versions. `test_hub_store_faults.py` has real
failovers.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from synckairos.audit.verify import open_verifier
from synckairos.background.lost_versions import LostVersionCheck
from synckairos.clock.commands import Complete, Create, Delete, Start, Switch, UpdateMetadata, VersionPrecondition
from synckairos.clock.model import SyncMode
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.clock.transition import EventType
from synckairos.config import Settings
from synckairos.errors import PreconditionFailed, SessionNotFound, VersionConflict
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest, CreateRequest, SessionResult
from tests.integration.data_loss import CALLER, create_started, draining, switch, wait_until_drained
from tests.integration.parts import Parts, open_parts

Lose = Callable[[], Awaitable[None]]


async def read(parts: Parts, session_id: str) -> SessionResult:
    return await parts.sessions.read(TIMEKEEPER, session_id)


async def save(parts: Parts, session_id: str) -> Lose:
    """Return a function that resets the keys of a session and the outbox to their present values."""
    keys = parts.store.keys
    names = (keys.session(session_id), keys.history(session_id), keys.outbox(0))
    dumps = [(name, await parts.pipe.call("DUMP", name)) for name in names]

    async def lose() -> None:
        for name, dump in dumps:
            await parts.pipe.call("UNLINK", name)
            if dump is not None:
                await parts.pipe.call("RESTORE", name, 0, dump)

    return lose


@asynccontextmanager
async def lost_switches(settings: Settings, count: int) -> AsyncIterator[tuple[Parts, Parts, str, SessionResult]]:
    """Run two instances of which the first knows `count` lost switches of a session.

    Yield both instances, the id of the session, and its lost newest version.
    """
    async with AsyncExitStack() as stack:
        parts, other = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await create_started(parts)
        lose = await save(parts, session_id)
        for _ in range(count):
            await switch(parts, session_id)
        lost = await read(parts, session_id)
        await lose()
        yield parts, other, session_id, lost


def with_precondition(session_id: str, precondition: VersionPrecondition) -> CommandRequest:
    return CommandRequest(CALLER, session_id, Switch(), "switch", precondition=precondition)


async def test_recovery_that_meets_a_commit_of_another_instance_is_repeated(settings: Settings) -> None:
    async with lost_switches(settings, 5) as (parts, unaware, session_id, lost):
        loaded = await parts.store.load(session_id)
        assert loaded.lost is not None
        await switch(unaware, session_id)
        result = await parts.sessions.execute(CommandRequest(CALLER, session_id, Switch(), "switch"), loaded)
        assert result.snapshot.epoch != lost.snapshot.epoch
        assert result.snapshot.version == lost.snapshot.version + 2


@pytest.mark.parametrize("remaining", ["redis", "redis, with the deletion in postgres", "postgres"])
async def test_lost_deletion_is_repeated(own_settings: Settings, remaining: str) -> None:
    async with AsyncExitStack() as stack:
        parts, other = [await stack.enter_async_context(open_parts(own_settings)) for _ in range(2)]
        session_id = await create_started(parts)
        if remaining == "postgres":
            async with draining(own_settings):
                await wait_until_drained(parts)
        lose = await save(parts, session_id)
        before = await read(parts, session_id)
        is_drained = "deletion" in remaining
        if is_drained:
            await switch(parts, session_id)
        deleter = other if is_drained else parts
        await deleter.sessions.execute(CommandRequest(CALLER, session_id, Delete(), "delete"))
        if is_drained:
            async with draining(own_settings):
                await wait_until_drained(parts)
        await lose()
        if remaining == "postgres":
            await parts.pipe.call("UNLINK", parts.store.keys.session(session_id))
        with pytest.raises(SessionNotFound):
            await read(parts, session_id)
        stored = (await parts.store.load(session_id)).stored
        assert stored is not None
        assert stored.snapshot.deleted
        assert stored.snapshot.epoch != before.snapshot.epoch
        with pytest.raises(SessionNotFound):
            await read(other, session_id)
        async with draining(own_settings):
            await check_audit(parts, own_settings, session_id)


@pytest.mark.parametrize("count", [1, 3])
async def test_lost_versions_give_the_session_a_new_epoch_above_the_lost_numbers(
    settings: Settings, count: int
) -> None:
    async with lost_switches(settings, count) as (parts, _, session_id, lost):
        found = await read(parts, session_id)
        assert found.snapshot.epoch != lost.snapshot.epoch
        assert found.snapshot.version == lost.snapshot.version + 1
        assert found.session.turn.cycles == lost.session.turn.cycles - count
        assert (await read(parts, session_id)).snapshot == found.snapshot


async def test_conditions_on_lost_versions_are_refused_by_all_instances(settings: Settings) -> None:
    async with lost_switches(settings, 2) as (parts, other, session_id, lost):
        for instance in (parts, other):
            for _ in range(3):
                etag = VersionPrecondition(etags=(lost.snapshot.epoch_and_version[::-1],))
                with pytest.raises(PreconditionFailed):
                    await instance.sessions.execute(with_precondition(session_id, etag))
                with pytest.raises(VersionConflict):
                    await instance.sessions.execute(
                        with_precondition(session_id, VersionPrecondition(version=lost.snapshot.version))
                    )
                await switch(instance, session_id)


async def test_check_after_a_new_connection_finds_numbers_that_another_instance_issued_again(
    settings: Settings,
) -> None:
    async with lost_switches(settings, 2) as (parts, unaware, session_id, lost):
        for number in range(3):
            update = CommandRequest(CALLER, session_id, UpdateMetadata({"number": number}), "update_metadata")
            await unaware.sessions.execute(update)
        reissued = await read(unaware, session_id)
        assert reissued.snapshot.epoch == lost.snapshot.epoch
        assert reissued.snapshot.version > lost.snapshot.version
        await LostVersionCheck(parts.sessions, parts.pipe).check_once()
        found = await read(unaware, session_id)
        assert found.snapshot.epoch != lost.snapshot.epoch
        assert found.snapshot.version == reissued.snapshot.version + 1
        assert found.session.metadata == {"number": 2}


async def test_check_after_a_new_connection_repeats_a_lost_deletion(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        parts, unaware = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await create_started(parts)
        lose = await save(parts, session_id)
        await parts.sessions.execute(CommandRequest(CALLER, session_id, Delete(), "delete"))
        await lose()
        await switch(unaware, session_id)
        caplog.clear()
        await LostVersionCheck(parts.sessions, parts.pipe).check_once()
        assert "session recovered" in caplog.text
        assert "session lost" not in caplog.text
        with pytest.raises(SessionNotFound):
            await read(unaware, session_id)


async def test_check_changes_no_session_without_a_loss(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        parts, other = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_ids = [await create_started(parts) for _ in range(3)]
        await switch(other, session_ids[0])
        await parts.sessions.execute(CommandRequest(CALLER, session_ids[1], Complete(), "complete"))
        before = [(await read(other, each)).snapshot for each in session_ids]
        await LostVersionCheck(parts.sessions, parts.pipe).check_once()
        assert [(await read(other, each)).snapshot for each in session_ids] == before


async def test_session_created_again_is_not_taken_for_a_loss(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        parts, other = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await create_started(parts)
        await switch(parts, session_id)
        await other.sessions.execute(CommandRequest(CALLER, session_id, Delete(), "delete"))
        await other.sessions.create(CreateRequest(CALLER, Create(SyncMode.GLOBAL, total_time_ms=60_000), session_id))
        found = await read(parts, session_id)
        assert found.snapshot.version == 1
        await parts.sessions.execute(CommandRequest(CALLER, session_id, Start(), "start"))
        assert (await read(parts, session_id)).snapshot.epoch == found.snapshot.epoch


async def test_session_continues_from_postgres_if_it_has_the_lost_versions(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_id = await create_started(parts)
        lose = await save(parts, session_id)
        await switch(parts, session_id, "switch")
        lost = await read(parts, session_id)
        await wait_until_drained(parts)
        await lose()
        found = await read(parts, session_id)
        assert found.snapshot.epoch != lost.snapshot.epoch
        assert found.session.participants == lost.session.participants
        assert await switch(parts, session_id, "switch") == lost.snapshot.document
        await switch(parts, session_id)
        await check_audit(parts, own_settings, session_id)


async def test_audit_explains_a_recovery_that_left_out_lost_numbers(own_settings: Settings) -> None:
    async with lost_switches(own_settings, 3) as (parts, _, session_id, lost):
        await switch(parts, session_id)
        async with draining(own_settings):
            await check_audit(parts, own_settings, session_id)
            events = (await parts.history.read_events_page(session_id)).items
            assert [(event.version, event.event_type) for event in events][-2:] == [
                (lost.snapshot.version + 1, EventType.SESSION_RECOVERED),
                (lost.snapshot.version + 2, EventType.CYCLE_SWITCHED),
            ]


async def check_audit(parts: Parts, settings: Settings, session_id: str) -> None:
    """Wait until Postgres has all versions of a session, and check that a replay explains all of them."""
    await wait_until_drained(parts)
    async with open_verifier(settings.database_url, OutageChargePolicy()) as verifier:
        verified = await verifier.verify_session(session_id)
    assert verified is not None
    assert verified.epochs == 2
    # The tests create sessions without the arguments that a replay of the creation needs.
    assert [each for each in verified.findings if each.version > 1] == []
