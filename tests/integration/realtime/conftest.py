"""Fixtures: an instance in the test's own process, and a second instance on the same stores."""

from collections.abc import AsyncIterator

import pytest

from synckairos.config import Settings
from synckairos.realtime.timings import RealtimeTimings
from synckairos.server.timings import ServerTimings
from tests.integration.realtime.instances import Instance, serving


@pytest.fixture
async def instance(
    settings: Settings, realtime_timings: RealtimeTimings, server_timings: ServerTimings
) -> AsyncIterator[Instance]:
    async with serving(settings, realtime_timings=realtime_timings, server_timings=server_timings) as served:
        yield served


@pytest.fixture
async def other_instance(
    settings: Settings, realtime_timings: RealtimeTimings, server_timings: ServerTimings
) -> AsyncIterator[Instance]:
    async with serving(settings, realtime_timings=realtime_timings, server_timings=server_timings) as served:
        yield served
