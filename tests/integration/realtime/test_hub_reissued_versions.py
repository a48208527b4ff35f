"""A store that lost versions issues their numbers anew with other content: nobody is told that his own is the same.

What was lost is put back here by hand, so that it takes a moment; `test_gap_proof.py` has the failover itself.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from synckairos.client import Client
from synckairos.clock.commands import Start, Switch, UpdateMetadata
from synckairos.config import Settings
from synckairos.store import feed
from tests.integration.client.proxy import proxy_to, target_of
from tests.integration.realtime.instances import Instance, serving
from tests.integration.realtime.v3_client import Known, V3Client, joined, normal, shown, v3_client

TOGETHER = 3
"""The last version that was not lost."""

DEADLINE_S = 20


async def remembered(instance: Instance, session_id: str) -> Callable[[], Awaitable[None]]:
    """Return what makes the store be as it is now again, as a replica is that got no more."""
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    names = (keys.session(session_id), keys.history(session_id))
    dumps = [await pipe.call("DUMP", name) for name in names]

    async def lose() -> None:
        await pipe.call_many([("RESTORE", name, 0, dump, "REPLACE") for name, dump in zip(names, dumps, strict=True)])

    return lose


async def resumed(client: V3Client, session_id: str, known: Known) -> tuple[str, bool]:
    """Resume, and return what the first answer is and whether it calls itself a recovery."""
    answer = await client.resume(session_id, known)
    return answer["type"], answer["recovered"]


async def issue(instance: Instance, session_id: str, count: int) -> None:
    """Go on in another way than by switches alone."""
    await instance.command(session_id, UpdateMetadata({"issued": "anew"}))
    for _ in range(count - 1):
        await instance.command(session_id, Switch())


async def begun(instance: Instance, participants: int) -> str:
    session_id = await instance.create(participants=participants)
    await instance.command(session_id, Start())
    await instance.command(session_id, Switch())
    return session_id


async def has_what_is_stored(client: V3Client, instance: Instance, session_id: str) -> None:
    stored = await instance.sessions.read(session_id)
    await client.take_until(session_id, stored.snapshot.version)
    assert normal(client.states[session_id]) == shown(stored.snapshot.document)


@pytest.mark.parametrize("participants", [2, 100])
@pytest.mark.parametrize("issued", [1, 2, 5])
async def test_a_lost_version_is_no_place_to_resume_from(
    instance: Instance, other_instance: Instance, issued: int, participants: int
) -> None:
    session_id = await begun(instance, participants)
    kept = await joined(instance, session_id)
    lose = await remembered(instance, session_id)
    await instance.command(session_id, Switch())
    await instance.command(session_id, Switch())
    lost = await joined(instance, session_id)
    assert lost.place["version"] == TOGETHER + 2
    await lose()
    await issue(instance, session_id, issued)
    for each in (instance, other_instance):
        async with v3_client(each) as client:
            assert await resumed(client, session_id, lost) == ("STATE_SYNC", False)
            await has_what_is_stored(client, each, session_id)
            # What both lives have is recovered from as ever.
            assert await resumed(client, session_id, kept) == ("STATE_DELTA", True)
            await has_what_is_stored(client, each, session_id)


@pytest.mark.parametrize("issued", [1, 2])
async def test_an_instance_that_didnt_notice_yet_tells_them_apart(
    settings: Settings, instance: Instance, monkeypatch: pytest.MonkeyPatch, issued: int
) -> None:
    monkeypatch.setattr(feed, "LOOK_S", 3_600.0)
    session_id = await begun(instance, 2)
    lose = await remembered(instance, session_id)
    async with serving(settings) as believes, v3_client(believes) as watcher:
        await watcher.ask("SUBSCRIBE", session_id=session_id)
        await instance.command(session_id, Switch())
        await instance.command(session_id, Switch())
        await watcher.take_until(session_id, TOGETHER + 2)
        lost = watcher.known(session_id)
        await lose()
        await issue(instance, session_id, issued)
        there = await joined(instance, session_id)
        async with v3_client(believes) as client:
            assert await resumed(client, session_id, lost) == ("STATE_SYNC", False)
            await has_what_is_stored(client, instance, session_id)
            assert await resumed(client, session_id, there) == ("STATE_DELTA", True)
            await has_what_is_stored(client, instance, session_id)


async def test_a_state_that_came_back_without_a_tag_is_sent_whole_to_who_has_one(instance: Instance) -> None:
    session_id = await begun(instance, 2)
    known = await joined(instance, session_id)
    # As what comes back from Postgres: nobody knows any more what the commit called it.
    await instance.parts.pipe.call("HDEL", instance.parts.store.keys.session(session_id), "tag")
    async with v3_client(instance) as client:
        assert await resumed(client, session_id, known) == ("STATE_SYNC", False)
        unnamed = client.known(session_id)
        assert "tag" not in unnamed.place
        assert await resumed(client, session_id, unnamed) == ("STATE_DELTA", True)
        await instance.command(session_id, Switch())
        await has_what_is_stored(client, instance, session_id)
        assert "tag" in client.known(session_id).place


async def test_our_client_gets_what_is_there_and_knows_of_the_gap(instance: Instance) -> None:
    session_id = await begun(instance, 2)
    lose = await remembered(instance, session_id)
    async with proxy_to(instance.ws_url) as line, Client(line.url) as client, client.watch(session_id) as session:
        await instance.command(session_id, Switch())
        await session.reach(TOGETHER + 1)
        updates = session.updates()
        assert not (await anext(updates)).has_gap
        line.lead_nowhere()
        await lose()
        await issue(instance, session_id, 1)
        line.target = target_of(instance.ws_url)
        async with asyncio.timeout(DEADLINE_S):
            update = await anext(updates)
        assert update.has_gap
        assert update.state.metadata == {"issued": "anew"}
        await updates.aclose()
