"""A rolling restart of three servers under load: each acknowledged command is executed once, and watchers get it."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from synckairos.config import Settings
from tests.e2e.retried_load import address, run_retried_load
from tests.processes import Process

pytestmark = pytest.mark.slow

INSTANCES = 3


async def test_rolling_restart_under_load_loses_no_acknowledged_command(
    start_server: Callable[[Settings], Process], settings: Settings
) -> None:
    worker = Process("worker", env=settings.to_environment_variables())
    try:
        servers = await asyncio.gather(*(asyncio.to_thread(start_server, settings) for _ in range(INSTANCES)))
        async with run_retried_load(settings, [address(each) for each in servers], INSTANCES) as (load, balancer):
            for server in servers:
                await load.wait_for_all_senders()
                server.send(signal.SIGTERM)
                assert await asyncio.to_thread(server.wait_end) == 0
                balancer.targets.remove(address(server))
                balancer.targets.append(address(await asyncio.to_thread(start_server, settings)))
    finally:
        worker.stop()
