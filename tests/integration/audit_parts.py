"""Components of the audit and of history, opened on the stores of one test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from synckairos.audit.batch_writer import AuditDatabase
from synckairos.audit.drain import OutboxDrain
from synckairos.audit.entry_rows import BatchRows
from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from tests.integration.session_committer import SessionCommitter


@dataclass(frozen=True, slots=True)
class AuditParts:
    """The components between a commit and a page of history, and a connection for queries that bypass them."""

    settings: Settings
    keys: Keys
    pipe: RedisPipe
    committer: SessionCommitter
    outbox: Outbox
    failed_entries: FailedEntries
    writer: AuditDatabase
    cold_storage: ColdStorage
    history: HistoryReader
    database: psycopg.AsyncConnection

    def new_drain(
        self,
        *,
        retry_delays_s: Sequence[float] = (0, 0, 0, 0, 0),
        batch_entries: int = 2000,
        after_commit: Callable[[BatchRows], Awaitable[None]] | None = None,
        writer: AuditDatabase | None = None,
    ) -> OutboxDrain:
        """Return a drain that retries failed entries without delay. `retry_delays_s` sets other delays.

        `after_commit` replaces the refresh of the summaries in Redis, and `writer` the writer of this object.
        """
        return OutboxDrain(
            self.outbox,
            self.failed_entries,
            writer or self.writer,
            session_ttl_s=self.settings.session_ttl_s,
            retry_delays_s=retry_delays_s,
            batch_entries=batch_entries,
            after_commit=after_commit or SummaryRefresh(self.pipe, self.keys).apply_audited_rows,
        )

    async def drain(self, **options: Any) -> int:
        """Drain partition 0 with a new drain. Return the number of new versions.

        `options` are the options of `new_drain`.
        """
        return await self.new_drain(**options).drain_partition(0)

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        return await (await self.database.execute(query.encode(), values)).fetchall()


@asynccontextmanager
async def open_audit_parts(settings: Settings) -> AsyncIterator[AuditParts]:
    keys = Keys(settings.key_prefix, settings.partitions)
    writer = AuditDatabase(settings.database_url, settings.key_prefix)
    await writer.open()
    database = await psycopg.AsyncConnection.connect(settings.schema_url, autocommit=True)
    cold_storage = ColdStorage(settings.archive_url)
    async with RedisPipe(settings.redis_url, 2.0) as pipe, open_history_pool(settings) as pool, database:
        await pipe.call("PING")
        yield AuditParts(
            settings=settings,
            keys=keys,
            pipe=pipe,
            committer=SessionCommitter(SessionStore(pipe, keys, settings.history_length)),
            outbox=Outbox(pipe, keys),
            failed_entries=FailedEntries(pipe, keys),
            writer=writer,
            cold_storage=cold_storage,
            history=HistoryReader(pool, cold_storage),
            database=database,
        )
    await writer.close()
