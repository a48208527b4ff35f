"""Change events of the hub for long polls. A change event also keeps the subscription to its session."""

import asyncio
from uuid import uuid4

from synckairos.clock.commands import Start
from tests.integration.realtime.instances import Instance

DEADLINE_S = 10


async def test_change_event_is_set_by_each_version_and_by_draining(instance: Instance) -> None:
    session_id = await instance.create()
    async with instance.hub.subscribe_change_event(session_id) as changed, asyncio.timeout(DEADLINE_S):
        assert len(await instance.feed_channels()) == 1
        await instance.command(session_id, Start())
        await changed.wait()
        changed.clear()
        instance.server.stop()
        await changed.wait()
    await instance.wait_until_unused()


async def test_change_event_of_a_missing_session_is_set_when_it_is_created(instance: Instance) -> None:
    session_id = str(uuid4())
    async with instance.hub.subscribe_change_event(session_id) as changed, asyncio.timeout(DEADLINE_S):
        await instance.create(session_id)
        await changed.wait()
