"""Webhooks on a test's own stores, and somebody who receives them."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.webhooks.receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened
