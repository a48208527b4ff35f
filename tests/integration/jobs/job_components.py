"""Components of background jobs on the stores of one test, and ended sessions as their work."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from synckairos.admin.members import open_member_changes
from synckairos.clock.commands import Complete, Start, Switch
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.history.records import ArchiveRecord, TrailEvent
from synckairos.jobs.export import Exporter
from synckairos.jobs.handlers import JobHandlers
from synckairos.jobs.retention import Retention, SessionRowDeleter
from synckairos.jobs.session_archive_builder import SessionArchiveBuilder
from synckairos.jobs.table import JobTable, open_job_pool
from synckairos.jobs.write_archive import Archiver
from synckairos.members.reconciliation_job import MemberReconciliationJob
from synckairos.postgres.pool import PostgresPool
from synckairos.store.control_store import ControlStore
from synckairos.store.sessions import SessionStore
from synckairos.store.tenant_data import TenantData
from synckairos.tenants.deletion import TenantDeletion
from synckairos.tenants.stored_rows import ROWS_AT_ONCE, TenantRows
from synckairos.tenants.table import TenantTable
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import SessionCommitter, SessionLife, chess

T0 = 1_700_000_000_000
"""Instant of the creation of all sessions in these tests, in milliseconds since the Unix epoch."""

TABLES = ("sync_sessions", "sync_participants", "sync_events", "sync_conflicts", "sync_charges", "sync_further_charges")


@dataclass(frozen=True, slots=True)
class JobComponents:
    """The components of a worker's jobs. `builder` and `rows` are parts of `archiver` and `retention`."""

    pool: PostgresPool
    cold_storage: ColdStorage
    builder: SessionArchiveBuilder
    archiver: Archiver
    rows: SessionRowDeleter
    retention: Retention
    exporter: Exporter
    job_table: JobTable
    handlers: JobHandlers


@asynccontextmanager
async def open_job_components(audit: AuditParts, archive_url: str | None = None) -> AsyncIterator[JobComponents]:
    cold_storage = ColdStorage(archive_url or audit.settings.archive_url)
    store = SessionStore(audit.pipe, audit.keys, audit.settings.history_length)
    refresh = SummaryRefresh(audit.pipe, audit.keys)
    async with open_job_pool(audit.settings.database_url) as pool:
        builder, rows, job_table = SessionArchiveBuilder(pool), SessionRowDeleter(pool), JobTable(pool)
        archiver = Archiver(pool, cold_storage, builder)
        yield JobComponents(
            pool=pool,
            cold_storage=cold_storage,
            builder=builder,
            archiver=archiver,
            rows=rows,
            retention=Retention(cold_storage, archiver, rows, store, audit.outbox, refresh),
            exporter=Exporter(pool, cold_storage),
            job_table=job_table,
            handlers=JobHandlers(
                pool,
                cold_storage,
                job_table,
                store,
                audit.outbox,
                refresh,
                MemberReconciliationJob.from_settings(
                    audit.settings, pool, partial(open_member_changes, audit.settings), TenantTable(pool).is_deleted
                ).run,
                make_tenant_deletion(audit, pool).delete,
            ),
        )


def make_tenant_deletion(audit: AuditParts, pool: PostgresPool, *, rows_at_once: int = ROWS_AT_ONCE) -> TenantDeletion:
    """Return the deletion of tenants on the stores of a test. It does not wait until all instances know of it."""
    return TenantDeletion(
        TenantTable(pool),
        TenantRows(pool, rows_at_once=rows_at_once),
        TenantData(audit.pipe, audit.keys),
        ColdStorage(audit.settings.archive_url),
        ControlStore(audit.pipe, audit.keys),
        settle_s=0,
        poll_s=0.01,
    )


async def finish_session(committer: SessionCommitter, moves: int = 3, at_ms: int = T0) -> SessionLife:
    """Commit a whole session: created, started, switched `moves` times and completed, one second apart."""
    life = await committer.create(chess(), at_ms)
    await committer.apply(life, Start(), at_ms + 1000, "first")
    for move in range(moves):
        await committer.apply(life, Switch(), at_ms + 2000 + 1000 * move)
    return await committer.apply(life, Complete(), at_ms + 2000 + 1000 * moves)


async def finish_and_drain(audit: AuditParts, moves: int = 3) -> SessionLife:
    """Commit a whole session and drain it to Postgres."""
    life = await finish_session(audit.committer, moves)
    await audit.drain()
    return life


async def move_to_tenant(audit: AuditParts, session_id: str, tenant: str) -> None:
    """Let the rows of a session belong to another tenant."""
    for table in ("sync_sessions", "sync_events", "sync_participants", "sync_charges"):
        statement = f"UPDATE {table} SET tenant = %s WHERE session_id = %s"
        await audit.database.execute(statement.encode(), [tenant, session_id])


async def count_rows(audit: AuditParts) -> list[int]:
    """Return the number of rows in each table of TABLES."""
    return [(await audit.rows(f"SELECT count(*) FROM {table}"))[0][0] for table in TABLES]


async def read_trail(audit: AuditParts, session_id: str, limit: int = 200) -> list[TrailEvent]:
    """Return the whole audit trail of a session with its documents. Read it in pages of `limit` events."""
    events: list[TrailEvent] = []
    cursor: str | None = None
    while True:
        page = await audit.history.read_events_page(session_id, cursor=cursor, limit=limit, snapshots=True)
        events += page.items
        cursor = page.next_cursor
        if cursor is None:
            return events


async def insert_conflict(audit: AuditParts) -> None:
    """Insert a conflict of version 2 for each session."""
    await audit.database.execute(
        "INSERT INTO sync_conflicts SELECT session_id, epoch, version, sha256('{}'), '{\"a\": 1}', '{}'"
        " FROM sync_events WHERE version = 2"
    )


def object_path(audit: AuditParts, record: ArchiveRecord) -> Path:
    """Return the path of an archive's object in the local cold storage."""
    assert record.path is not None
    return Path(audit.settings.archive_url) / record.path
