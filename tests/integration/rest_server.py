"""The REST application on real stores, complete except for a port and a process. Tests call it through ASGI."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from synckairos.access_log.table import AccessTable
from synckairos.audit.batch_writer import AuditDatabase
from synckairos.audit.drain import OutboxDrain
from synckairos.config import Settings
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.cold.reader import COLD_TIMEOUT_S
from synckairos.history.participant_sessions.cache import ParticipantSessionCache
from synckairos.history.participant_sessions.pages import ParticipantSessions
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.history.time_report import TimeReporter
from synckairos.http import assembly
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.table import JobTable
from synckairos.jobs.wakeups import JobWakeups
from synckairos.members.table import MemberTable
from synckairos.service.background_jobs import BackgroundJobs
from synckairos.service.set_aside_entries import SetAsideEntries
from synckairos.signing_keys.table import SigningKeyTable
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits
from synckairos.store.participant_sessions import MAX_SESSIONS, ParticipantSessionStore
from synckairos.store.rate_limits import RateLimits
from synckairos.store.read_cache import ReadCache
from synckairos.stored_credentials.table import CredentialTable
from synckairos.tenants.table import TenantTable
from synckairos.webhooks.registry import MAX_ENDPOINTS, WebhookRegistry
from tests.integration.parts import Parts, open_parts

HOST = "http://127.0.0.1:3000"


@dataclass(frozen=True, slots=True)
class RestServer:
    """A REST application in the process of the test. `client` calls it, and `parts` is its service layer."""

    client: httpx.AsyncClient
    parts: Parts
    outbox: Outbox
    settings: Settings
    summaries: ParticipantSessionStore

    async def create(self, **fields: Any) -> dict[str, Any]:
        """Create a session and return it. By default it has two participants with ten minutes each."""
        answer = await self.client.post("/v1/sessions", json=chess_body(**fields))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found

    async def create_started(self, **fields: Any) -> dict[str, Any]:
        session = await self.create(**fields)
        answer = await self.client.post(f"/v1/sessions/{session['session_id']}/start")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["data"]
        return found

    async def drain(self) -> None:
        """Drain the outbox to Postgres, as a worker does."""
        audit_writer = AuditDatabase(self.settings.database_url, self.settings.key_prefix)
        await audit_writer.open()
        try:
            failed_entries = FailedEntries(self.parts.pipe, self.parts.store.keys)
            drain = OutboxDrain(
                self.outbox,
                failed_entries,
                audit_writer,
                session_ttl_s=self.settings.session_ttl_s,
                after_commit=SummaryRefresh(self.parts.pipe, self.parts.store.keys, self.summaries).apply_audited_rows,
            )
            for partition in range(self.settings.partitions):
                await drain.drain_partition(partition)
        finally:
            await audit_writer.close()


def chess_body(**fields: Any) -> dict[str, Any]:
    """Return the body of a creation with two participants of ten minutes each. Fields that are None are omitted."""
    body: dict[str, Any] = {
        "session_id": str(uuid4()),
        "sync_mode": "per_participant",
        "participants": [
            {"participant_id": str(uuid4()), "participant_index": at, "total_time_ms": 600_000} for at in range(2)
        ],
        "total_time_ms": 1_200_000,
    }
    return {name: value for name, value in (body | fields).items() if value is not None}


def session_url(session: dict[str, Any], end: str = "") -> str:
    """Return the path of a session, or the path below it that ends with `end`."""
    return f"/v1/sessions/{session['session_id']}" + (f"/{end}" if end else "")


async def list_all(client: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """Return all items of a list, read page by page."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body["data"]
        assert ("link" in answer.headers) == (body["next_cursor"] is not None)
        if body["next_cursor"] is None:
            return found
        assert body["data"], "only the last page can be empty"
        params["cursor"] = body["next_cursor"]


@asynccontextmanager
async def open_rest_server(
    settings: Settings,
    *,
    max_webhooks: int = MAX_ENDPOINTS,
    max_listed: int = MAX_SESSIONS,
    cold_timeout_s: float = COLD_TIMEOUT_S,
    **options: Any,
) -> AsyncIterator[RestServer]:
    """Open a server on the stores of one test; `options` are passed to `build_application`.

    `max_listed` is the maximum number of sessions in the Redis list of one participant.
    """
    job_wakeups = JobWakeups(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s)
    async with open_parts(settings, cold_timeout_s=cold_timeout_s) as parts, AsyncExitStack() as stack:
        stack.push_async_callback(job_wakeups.close)
        job_table = JobTable(parts.pool)
        keys = parts.store.keys
        history = parts.history
        summaries = ParticipantSessionStore(parts.pipe, keys, max_listed)
        limits, find_document = OutboxLimits.from_settings(settings), history.read_version_document
        outbox = Outbox(parts.pipe, keys, limits, find_document=find_document)
        read_cache = ReadCache(parts.pipe, keys)
        rest = assembly.build_application(
            assembly.RestDependencies(
                sessions=parts.sessions,
                store=parts.store,
                history=history,
                audit_trail=AuditTrail(history, outbox, read_cache),
                participant_sessions=ParticipantSessions(
                    history, outbox, ParticipantSessionCache(summaries, history), read_cache
                ),
                time_report=TimeReporter(history, outbox),
                webhooks=WebhookRegistry(parts.pool, max_endpoints=max_webhooks),
                access_table=AccessTable(parts.pool),
                signing_key_table=SigningKeyTable(parts.pool),
                tenant_table=TenantTable(parts.pool),
                credential_table=CredentialTable(parts.pool),
                member_table=MemberTable(parts.pool),
                background_jobs=BackgroundJobs(job_table, JobQueue(job_table, job_wakeups)),
                set_aside_entries=SetAsideEntries(FailedEntries(parts.pipe, keys)),
                rate_limits=RateLimits(parts.pipe, keys),
                work=parts.work,
                settings=settings,
            ),
            **options,
        )
        transport = httpx.ASGITransport(rest, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            yield RestServer(client, parts, outbox, settings, summaries)
