"""Lag that the server measures itself, on real sockets over a slow network, and its audit played again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from websockets.asyncio.client import connect

from synckairos.audit.verify import open_verifier
from synckairos.clock.commands import Start
from synckairos.clock.lag_compensation import CLAIM_TOLERANCE_MS
from synckairos.clock.recovery import OutagePolicy
from synckairos.service.requests import CreateRequest
from synckairos.wire.creation_body import CreateSession
from synckairos.wire.request_bodies import parse_body
from tests.integration.audit_parts import AuditParts
from tests.integration.client.proxy import proxy_to
from tests.integration.realtime.instances import CALLER, Instance, serving
from tests.integration.realtime.v3_client import V3, V3Client

FOR_EVER_MS = 86_400_000


@asynccontextmanager
async def player(url: str) -> AsyncIterator[V3Client]:
    async with connect(url, subprotocols=[V3], proxy=None) as socket:
        yield V3Client(socket)


@pytest.fixture
async def instance(audit: AuditParts) -> AsyncIterator[Instance]:
    async with serving(audit.settings) as opened:
        yield opened


async def started(instance: Instance, budget_ms: int = 180_000) -> str:
    """Start a session in which lag is compensated: with three minutes each, 2,610 ms to begin with and 870 a turn."""
    session_id = str(uuid4())
    body = {
        "sync_mode": "per_participant",
        "participants": [{"participant_id": str(uuid4()), "total_time_ms": budget_ms} for _ in range(2)],
        "lag_compensation": True,
    }
    await instance.sessions.create(CreateRequest(CALLER, parse_body(CreateSession, body).to_create(), session_id, body))
    await instance.command(session_id, Start())
    return session_id


async def press(client: V3Client, session_id: str, command_id: str, **args: Any) -> dict[str, Any]:
    answer = await client.ask("COMMAND", id=command_id, session_id=session_id, command="switch", args=args)
    assert answer["type"] == "ACK", answer
    return answer


async def kept(audit: AuditParts, session_id: str) -> list[Any]:
    """Return the arguments of each switch in the audit, in order, once all of it is there and verified."""
    await audit.drain()
    async with open_verifier(audit.settings.database_url, OutagePolicy()) as verifier:
        verified = await verifier.verify_session(session_id)
        assert verified is not None
        assert verified.findings == ()
    rows = await audit.rows(
        "SELECT args FROM sync_events WHERE session_id = %s AND command = 'switch' ORDER BY version", session_id
    )
    return [args for (args,) in rows]


async def test_who_claims_infinite_lag_is_believed_what_was_measured_and_a_little(
    audit: AuditParts, instance: Instance
) -> None:
    session_id = await started(instance)
    async with proxy_to(instance.ws_url) as proxy:
        proxy.up_ms, proxy.down_ms, proxy.jitter = 120, 80, 0
        async with player(proxy.url) as client:
            await client.ask("SUBSCRIBE", session_id=session_id)
            receipts = []
            for at in range(3):
                await client.ask("PING", t0=0)  # the answer to the ping of the server's is here before this one's
                receipts.append((await press(client, session_id, f"press-{at}", lag_ms=FOR_EVER_MS))["lag_receipt"])
    claims = await kept(audit, session_id)
    for receipt, claim in zip(receipts, claims, strict=True):
        assert claim == {"lag_ms": FOR_EVER_MS, "measured_lag_ms": claim["measured_lag_ms"]}
        assert claim["measured_lag_ms"] >= 200  # there and back
        assert receipt["trusted_lag_ms"] == claim["measured_lag_ms"] + CLAIM_TOLERANCE_MS
        assert receipt["compensated_ms"] == min(receipt["trusted_lag_ms"], receipt["elapsed_ms"], 2_610)
        assert receipt["elapsed_ms"] == receipt["charged_ms"] + receipt["compensated_ms"]
        assert receipt["quota_left_ms"] <= 2_610 + 2 * 870 - receipt["compensated_ms"]


async def test_a_client_that_delays_everything_gains_the_quota_and_no_more(
    audit: AuditParts, instance: Instance
) -> None:
    session_id = await started(instance, 10_000)  # 570 ms to begin with and 190 a turn
    async with proxy_to(instance.ws_url) as proxy:
        proxy.up_ms, proxy.down_ms, proxy.jitter = 350, 250, 0
        async with player(proxy.url) as client:
            await client.ask("SUBSCRIBE", session_id=session_id)
            await client.ask("PING", t0=0)
            receipts = [
                (await press(client, session_id, f"press-{at}", lag_ms=FOR_EVER_MS))["lag_receipt"] for at in range(3)
            ]
    assert [receipt["compensated_ms"] for receipt in receipts] == [570, 570, 190]
    assert [receipt["quota_left_ms"] for receipt in receipts] == [190, 190, 190]
    assert all(claim["measured_lag_ms"] >= 600 for claim in await kept(audit, session_id))


async def test_an_answer_given_again_is_the_first_whatever_was_measured_since(
    audit: AuditParts, instance: Instance
) -> None:
    session_id = await started(instance)
    async with player(instance.ws_url) as client:
        first = await press(client, session_id, "one", lag_ms=90)
        await press(client, session_id, "two")
    async with player(instance.ws_url) as client:
        await client.ask("SUBSCRIBE", session_id=session_id)
        await client.ask("PING", t0=0)
        assert await press(client, session_id, "one", lag_ms=90) == first
    assert await kept(audit, session_id) == [{"lag_ms": 90}, None]


async def test_who_was_never_measured_is_believed_little(instance: Instance) -> None:
    session_id = await started(instance)
    await instance.parts.rewind(session_id, 20_000)
    async with player(instance.ws_url) as client:
        receipt = (await press(client, session_id, "one", lag_ms=FOR_EVER_MS))["lag_receipt"]
        assert (receipt["trusted_lag_ms"], receipt["compensated_ms"]) == (
            CLAIM_TOLERANCE_MS,
            CLAIM_TOLERANCE_MS,
        )
        assert receipt["charged_ms"] == receipt["elapsed_ms"] - CLAIM_TOLERANCE_MS >= 20_000 - CLAIM_TOLERANCE_MS
