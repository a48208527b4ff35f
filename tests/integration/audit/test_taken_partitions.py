"""A partition that another drain locks between two transactions: the first drain ends its turn, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import psycopg
import pytest
from structlog.testing import capture_logs

from synckairos.audit.batch_writer import BatchResult, PartitionTaken
from synckairos.audit.entry_rows import build_batch_rows, parse_entry
from synckairos.clock.commands import Switch
from tests.integration.audit.test_drain import T0, play
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import chess
from tests.waiting import eventually

pytestmark = pytest.mark.pooler

IS_QUEUED = "SELECT 1 FROM pg_locks WHERE pid = %s AND locktype = 'advisory' AND NOT granted"
WAITS_FOR_TABLE = "SELECT 1 FROM pg_locks WHERE relation = 'sync_conflicts'::regclass AND NOT granted"


@asynccontextmanager
async def next_in_line(audit: AuditParts) -> AsyncIterator[asyncio.Task[object]]:
    """Queue another connection for the lock of partition 0. It gets the lock as soon as the drain releases the lock.

    Yield the task that ends when the connection has the lock. The connection keeps the lock until the block ends.
    """
    async with await psycopg.AsyncConnection.connect(audit.settings.schema_url) as other:
        values = [audit.settings.key_prefix]
        taking = asyncio.create_task(other.execute("SELECT pg_advisory_xact_lock(hashtext(%s), 0)", values))
        try:
            await eventually(lambda: audit.rows(IS_QUEUED, other.info.backend_pid))
            yield taking
        finally:
            await asyncio.gather(taking, return_exceptions=True)
            await other.rollback()


async def test_a_write_without_the_lock_raises_and_the_next_one_takes_the_lock_again(audit: AuditParts) -> None:
    await audit.committer.create(chess(), T0)
    batch = await audit.outbox.read(0, 10, 1 << 20)
    rows = build_batch_rows([parse_entry(delivery.parse()) for delivery in batch])
    async with audit.writer.acquire_partition_writer(0) as writer:
        assert writer is not None
        async with next_in_line(audit):
            with pytest.raises(PartitionTaken):
                await writer.write(rows)
            with pytest.raises(PartitionTaken):
                await writer.write(rows)
        assert await writer.write(rows) == BatchResult(1, 0)


async def test_a_drain_that_loses_its_lock_at_commit_settles_the_batch_and_ends_without_an_error(
    audit: AuditParts,
) -> None:
    life = await play(audit, moves=0)
    await audit.drain()
    other = orjson.dumps(orjson.loads(life.documents[2]) | {"metadata": {"never": "seen"}})
    event = orjson.dumps({"event_type": "session_started", "occurred_at_ms": T0})
    fields = ("session_id", life.session_id, "epoch", life.state.epoch, "version", 2)
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields, "event", event, "state", other)
    await audit.committer.apply(life, Switch(), T0 + 2000)
    await audit.committer.apply(life, Switch(), T0 + 3000)
    with capture_logs() as lines:
        async with await psycopg.AsyncConnection.connect(audit.settings.schema_url) as database:
            # The first batch of two entries stops at its last statement but one, after it has taken the lock.
            await database.execute("LOCK TABLE sync_conflicts IN EXCLUSIVE MODE")
            draining = asyncio.create_task(audit.drain(batch_entries=2))
            await eventually(lambda: audit.rows(WAITS_FOR_TABLE))
            async with next_in_line(audit) as taking:
                await database.rollback()
                assert await draining == 1
                await taking
                assert await audit.rows("SELECT max(version) FROM sync_events") == [(3,)]
                backlog = await audit.outbox.measure_backlog()
                assert (backlog.entries, backlog.tally.conflicts) == (1, 1)
                assert await audit.pipe.call("HGET", audit.keys.session(life.session_id), "audited") == b"3"
        assert await audit.drain() == 1
    assert [line["event"] for line in lines] == ["audit conflict"]
    assert await audit.outbox.is_empty(0)
