"""Lag compensation with the measured round-trip time over a slow network, and the verification of its audit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from synckairos.audit.verify import open_verifier
from synckairos.clock.commands import Start
from synckairos.clock.lag_compensation import CLAIM_TOLERANCE_MS
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.service.requests import CreateRequest
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession
from tests.integration.audit_parts import AuditParts
from tests.integration.client.proxy import proxy_to
from tests.integration.realtime.instances import CALLER, Instance, serving
from tests.integration.realtime.v3_client import V3, V3Client

HUGE_LAG_MS = 86_400_000


@asynccontextmanager
async def connected_player(url: str) -> AsyncIterator[V3Client]:
    async with connect(url, subprotocols=[V3], proxy=None) as socket:
        yield V3Client(socket)


@pytest.fixture
async def instance(audit: AuditParts) -> AsyncIterator[Instance]:
    async with serving(audit.settings) as opened:
        yield opened


async def start_session(instance: Instance, budget_ms: int = 180_000) -> str:
    """Start a session with lag compensation.

    With a budget of three minutes, the quota is 2,610 ms and grows by 870 ms in each turn.
    """
    session_id = str(uuid4())
    body = {
        "sync_mode": "per_participant",
        "participants": [{"participant_id": str(uuid4()), "total_time_ms": budget_ms} for _ in range(2)],
        "lag_compensation": True,
    }
    await instance.sessions.create(CreateRequest(CALLER, parse_body(CreateSession, body).to_create(), session_id, body))
    await instance.command(session_id, Start())
    return session_id


async def switch(client: V3Client, session_id: str, command_id: str, **args: Any) -> dict[str, Any]:
    answer = await client.request("COMMAND", id=command_id, session_id=session_id, command="switch", args=args)
    assert answer["type"] == "ACK", answer
    return answer


async def read_switch_arguments(audit: AuditParts, session_id: str) -> list[Any]:
    """Drain and verify the audit. Return the arguments of each switch, in order."""
    await audit.drain()
    async with open_verifier(audit.settings.database_url, OutageChargePolicy()) as verifier:
        verified = await verifier.verify_session(session_id)
        assert verified is not None
        assert verified.findings == ()
    rows = await audit.rows(
        "SELECT args FROM sync_events WHERE session_id = %s AND command = 'switch' ORDER BY version", session_id
    )
    return [args for (args,) in rows]


async def test_claimed_lag_is_trusted_up_to_the_measured_lag_plus_the_tolerance(
    audit: AuditParts, instance: Instance
) -> None:
    session_id = await start_session(instance)
    async with proxy_to(instance.ws_url) as proxy:
        proxy.up_ms, proxy.down_ms, proxy.jitter = 120, 80, 0
        async with connected_player(proxy.url) as client:
            await client.request("SUBSCRIBE", session_id=session_id)
            receipts = []
            for at in range(3):
                await client.request("PING", t0=0)  # the server's ping is answered before this message
                receipts.append((await switch(client, session_id, f"switch-{at}", lag_ms=HUGE_LAG_MS))["lag_receipt"])
    claims = await read_switch_arguments(audit, session_id)
    for receipt, claim in zip(receipts, claims, strict=True):
        assert claim == {"lag_ms": HUGE_LAG_MS, "measured_lag_ms": claim["measured_lag_ms"]}
        assert claim["measured_lag_ms"] >= 200  # one delay in each direction
        assert receipt["trusted_lag_ms"] == claim["measured_lag_ms"] + CLAIM_TOLERANCE_MS
        assert receipt["compensated_ms"] == min(receipt["trusted_lag_ms"], receipt["elapsed_ms"], 2_610)
        assert receipt["elapsed_ms"] == receipt["charged_ms"] + receipt["compensated_ms"]
        assert receipt["quota_left_ms"] <= 2_610 + 2 * 870 - receipt["compensated_ms"]


async def test_client_that_delays_everything_gains_only_its_quota(audit: AuditParts, instance: Instance) -> None:
    session_id = await start_session(instance, 10_000)  # a quota of 570 ms that grows by 190 ms in each turn
    async with proxy_to(instance.ws_url) as proxy:
        proxy.up_ms, proxy.down_ms, proxy.jitter = 350, 250, 0
        async with connected_player(proxy.url) as client:
            await client.request("SUBSCRIBE", session_id=session_id)
            await client.request("PING", t0=0)
            receipts = [
                (await switch(client, session_id, f"switch-{at}", lag_ms=HUGE_LAG_MS))["lag_receipt"] for at in range(3)
            ]
    assert [receipt["compensated_ms"] for receipt in receipts] == [570, 570, 190]
    assert [receipt["quota_left_ms"] for receipt in receipts] == [190, 190, 190]
    assert all(claim["measured_lag_ms"] >= 600 for claim in await read_switch_arguments(audit, session_id))


async def test_replayed_switch_has_the_first_receipt_whatever_was_measured_since(
    audit: AuditParts, instance: Instance
) -> None:
    session_id = await start_session(instance)
    async with connected_player(instance.ws_url) as client:
        first = await switch(client, session_id, "one", lag_ms=90)
        await switch(client, session_id, "two")
    async with connected_player(instance.ws_url) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await client.request("PING", t0=0)
        assert await switch(client, session_id, "one", lag_ms=90) == first
    assert await read_switch_arguments(audit, session_id) == [{"lag_ms": 90}, None]


async def test_client_that_was_never_measured_is_trusted_only_the_tolerance(instance: Instance) -> None:
    session_id = await start_session(instance)
    await instance.parts.rewind(session_id, 20_000)
    async with connected_player(instance.ws_url) as client:
        receipt = (await switch(client, session_id, "one", lag_ms=HUGE_LAG_MS))["lag_receipt"]
        assert (receipt["trusted_lag_ms"], receipt["compensated_ms"]) == (
            CLAIM_TOLERANCE_MS,
            CLAIM_TOLERANCE_MS,
        )
        assert receipt["charged_ms"] == receipt["elapsed_ms"] - CLAIM_TOLERANCE_MS >= 20_000 - CLAIM_TOLERANCE_MS
