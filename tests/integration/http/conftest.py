"""REST on real stores, asked through ASGI: no port, no process, everything else as it is in production."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.audit.batch_writer import AuditWriter
from synckairos.audit.drain import OutboxDrain
from synckairos.config import Settings
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.participant_sessions.cache import ParticipantSessionCache
from synckairos.history.participant_sessions.pages import ParticipantSessions
from synckairos.history.participant_sessions.refresh import SummaryRefresh
from synckairos.history.time_report import TimeReport
from synckairos.http import assembly
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.participant_sessions import ParticipantSessionStore
from synckairos.store.rate_limits import RateLimits
from synckairos.store.read_cache import ReadCache
from synckairos.webhooks.registry import MAX_ENDPOINTS, WebhookRegistry
from tests.integration.parts import Parts, open_parts

HOST = "http://127.0.0.1:3000"


@dataclass(frozen=True, slots=True)
class Server:
    """A server in this process: `client` asks it, `parts` are what it stands on."""

    client: httpx.AsyncClient
    parts: Parts
    outbox: Outbox
    settings: Settings

    async def create(self, **fields: Any) -> dict[str, Any]:
        """Create a session (chess, 10 minutes each) and return it."""
        answer = await self.client.post("/v1/sessions", json=chess(**fields))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found

    async def started(self, **fields: Any) -> dict[str, Any]:
        session = await self.create(**fields)
        answer = await self.client.post(f"/v1/sessions/{session['session_id']}/start")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found

    async def drain(self) -> None:
        """Move everything to Postgres, as a worker does."""
        audit_writer = AuditWriter(self.settings.database_url, self.settings.key_prefix)
        await audit_writer.open()
        try:
            isolation = FailedEntries(self.parts.pipe, self.parts.store.keys)
            drain = OutboxDrain(
                self.outbox,
                isolation,
                audit_writer,
                session_ttl_s=self.settings.session_ttl_s,
                after_commit=SummaryRefresh(self.parts.pipe, self.parts.store.keys).refresh_committed,
            )
            for partition in range(self.settings.partitions):
                await drain.drain_partition(partition)
        finally:
            await audit_writer.close()


def chess(**fields: Any) -> dict[str, Any]:
    """Return the body of a creation: two participants with ten minutes each, `fields` put in."""
    body: dict[str, Any] = {
        "session_id": str(uuid4()),
        "sync_mode": "per_participant",
        "participants": [
            {"participant_id": str(uuid4()), "participant_index": at, "total_time_ms": 600_000} for at in range(2)
        ],
        "total_time_ms": 1_200_000,
    }
    return {name: value for name, value in (body | fields).items() if value is not None}


@asynccontextmanager
async def serving(settings: Settings, *, max_webhooks: int = MAX_ENDPOINTS, **options: Any) -> AsyncIterator[Server]:
    """Open a server on the stores of one test; `options` are passed to `build_application`."""
    async with open_parts(settings) as parts:
        keys = parts.store.keys
        history, recent = (
            parts.history,
            ParticipantSessionCache(ParticipantSessionStore(parts.pipe, keys), parts.history),
        )
        outbox, aside = Outbox(parts.pipe, keys, OutboxLimits.from_settings(settings)), ReadCache(parts.pipe, keys)
        rest = assembly.build_application(
            assembly.RestDependencies(
                sessions=parts.sessions,
                store=parts.store,
                history=history,
                audit_trail=AuditTrail(history, outbox, aside),
                participant_sessions=ParticipantSessions(history, outbox, recent, aside),
                time_report=TimeReport(history, outbox),
                webhooks=WebhookRegistry(parts.pool, max_endpoints=max_webhooks),
                rate_limits=RateLimits(parts.pipe, keys),
                settings=settings,
            ),
            **options,
        )
        transport = httpx.ASGITransport(rest, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            yield Server(client, parts, outbox, settings)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    async with serving(settings) as opened:
        yield opened


@pytest.fixture
async def client(server: Server) -> httpx.AsyncClient:
    return server.client
