"""Drain: moves outbox entries to Postgres in batches, and then sets the TTL of their sessions in Redis.

Each batch is one transaction. An entry leaves the stream only after COMMIT. If a drain dies, the next drain repeats the
batch, and Postgres ignores the rows that it already has. An entry that Postgres rejects is moved out of the stream,
retried on a schedule, and then set aside. It never delays other entries.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Self

from synckairos.audit.batch_statements import RowsRejected
from synckairos.audit.batch_writer import AuditDatabase, BatchResult, BatchWriter, PartitionTaken
from synckairos.audit.entry_documents import EntryParser
from synckairos.audit.entry_rows import BatchRows, ParsedEntry, build_batch_rows
from synckairos.audit.metrics import BATCH_DURATION
from synckairos.backoff import RetrySchedule
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.outbox import Outbox, WrittenVersion
from synckairos.store.stream_entry import StreamEntry
from synckairos.telemetry import alert_sender, log, tracing

RETRY_DELAYS_S = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each retry of an entry that Postgres rejected. After the last retry the entry is set aside."""

BATCH_ENTRIES = 5_000
"""Maximum number of entries in a batch. A batch with this number is full."""

BATCH_BYTES = 8 << 20
"""Maximum bytes of a batch. A batch with this size is full."""

GATHER_PAUSE_S = 0.2
"""Seconds between two batches that are not full.

New entries collect in this pause, because many small transactions would cost the most.
"""

_RETRIED_AT_ONCE = 100
_PARSED_AT_ONCE = 100  # number of entries that are parsed before other tasks of the event loop can run

logger = log.get_logger(__name__)

_Batch = Sequence[tuple[StreamEntry, ParsedEntry | ValueError]]


class _BackgroundTask:
    """Runner of at most one background task inside a block.

    `start` is allowed only if no task runs, such as after `join`. The end of the block waits for the task. If the block
    fails, the task is cancelled.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.join()
        elif self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.create_task(work)

    async def join(self) -> None:
        """Wait until the task ends, if a task runs. Raises: The exception of the task."""
        task, self._task = self._task, None
        if task is not None:
            await task


@dataclass(slots=True)
class _PartitionLock:
    """A locked partition, its writer, and the background task that finishes the previous batch (`_settle`).

    `drained` is the number of versions that are new in Postgres, of all batches that were written with this lock.
    """

    partition: int
    writer: BatchWriter
    settling: _BackgroundTask
    drained: int = 0


class OutboxDrain:
    """Drain of the outbox to Postgres.

    Any number of drains can run, but a partition is drained by one drain at a time.
    """

    def __init__(
        self,
        outbox: Outbox,
        failed_entries: FailedEntries,
        writer: AuditDatabase,
        *,
        session_ttl_s: int,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        batch_entries: int = BATCH_ENTRIES,
        batch_bytes: int = BATCH_BYTES,
        max_concurrent: int = 4,
        after_commit: Callable[[BatchRows], Awaitable[None]] | None = None,
    ) -> None:
        """Create a drain.

        - `session_ttl_s`: seconds for which Redis keeps a session after its newest version is in Postgres.
        - `retry_delays_s`: seconds before each retry of a failed entry. After the last retry the entry is set aside.
        - `batch_entries`: maximum number of entries in a batch.
        - `batch_bytes`: size in bytes at which a batch is full: the size of its entries with their documents. A batch
          can be larger by its last page of entries.
        - `max_concurrent`: maximum number of partitions that this process drains at the same time.
        - `after_commit`: function that is called for each committed batch, before the entries leave the outbox.
        """
        self._outbox = outbox
        self._failed_entries = failed_entries
        self._parser = EntryParser(failed_entries, writer.pool, finds_changes=writer.has_sparse_snapshots)
        self._writer = writer
        self._ttl_ms = session_ttl_s * 1000
        self._retries = RetrySchedule(retry_delays_s)
        self._batch_entries = batch_entries
        self._batch_bytes = batch_bytes
        self._after_commit = after_commit
        self._slots = asyncio.Semaphore(max_concurrent)
        self._running: set[int] = set()
        self._requested_again: set[int] = set()

    async def drain_partition(self, partition: int) -> int:
        """Drain a partition until it is empty. Return the number of versions that this call added to Postgres.

        If this process already drains the partition, return 0 immediately. The running drain reads the partition again
        before it ends, so it also moves the entries for which this call was made. If another process drains the
        partition, or takes the partition over between two batches, return without moving further entries.

        Raises:
            StoreUnavailable: Redis or Postgres is unreachable. Batches that were committed stay in Postgres, and all
                other entries stay in Redis. The call can be repeated.
        """
        if partition in self._running:
            self._requested_again.add(partition)
            return 0
        self._running.add(partition)
        try:
            return await self._drain_until_empty(partition)
        finally:
            self._running.discard(partition)
            self._requested_again.discard(partition)

    async def _drain_until_empty(self, partition: int) -> int:
        drained = 0
        while True:
            self._requested_again.discard(partition)
            # Release the slot after each round, so that a partition that is never empty does not block other
            # partitions.
            async with (
                self._slots,
                self._writer.acquire_partition_writer(partition) as writer,
                _BackgroundTask() as settling,
            ):
                if writer is None:
                    return drained
                lock = _PartitionLock(partition, writer, settling)
                try:
                    await self._retry_failed(lock)
                    await self._drain_batches(lock)
                except PartitionTaken:
                    # The other drain moves the remaining entries. The end of the block settles the committed batch.
                    return drained + lock.drained
                drained += lock.drained
            # The lock is released here. If new entries arrive after this check, another drain moves them.
            if await self._outbox.is_empty(partition) and partition not in self._requested_again:
                return drained
            await asyncio.sleep(GATHER_PAUSE_S)

    async def _drain_batches(self, lock: _PartitionLock) -> None:
        """Move all full batches and the first batch that is not full.

        While Postgres writes a batch, the previous batch is settled and the next batch is read.
        """
        batch = await self._read_batch(lock.partition, None)
        while self._is_full(batch):
            next_batch = asyncio.create_task(self._read_batch(lock.partition, batch[-1][0].entry_id))
            try:
                await self._move_batch(lock, batch)
                batch = await next_batch
            finally:
                next_batch.cancel()
                await asyncio.gather(next_batch, return_exceptions=True)
        await self._move_batch(lock, batch)

    def _is_full(self, batch: _Batch) -> bool:
        return len(batch) >= self._batch_entries or sum(each.document_bytes for each, _ in batch) >= self._batch_bytes

    async def _move_batch(self, lock: _PartitionLock, batch: _Batch) -> None:
        """Move one batch to Postgres. Entries that could not be parsed become failed entries."""
        parsed: list[tuple[StreamEntry, ParsedEntry]] = []
        for delivery, result in batch:
            if isinstance(result, ValueError):
                await self._record_failure(lock.partition, delivery, 0, str(result))
            else:
                parsed.append((delivery, result))
        await self._write(lock, parsed)

    async def _read_batch(self, partition: int, after: str | None) -> _Batch:
        """Read the batch after the entry id `after`, and parse its entries.

        An entry that cannot be parsed comes with the error.
        """
        deliveries = await self._outbox.read(partition, self._batch_entries, self._batch_bytes, after)
        batch: list[tuple[StreamEntry, ParsedEntry | ValueError]] = []
        for first in range(0, len(deliveries), _PARSED_AT_ONCE):
            batch += [
                (each, await self._try_parse(partition, each)) for each in deliveries[first : first + _PARSED_AT_ONCE]
            ]
            await asyncio.sleep(0)  # meanwhile the task that writes the previous batch can send rows to Postgres
        return batch

    async def _write(self, lock: _PartitionLock, parsed: Sequence[tuple[StreamEntry, ParsedEntry]]) -> None:
        """Write entries to Postgres, and finish the written entries with `_settle`.

        If Postgres rejects a row, split the entries into halves until the rejected entries are found. A rejected entry
        becomes a failed entry.
        """
        if not parsed:
            return
        began, began_ns = time.monotonic(), time.time_ns()
        try:
            rows = build_batch_rows(each for _, each in parsed)
            result = await lock.writer.write(rows)
        except (RowsRejected, ValueError) as fault:
            if len(parsed) == 1:
                await self._record_failure(lock.partition, parsed[0][0], 0, str(fault), parsed[0][1].event.snapshot)
                return
            half = len(parsed) // 2
            await self._write(lock, parsed[:half])
            await self._write(lock, parsed[half:])
            return
        lock.drained += result.new
        busy_s = time.monotonic() - began
        BATCH_DURATION.observe(busy_s)
        if (recorder := tracing.active) is not None:
            events = (each.event for _, each in parsed)
            versions = (tracing.VersionId(str(event.session_id), event.epoch, event.version) for event in events)
            recorder.record_stages("drain", versions, began_ns, **{"synckairos.batch": len(parsed)})
        await lock.settling.join()
        lock.settling.start(self._settle(lock.partition, parsed, rows, result, round(busy_s * 1e6)))

    async def _settle(
        self,
        partition: int,
        parsed: Sequence[tuple[StreamEntry, ParsedEntry]],
        rows: BatchRows,
        result: BatchResult,
        busy_us: int = 0,
    ) -> None:
        """Finish a written batch.

        Call `after_commit`, raise alerts for conflicts, and remove the entries from the outbox.
        """
        if self._after_commit is not None:
            await self._after_commit(rows)
        for session_id, epoch, version in result.conflicts:
            alert_sender.raise_alert("audit conflict", session_id=session_id, epoch=epoch, version=version)
        newest = {}
        for _, each in parsed:
            newest[each.session_name] = WrittenVersion(each.session_name, each.event.epoch, each.event.version)
        for disputed in result.disputed:
            # The content in Postgres differs from the content in Redis, so Redis must keep the session.
            if newest.get(disputed[0]) == WrittenVersion(*disputed):
                del newest[disputed[0]]
        await self._outbox.remove_written(
            partition,
            [delivery.entry_id for delivery, _ in parsed],
            newest.values(),
            self._ttl_ms,
            size_bytes=sum(delivery.size_bytes for delivery, _ in parsed),
            tenant_bytes=self._outbox.count_tenant_bytes(delivery for delivery, _ in parsed),
            drained=result.new,
            conflicts=len(result.conflicts),
            busy_us=busy_us,
        )

    async def _retry_failed(self, lock: _PartitionLock) -> None:
        """Retry each failed entry that is due."""
        partition = lock.partition
        for failed in await self._failed_entries.load_due(partition, _RETRIED_AT_ONCE):
            delivery = failed.entry
            try:
                parsed = await self._parser.parse(partition, delivery)
                rows = build_batch_rows([parsed])
                result = await lock.writer.write(rows)
            except (RowsRejected, ValueError) as fault:
                await self._record_failure(partition, delivery, failed.retries + 1, str(fault))
                continue
            lock.drained += result.new
            await self._failed_entries.remove_version_gap(partition, delivery)
            await self._settle(partition, [(delivery, parsed)], rows, result)
            await self._failed_entries.remove(partition, delivery.entry_id)

    async def _record_failure(
        self, partition: int, delivery: StreamEntry, retries: int, error: str, document: bytes = b""
    ) -> None:
        """Move an entry out of the stream until its next retry. If there is no further retry, set the entry aside.

        `document` is the document of the entry, empty if it is not known.
        """
        next_s = self._retries.delay_s(retries)
        session_id = delivery.fields.get(b"session_id", b"").decode(errors="replace")
        fields = {"partition": partition, "entry_id": delivery.entry_id, "session_id": session_id, "error": error}
        if next_s is None:
            alert_sender.raise_alert("audit entry set aside", retries=retries, **fields)
        else:
            logger.warning("audit entry rejected", retries=retries, next_try_s=next_s, **fields)
        await self._failed_entries.record_failure(
            partition,
            delivery.entry_id,
            retries=retries,
            error=error,
            next_attempt_in_ms=None if next_s is None else round(next_s * 1000),
            document=b"" if delivery.splices is None else document,
            min_entry_bytes=self._outbox.limits.min_entry_bytes,
        )

    async def _try_parse(self, partition: int, delivery: StreamEntry) -> ParsedEntry | ValueError:
        try:
            return await self._parser.parse(partition, delivery)
        except ValueError as fault:
            return fault
