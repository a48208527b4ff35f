"""Writing to a Postgres, or beside a worker, that hangs: nobody waits for ever, nothing is believed too early."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from synckairos.audit.batch_writer import AuditWriter, BatchResult, BatchWriter, _merge_events
from synckairos.audit.entry_rows import EntryRows, build_rows, parse_entry
from synckairos.embedded import Postgres
from synckairos.errors import StoreUnavailable
from synckairos.postgres.migrate import migrate
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import chess
from tests.standby import Standby
from tests.waiting import eventually

T0 = 1_700_000_000_123


async def some_rows(audit: AuditParts) -> EntryRows:
    """Return one session's creation, new to everybody."""
    life = await audit.committer.create(chess(), T0)
    waiting = [delivery.entry for delivery in await audit.outbox.read(0, 10, 1 << 20)]
    return build_rows([parse_entry(entry) for entry in waiting if entry.session_id == life.session_id])


@asynccontextmanager
async def opened(database_url: str, scope: str, statement_s: float) -> AsyncIterator[AuditWriter]:
    audit_writer = AuditWriter(database_url, scope, statement_s=statement_s)
    await audit_writer.open()
    try:
        yield audit_writer
    finally:
        await audit_writer.close()


@asynccontextmanager
async def held(audit_writer: AuditWriter, partition: int = 0) -> AsyncIterator[BatchWriter]:
    async with audit_writer.lock_partition(partition) as writer:
        assert writer is not None
        yield writer


async def test_who_is_frozen_amid_copy_loses_the_partition(audit: AuditParts) -> None:
    rows = await some_rows(audit)

    async def freeze_and_be_replaced(impatient: AuditWriter) -> None:
        async def is_replaced() -> bool:
            with suppress(StoreUnavailable):
                async with impatient.lock_partition(0) as writer:
                    return writer is not None and (await writer.write(rows)).new == 1
            return False

        async with (
            held(audit.writer) as frozen,
            frozen._connection.cursor() as cursor,
            cursor.copy("COPY sync_events FROM STDIN"),
            audit.writer.lock_partition(0) as patient,
        ):
            assert patient is None
            await eventually(is_replaced)

    async with opened(audit.settings.database_url, audit.settings.key_prefix, 0.25) as impatient:
        with pytest.raises(StoreUnavailable, match="terminating connection"):
            await freeze_and_be_replaced(impatient)


async def test_a_frozen_postgres_is_given_up(audit: AuditParts) -> None:
    rows = await some_rows(audit)

    async def record_frozen(audit_writer: AuditWriter, frozen: list[int]) -> None:
        async with held(audit_writer) as writer:
            frozen.append(writer._connection.info.backend_pid)
            os.kill(frozen[0], signal.SIGSTOP)
            await writer.write(rows)

    async with opened(audit.settings.database_url, audit.settings.key_prefix, 0.25) as audit_writer:
        frozen: list[int] = []
        try:
            with pytest.raises(StoreUnavailable, match="didn't answer"):
                await record_frozen(audit_writer, frozen)
        finally:
            os.kill(frozen[0], signal.SIGCONT)

        async def is_well() -> bool:
            async with audit_writer.lock_partition(0) as writer:
                return writer is not None and await writer.write(rows) in (BatchResult(1, 0), BatchResult(0, 1))

        await eventually(is_well)


async def test_what_no_standby_has_is_not_recorded(audit: AuditParts, data_dir: Path) -> None:
    known, new = await some_rows(audit), await some_rows(audit)
    with Postgres(data_dir / f"primary-{uuid4().hex[:8]}") as primary:
        await migrate(primary.url)
        with Standby(data_dir / f"standby-{uuid4().hex[:8]}", primary) as standby:
            await standby.follow_synchronously()
            async with (
                opened(primary.url, "own", 0.5) as audit_writer,
                held(audit_writer, 0) as writer,
                held(audit_writer, 1) as other,
            ):
                await writer.write(known)
                for _ in range(3):  # so that what the server tidies up by the way is done
                    assert await other._write(known, _merge_events) == BatchResult(0, 1)
                await standby.suspend_receiver()
                # Somebody may have been told as little as we are now, and have left this to others, as known.
                with pytest.raises(StoreUnavailable, match="didn't answer"):
                    await writer.write(new)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(other._write(known, _merge_events), 1)
                await standby.resume_receiver()
