"""Fixtures for the tests of members."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.members.member_source import MemberSource, serving_members


@pytest.fixture
async def source() -> AsyncIterator[MemberSource]:
    async with serving_members() as served:
        yield served
