"""Cold storage on a test's own stores: what the worker's jobs stand on, and finished sessions to put there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from synckairos.clock.commands import Complete, Start, Switch
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.refresh import SummaryRefresh
from synckairos.jobs.archive import Archiver
from synckairos.jobs.export import Exporter
from synckairos.jobs.handlers import JobHandlers
from synckairos.jobs.retention import Retention
from synckairos.jobs.table import JobTable, open_job_pool
from synckairos.postgres.pool import PostgresPool
from synckairos.store.sessions import SessionStore
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import SessionCommitter, SessionLife, chess

T0 = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class JobComponents:
    pool: PostgresPool
    objects: ColdStorage
    archiver: Archiver
    retention: Retention
    exporter: Exporter
    job_table: JobTable
    handlers: JobHandlers


@asynccontextmanager
async def open_job_components(audit: AuditParts, archive_url: str | None = None) -> AsyncIterator[JobComponents]:
    objects = ColdStorage(archive_url or audit.settings.archive_url)
    store = SessionStore(audit.pipe, audit.keys, audit.settings.history_length)
    upkeep = SummaryRefresh(audit.pipe, audit.keys)
    async with open_job_pool(audit.settings.database_url) as pool:
        archiver, job_table = Archiver(pool, objects), JobTable(pool)
        yield JobComponents(
            pool=pool,
            objects=objects,
            archiver=archiver,
            retention=Retention(pool, objects, archiver, store, audit.outbox, upkeep),
            exporter=Exporter(pool, objects),
            job_table=job_table,
            handlers=JobHandlers(pool, objects, job_table, store, audit.outbox, upkeep),
        )


async def finished(committer: SessionCommitter, moves: int = 3, at_ms: int = T0) -> SessionLife:
    """Play a session to its end: created, started, switched `moves` times, completed, a second between them."""
    life = await committer.create(chess(), at_ms)
    await committer.apply(life, Start(), at_ms + 1000, "first")
    for move in range(moves):
        await committer.apply(life, Switch(), at_ms + 2000 + 1000 * move)
    return await committer.apply(life, Complete(), at_ms + 2000 + 1000 * moves)
