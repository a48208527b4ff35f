"""Batch writes when Postgres or another worker is stuck: they end in time, and never report a commit too early."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from synckairos.audit.batch_writer import AuditDatabase, BatchResult, BatchWriter
from synckairos.audit.entry_rows import BatchRows, build_batch_rows, parse_entry
from synckairos.embedded import Postgres
from synckairos.errors import StoreUnavailable
from synckairos.postgres.migrate import migrate
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import chess
from tests.standby import Standby
from tests.waiting import eventually

T0 = 1_700_000_000_123


async def rows_of_new_session(audit: AuditParts) -> BatchRows:
    """Create a session and return the rows of its creation, which Postgres does not have."""
    life = await audit.committer.create(chess(), T0)
    waiting = [delivery.parse() for delivery in await audit.outbox.read(0, 10, 1 << 20)]
    return build_batch_rows([parse_entry(entry) for entry in waiting if entry.session_id == life.session_id])


@asynccontextmanager
async def open_writer(database_url: str, scope: str, statement_timeout_s: float) -> AsyncIterator[AuditDatabase]:
    audit_writer = AuditDatabase(database_url, scope, statement_timeout_s=statement_timeout_s)
    await audit_writer.open()
    try:
        yield audit_writer
    finally:
        await audit_writer.close()


@asynccontextmanager
async def locked(audit_writer: AuditDatabase, partition: int = 0) -> AsyncIterator[BatchWriter]:
    async with audit_writer.acquire_partition_writer(partition) as writer:
        assert writer is not None
        yield writer


@pytest.mark.pooler
async def test_a_writer_frozen_during_copy_loses_the_partition(audit: AuditParts) -> None:
    rows = await rows_of_new_session(audit)

    async def freeze_and_be_replaced(impatient: AuditDatabase) -> None:
        async def is_replaced() -> bool:
            with suppress(StoreUnavailable):
                async with impatient.acquire_partition_writer(0) as writer:
                    return writer is not None and (await writer.write(rows)).new == 1
            return False

        async with (
            locked(audit.writer) as frozen,
            frozen.transaction.run_copy(b"COPY sync_migrations FROM STDIN"),
            audit.writer.acquire_partition_writer(0) as patient,
        ):
            assert patient is None
            await eventually(is_replaced)

    async with open_writer(audit.settings.database_url, audit.settings.key_prefix, 0.25) as impatient:
        with pytest.raises(StoreUnavailable, match=r"terminating connection|connection was lost"):
            await freeze_and_be_replaced(impatient)


async def test_a_write_to_a_frozen_postgres_fails_in_time(audit: AuditParts) -> None:
    rows = await rows_of_new_session(audit)

    async def record_frozen(audit_writer: AuditDatabase, frozen: list[int]) -> None:
        async with locked(audit_writer) as writer:
            ((pid,),) = await writer.transaction.fetch(b"SELECT pg_backend_pid()")
            frozen.append(pid)
            os.kill(frozen[0], signal.SIGSTOP)
            await writer.write(rows)

    async with open_writer(audit.settings.database_url, audit.settings.key_prefix, 0.25) as audit_writer:
        frozen: list[int] = []
        try:
            with pytest.raises(StoreUnavailable, match="did not answer"):
                await record_frozen(audit_writer, frozen)
        finally:
            os.kill(frozen[0], signal.SIGCONT)

        async def is_well() -> bool:
            async with audit_writer.acquire_partition_writer(0) as writer:
                return writer is not None and await writer.write(rows) in (BatchResult(1, 0), BatchResult(0, 1))

        await eventually(is_well)


async def test_a_write_does_not_return_before_the_standby_has_it(audit: AuditParts, data_dir: Path) -> None:
    known, new = await rows_of_new_session(audit), await rows_of_new_session(audit)
    with Postgres(data_dir / f"primary-{uuid4().hex[:8]}") as primary:
        await migrate(primary.url)
        with Standby(data_dir / f"standby-{uuid4().hex[:8]}", primary) as standby:
            await standby.follow_synchronously()
            async with (
                open_writer(primary.url, "own", 0.5) as audit_writer,
                locked(audit_writer, 0) as writer,
                locked(audit_writer, 1) as other,
            ):
                await writer.write(known)
                for _ in range(
                    3
                ):  # the first ones also make the server prune dead rows, which later ones must not wait for
                    assert await other.write_missing_versions(known) == BatchResult(0, 1)
                await standby.suspend_receiver()
                # Another drain may have failed like this one, and its rows may be known here but not on the standby.
                with pytest.raises(StoreUnavailable, match="did not answer"):
                    await writer.write(new)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(other.write_missing_versions(known), 1)
                await standby.resume_receiver()
