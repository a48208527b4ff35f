"""Fixtures of the integration tests: timings of servers in the test's own process, and the parts of the audit."""

from collections.abc import AsyncIterator

import pytest

from synckairos.config import Settings
from synckairos.realtime.timings import RealtimeTimings
from synckairos.server.timings import ServerTimings
from tests.integration.audit_parts import AuditParts, open_audit_parts
from tests.integration.realtime.instances import SHORT_REALTIME, SHORT_SERVER


@pytest.fixture
def realtime_timings() -> RealtimeTimings:
    """Give the timings of the hub; a test overrides them by parametrizing this name."""
    return SHORT_REALTIME


@pytest.fixture
def server_timings() -> ServerTimings:
    """Give the timings of the server; a test overrides them by parametrizing this name."""
    return SHORT_SERVER


@pytest.fixture
async def audit(settings: Settings) -> AsyncIterator[AuditParts]:
    """Open the parts of the audit and of history on the stores of one test."""
    async with open_audit_parts(settings) as opened:
        yield opened
