"""Versions that a store lost. No client may mistake a later version for a lost version.

An instance that knows a lost version continues the session under a new epoch. An instance that does not know it can
issue its number again.

The tests restore an earlier dump of the keys, which loses versions quickly. `test_hub_store_faults.py` has real
failovers.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from synckairos.clock.commands import Start, Switch, UpdateMetadata
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER
from synckairos_client import Client
from tests.integration.client.proxy import proxy_to, target_of
from tests.integration.realtime.instances import Instance, serving
from tests.integration.realtime.v3_client import Known, V3Client, normal, shown, subscribe_and_leave, v3_client

LAST_COMMON = 3
"""The newest version that is not lost."""

DEADLINE_S = 20


async def save_for_rollback(instance: Instance, session_id: str) -> Callable[[], Awaitable[None]]:
    """Return a function that resets a session's keys to their present values, as a replica without later writes."""
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    names = (keys.session(session_id), keys.history(session_id))
    dumps = [await pipe.call("DUMP", name) for name in names]

    async def lose() -> None:
        await pipe.call_many([("RESTORE", name, 0, dump, "REPLACE") for name, dump in zip(names, dumps, strict=True)])

    return lose


async def resume(client: V3Client, session_id: str, known: Known) -> tuple[str, bool]:
    """Resume a session. Return the type of the first answer and its member `recovered`."""
    answer = await client.resume(session_id, known)
    return answer["type"], answer["recovered"]


async def commit_others(instance: Instance, session_id: str, count: int) -> None:
    """Commit versions that differ from the lost versions, and not only switches."""
    await instance.command(session_id, UpdateMetadata({"reissued": True}))
    for _ in range(count - 1):
        await instance.command(session_id, Switch())


async def start_session(instance: Instance, participants: int) -> str:
    session_id = await instance.create(participants=participants)
    await instance.command(session_id, Start())
    await instance.command(session_id, Switch())
    return session_id


async def check_converged(client: V3Client, instance: Instance, session_id: str) -> None:
    stored = await instance.sessions.read(TIMEKEEPER, session_id)
    await client.receive_until(session_id, stored.snapshot.version)
    assert normal(client.states[session_id]) == shown(stored.snapshot.document)


@pytest.mark.parametrize("participants", [2, 100])
@pytest.mark.parametrize("count", [1, 2, 5])
async def test_client_cannot_resume_from_a_lost_version(
    instance: Instance, other_instance: Instance, count: int, participants: int
) -> None:
    session_id = await start_session(instance, participants)
    kept = await subscribe_and_leave(instance, session_id)
    lose = await save_for_rollback(instance, session_id)
    await instance.command(session_id, Switch())
    await instance.command(session_id, Switch())
    lost = await subscribe_and_leave(instance, session_id)
    assert lost.position["version"] == LAST_COMMON + 2
    await lose()
    await commit_others(instance, session_id, count)
    for each in (instance, other_instance):
        async with v3_client(each) as client:
            assert await resume(client, session_id, lost) == ("STATE_SYNC", False)
            await check_converged(client, each, session_id)
            # The session has a new epoch, so no client can resume from a version before the loss.
            assert await resume(client, session_id, kept) == ("STATE_SYNC", False)
            await check_converged(client, each, session_id)


@pytest.mark.parametrize("count", [1, 2])
async def test_instance_that_has_not_noticed_the_loss_tells_reissued_versions_apart(
    settings: Settings, instance: Instance, count: int
) -> None:
    session_id = await start_session(instance, 2)
    lose = await save_for_rollback(instance, session_id)
    async with serving(settings, feed_compare_s=3_600) as unaware, v3_client(unaware) as watcher:
        await watcher.request("SUBSCRIBE", session_id=session_id)
        await instance.command(session_id, Switch())
        await instance.command(session_id, Switch())
        await watcher.receive_until(session_id, LAST_COMMON + 2)
        lost = watcher.known(session_id)
        await lose()
        await commit_others(instance, session_id, count)
        current = await subscribe_and_leave(instance, session_id)
        async with v3_client(unaware) as client:
            assert await resume(client, session_id, lost) == ("STATE_SYNC", False)
            await check_converged(client, instance, session_id)
            assert await resume(client, session_id, current) == ("STATE_DELTA", True)
            await check_converged(client, instance, session_id)


async def test_client_with_a_tag_gets_the_full_state_if_the_stored_state_has_none(instance: Instance) -> None:
    session_id = await start_session(instance, 2)
    known = await subscribe_and_leave(instance, session_id)
    # Simulates a restore from Postgres, which does not have the tag of the commit.
    await instance.parts.pipe.call("HDEL", instance.parts.store.keys.session(session_id), "tag")
    async with v3_client(instance) as client:
        assert await resume(client, session_id, known) == ("STATE_SYNC", False)
        untagged = client.known(session_id)
        assert "tag" not in untagged.position
        assert await resume(client, session_id, untagged) == ("STATE_DELTA", True)
        await instance.command(session_id, Switch())
        await check_converged(client, instance, session_id)
        assert "tag" in client.known(session_id).position


async def test_python_client_gets_the_new_state_and_reports_the_gap(instance: Instance) -> None:
    session_id = await start_session(instance, 2)
    lose = await save_for_rollback(instance, session_id)
    async with proxy_to(instance.ws_url) as line, Client(line.url) as client, client.watch(session_id) as session:
        await instance.command(session_id, Switch())
        await session.reach(LAST_COMMON + 1)
        updates = session.updates()
        assert not (await anext(updates)).has_gap
        line.block()
        await lose()
        await commit_others(instance, session_id, 1)
        line.target = target_of(instance.ws_url)
        async with asyncio.timeout(DEADLINE_S):
            update = await anext(updates)
        assert update.has_gap
        assert update.state.metadata == {"reissued": True}
        await updates.aclose()
