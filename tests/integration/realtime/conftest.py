"""An instance to talk to, and a second one beside it."""

from collections.abc import AsyncIterator

import pytest

from synckairos.config import Settings
from tests.integration.realtime.instances import Instance, serving


@pytest.fixture
async def instance(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings) as served:
        yield served


@pytest.fixture
async def other_instance(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings) as served:
        yield served
