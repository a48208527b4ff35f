"""Servers in the tests' own process wait less where nobody is there to be waited for."""

from collections.abc import AsyncIterator

import pytest

from synckairos.config import Settings
from synckairos.realtime import hub
from synckairos.server import uvicorn_server, websocket_protocol
from tests.integration.audit_parts import AuditParts, open_audit_parts


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait for a balancer to see that a server drains; look for the stuck and take leave of the silent sooner."""
    monkeypatch.setattr(uvicorn_server, "NOT_READY_S", 0.0)
    monkeypatch.setattr(hub, "CHECK_S", 0.1)
    monkeypatch.setattr(websocket_protocol, "GOODBYE_S", 0.5)


@pytest.fixture
async def audit(settings: Settings) -> AsyncIterator[AuditParts]:
    """Open the parts of the audit and of history on the stores of one test."""
    async with open_audit_parts(settings) as opened:
        yield opened
