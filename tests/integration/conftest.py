"""Servers in the tests' own process wait less where nobody is there to be waited for."""

import pytest

from synckairos.realtime import hub
from synckairos.server import uvicorn_server, websocket_protocol


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait for a balancer to see that a server drains; look for the stuck and take leave of the silent sooner."""
    monkeypatch.setattr(uvicorn_server, "NOT_READY_S", 0.0)
    monkeypatch.setattr(hub, "CHECK_S", 0.1)
    monkeypatch.setattr(websocket_protocol, "GOODBYE_S", 0.5)
