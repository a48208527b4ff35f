"""Who reads a session elsewhere is woken by the hub, and keeps it subscribed meanwhile."""

import asyncio
from uuid import uuid4

from synckairos.clock.commands import Start
from tests.integration.realtime.instances import Instance

DEADLINE_S = 10


async def test_a_waker_is_set_by_each_version_and_by_draining(instance: Instance) -> None:
    session_id = await instance.create()
    async with instance.hub.waking(session_id) as woken, asyncio.timeout(DEADLINE_S):
        assert instance.hub.watched_sessions == 1
        await instance.command(session_id, Start())
        await woken.wait()
        woken.clear()
        instance.server.stop()
        await woken.wait()
    assert instance.hub.watched_sessions == 0


async def test_a_session_that_isnt_there_may_be_waited_for(instance: Instance) -> None:
    session_id = str(uuid4())
    async with instance.hub.waking(session_id) as woken, asyncio.timeout(DEADLINE_S):
        await instance.create(session_id)
        await woken.wait()
