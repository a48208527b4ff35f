"""The audit's parts on a test's own stores."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from synckairos.audit.batch_writer import AuditWriter
from synckairos.audit.drain import OutboxDrain
from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.refresh import SummaryRefresh
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from tests.integration.audit.author import Author


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything between a commit and a history, and a look into Postgres past all of it."""

    settings: Settings
    keys: Keys
    pipe: RedisPipe
    author: Author
    outbox: Outbox
    isolation: FailedEntries
    audit_writer: AuditWriter
    history: HistoryReader
    database: psycopg.AsyncConnection

    def drain(self, *, backoff_s: Sequence[float] = (0, 0, 0, 0, 0), batch_entries: int = 2000) -> OutboxDrain:
        return OutboxDrain(
            self.outbox,
            self.isolation,
            self.audit_writer,
            session_ttl_s=self.settings.session_ttl_s,
            backoff_s=backoff_s,
            batch_entries=batch_entries,
            after_commit=SummaryRefresh(self.pipe, self.keys).after_commit,
        )

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return await (await self.database.execute(query.encode(), values)).fetchall()


@pytest.fixture
async def audit(settings: Settings) -> AsyncIterator[Audit]:
    keys = Keys(settings.key_prefix, settings.partitions)
    audit_writer = AuditWriter(settings.database_url, settings.key_prefix)
    await audit_writer.open()
    database = await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True)
    async with RedisPipe(settings.redis_url, 2.0) as pipe, open_history_pool(settings) as pool, database:
        await pipe.call("PING")
        yield Audit(
            settings=settings,
            keys=keys,
            pipe=pipe,
            author=Author(SessionStore(pipe, keys, settings.history_length)),
            outbox=Outbox(pipe, keys),
            isolation=FailedEntries(pipe, keys),
            audit_writer=audit_writer,
            history=HistoryReader(pool, ColdStorage(settings.archive_url)),
            database=database,
        )
    await audit_writer.close()
