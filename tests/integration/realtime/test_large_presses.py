"""Presses of sessions with large documents, by REST and by WebSocket: they take turns, other presses do not wait."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from synckairos.config import Settings
from synckairos.limits import large_presses
from synckairos.limits.client_work_budgets import ClientWorkLimits
from tests.integration.realtime.instances import serving
from tests.integration.realtime.v3_client import v3_client
from tests.integration.rest_server import chess_body, open_rest_server


def large_body() -> dict[str, Any]:
    names = ({"participant_id": str(uuid4()), "participant_index": at, "display_name": "é" * 150} for at in range(300))
    return chess_body(participants=[{**each, "total_time_ms": 600_000} for each in names], total_time_ms=None)


async def check_turns(work: ClientWorkLimits, press: Callable[[str], Awaitable[str]], large: str, small: str) -> None:
    """Press both sessions, also while another press of the client has the turn. `press` returns the code of an error.

    It returns an empty text if the press was accepted.
    """
    presses = work.processor_time.large_presses
    assert large in presses.sessions
    assert small not in presses.sessions
    assert await press(large) == ""
    (client,) = work.processor_time._accounts
    async with presses.turn(client, large):
        assert await press(large) == "RATE_LIMIT_EXCEEDED"
        assert await press(small) == ""
    assert await press(large) == ""


async def test_press_of_a_large_session_waits_for_its_turn_by_rest(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_presses, "MAX_WAIT_S", 0.1)
    async with open_rest_server(settings) as server:
        large, small = [(await server.create_started(**each))["session_id"] for each in (large_body(), chess_body())]

        async def press(session_id: str) -> str:
            answer = await server.client.post(f"/v1/sessions/{session_id.upper()}/switch")
            return str(answer.json().get("error", {}).get("code", ""))

        await check_turns(server.parts.work, press, large, small)


async def test_press_of_a_large_session_waits_for_its_turn_by_socket(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_presses, "MAX_WAIT_S", 0.1)
    async with open_rest_server(settings) as server, serving(settings) as instance, v3_client(instance) as client:
        large, small = [(await server.create_started(**each))["session_id"] for each in (large_body(), chess_body())]
        instance.parts.work.processor_time.large_presses.note_size(large, 100_000)  # another instance executed `start`

        async def press(session_id: str) -> str:
            answer = await client.request("COMMAND", session_id=session_id, command="switch", args={})
            return str(answer.get("code", ""))

        await check_turns(instance.hub.work, press, large, small)
