"""The REST route of simulations: replays and rate limits."""

from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import httpx
import pytest

from synckairos.config import Settings
from synckairos.limits.client_work_budgets import MAX_SIMULATIONS
from tests.background_task import start
from tests.integration.rest_server import RestServer, open_rest_server

BODY: dict[str, Any] = {
    "session": {
        "sync_mode": "per_participant",
        "total_time_ms": 10_000,
        "participants": [{"participant_id": str(UUID(int=at))} for at in (10, 11)],
    },
    "commands": [{"at_ms": 0, "command": "start"}, {"at_ms": 4_000, "command": "switch"}],
    "until_ms": 60_000,
}
ENDLESS = BODY | {
    "session": BODY["session"] | {"sync_mode": "per_cycle", "time_per_cycle_ms": 1_000, "max_cycles": 1_000_000},
    "until_ms": 86_400_000,
}


@pytest.mark.parametrize(("body", "status"), [(BODY, 200), (ENDLESS, 400)], ids=["played", "refused"])
async def test_simulation_with_a_repeated_key_returns_the_same_answer(
    client: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    key = {"idempotency-key": "once"}
    first, again = [await client.post("/v1/simulate", json=body, headers=key) for _ in range(2)]
    assert (first.status_code, again.status_code, again.content) == (status, status, first.content)
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    other = await client.post("/v1/simulate", json=body | {"until_ms": 70_000}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    without = await client.post("/v1/simulate", json=body)
    assert (without.content, "idempotency-replayed" in without.headers) == (first.content, False)


async def test_key_of_a_simulation_is_separate_from_keys_of_creations(server: RestServer) -> None:
    key = {"idempotency-key": "same"}
    assert (await server.client.post("/v1/simulate", json=BODY, headers=key)).status_code == 200
    assert (await server.client.post("/v1/sessions", json=BODY["session"], headers=key)).status_code == 201


async def test_replayed_simulation_does_not_count_against_the_rate_limit(settings: Settings) -> None:
    async with open_rest_server(settings.model_copy(update={"rate_limit_general": 2})) as server:
        key = {"idempotency-key": "once"}
        for _ in range(4):
            assert (await server.client.post("/v1/simulate", json=BODY, headers=key)).status_code == 200
        assert (await server.client.post("/v1/simulate", json=BODY)).headers["ratelimit-remaining"] == "0"


async def test_simulated_switch_accepts_a_measured_lag(client: httpx.AsyncClient) -> None:
    for args, compensated_ms in (({"lag_ms": 900}, 140), ({"lag_ms": 900, "measured_lag_ms": 200}, 340)):
        commands = [BODY["commands"][0], {"at_ms": 4_000, "command": "switch", "args": args}]
        session = BODY["session"] | {"lag_compensation": True}
        body = {"session": session, "commands": commands, "until_ms": 5_000}
        answer = await client.post("/v1/simulate", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["final"]["lag_receipt"]["compensated_ms"] == compensated_ms


async def test_simulation_is_parsed_in_its_turn(server: RestServer) -> None:
    async with AsyncExitStack() as places:
        for number in range(MAX_SIMULATIONS):
            await places.enter_async_context(server.parts.work.wait_for_simulation_turn(f"10.0.0.{number}"))
        invalid = BODY | {"commands": [{"at_ms": 0, "command": "unknown"}]}
        refused = await start(server.client.post("/v1/simulate", json=invalid))
        for _ in range(5):
            assert (await server.client.get("/v1/time")).status_code == 200
        assert not refused.done()
        await places.aclose()
        assert (await refused).status_code == 400
