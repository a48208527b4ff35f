"""PRESENCE on several real server processes, of which one is killed."""

import asyncio
import time
from collections.abc import Callable

import pytest
from websockets.asyncio.client import connect

from synckairos.config import Settings
from tests.e2e.test_instances import create, request, v3
from tests.integration.realtime.instances import receive_presence
from tests.processes import Process


@pytest.mark.slow
async def test_presence_is_right_within_10_s_after_an_instance_was_killed(
    start_server: Callable[[Settings], Process], settings: Settings
) -> None:
    doomed, *others = await asyncio.gather(*(asyncio.to_thread(start_server, settings) for _ in range(3)))
    session_id = await create(doomed)
    async with v3(others[0]) as one, v3(others[1]) as another:
        for client in (one, another):
            await request(client, "SUBSCRIBE", id="s", session_id=session_id)
        lost = [await connect(f"{doomed.ws_url}?sessionId={session_id}", proxy=None) for _ in range(3)]
        for client in (one, another):
            assert (await receive_presence(client, 5))["roles"] == {"viewer": 5}
        doomed.kill()
        killed_s = time.monotonic()
        for client in (one, another):
            assert (await receive_presence(client, 2, deadline_s=15))["roles"] == {"viewer": 2}
        assert time.monotonic() - killed_s <= 10
        for client in lost:
            await client.wait_closed()
