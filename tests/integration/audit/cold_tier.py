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
from synckairos.jobs.table import JobTable, open_pool
from synckairos.postgres.pool import Pool
from synckairos.store.sessions import SessionStore
from tests.integration.audit.author import Author, Life, chess
from tests.integration.audit.conftest import Audit

T0 = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class ColdTier:
    pool: Pool
    objects: ColdStorage
    archiver: Archiver
    retention: Retention
    exporter: Exporter
    board: JobTable
    desk: JobHandlers


@asynccontextmanager
async def open_cold_tier(audit: Audit, archive_url: str | None = None) -> AsyncIterator[ColdTier]:
    objects = ColdStorage(archive_url or audit.settings.archive_url)
    store = SessionStore(audit.pipe, audit.keys, audit.settings.history_length)
    upkeep = SummaryRefresh(audit.pipe, audit.keys)
    async with open_pool(audit.settings.database_url) as pool:
        archiver, board = Archiver(pool, objects), JobTable(pool)
        yield ColdTier(
            pool=pool,
            objects=objects,
            archiver=archiver,
            retention=Retention(pool, objects, archiver, store, audit.outbox, upkeep),
            exporter=Exporter(pool, objects),
            board=board,
            desk=JobHandlers(pool, objects, board, store, audit.outbox, upkeep),
        )


async def finished(author: Author, moves: int = 3, at_ms: int = T0) -> Life:
    """Play a session to its end: created, started, switched `moves` times, completed, a second between them."""
    life = await author.create(chess(), at_ms)
    await author.apply(life, Start(), at_ms + 1000, "first")
    for move in range(moves):
        await author.apply(life, Switch(), at_ms + 2000 + 1000 * move)
    return await author.apply(life, Complete(), at_ms + 2000 + 1000 * moves)
