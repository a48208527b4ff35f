"""The drain: moves outbox entries to Postgres, in one transaction per batch, and then sets the session's TTL in Redis.

An entry leaves the stream only after COMMIT. So a drain may die at any point: the next drain does the work again and
finds it done. An entry that Postgres rejects is moved out of the stream, retried on a schedule, and then set aside. It
never delays the other entries.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Self

from synckairos.audit.batch_writer import AuditWriter, BatchResult, BatchWriter, RowsRejected
from synckairos.audit.entry_rows import EntryRows, ParsedEntry, build_rows, parse_entry
from synckairos.backoff import RetrySchedule
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.outbox import Outbox, SettledVersion, StreamEntry
from synckairos.telemetry import alerts, log

RETRY_DELAYS_S = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each retry of an entry that Postgres rejected. After the last retry the entry is set aside."""

BATCH_ENTRIES = 5_000
"""Entries in a full batch."""

BATCH_BYTES = 8 << 20
"""Bytes in a full batch."""

GATHER_PAUSE_S = 0.2
"""Seconds of pause in which entries gather before the next batch. Many small transactions would cost the most."""

_RETRIED_AT_ONCE = 100
_PARSED_AT_ONCE = 100  # entries that are parsed without a pause for other tasks

logger = log.get_logger(__name__)

_Batch = Sequence[tuple[StreamEntry, ParsedEntry | ValueError]]


class _BackgroundTask:
    """At most one task that runs beside the block. `start` is allowed only after `join`; the block's end joins.

    If the block fails, the task is cancelled.
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
        """Wait for the task, if there is one. Raises its error."""
        task, self._task = self._task, None
        if task is not None:
            await task


@dataclass(frozen=True, slots=True)
class _PartitionLock:
    """A locked partition, its writer, and the task that settles the batch written last."""

    partition: int
    writer: BatchWriter
    settling: _BackgroundTask


class OutboxDrain:
    """Moves partitions of the outbox to Postgres. Any number of drains may run; one at a time works on a partition."""

    def __init__(
        self,
        outbox: Outbox,
        failed_entries: FailedEntries,
        writer: AuditWriter,
        *,
        session_ttl_s: int,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        batch_entries: int = BATCH_ENTRIES,
        batch_bytes: int = BATCH_BYTES,
        max_concurrent: int = 4,
        after_commit: Callable[[EntryRows], Awaitable[None]] | None = None,
    ) -> None:
        """Set the stores and limits. `max_concurrent` is the number of partitions that this process drains at once.

        `after_commit` is called for each batch that Postgres has, before its entries leave the outbox.
        """
        self._outbox = outbox
        self._failed_entries = failed_entries
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
        """Drain a partition until it is empty; return the number of versions that are new in Postgres.

        Returns at once if this process is draining the partition. That run looks again before it ends, so it also
        moves the entries for which this call was made.

        Raises:
            StoreUnavailable: Redis or Postgres is not reachable. Nothing is lost; call again later.
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
            # A partition that is never empty releases its slot each time, so the others get their turn.
            async with (
                self._slots,
                self._writer.lock_partition(partition) as writer,
                _BackgroundTask() as settling,
            ):
                if writer is None:
                    return drained
                lock = _PartitionLock(partition, writer, settling)
                drained += await self._retry_failed(lock)
                drained += await self._drain_batches(lock)
            # The lock is released here. This check sees earlier entries; another drain can take later ones.
            if await self._outbox.is_empty(partition) and partition not in self._requested_again:
                return drained
            await asyncio.sleep(GATHER_PAUSE_S)

    async def _drain_batches(self, lock: _PartitionLock) -> int:
        """Move full batches, then the first one that is not full; return the number of new versions.

        While Postgres writes a batch, the preceding batch is settled and the next one is read.
        """
        drained = 0
        batch = await self._read_batch(lock.partition, None)
        while self._is_full(batch):
            next_batch = asyncio.create_task(self._read_batch(lock.partition, batch[-1][0].entry_id))
            try:
                drained += await self._move_batch(lock, batch)
                batch = await next_batch
            finally:
                next_batch.cancel()
                await asyncio.gather(next_batch, return_exceptions=True)
        return drained + await self._move_batch(lock, batch)

    def _is_full(self, batch: _Batch) -> bool:
        return len(batch) >= self._batch_entries or sum(each.size_bytes for each, _ in batch) >= self._batch_bytes

    async def _move_batch(self, lock: _PartitionLock, batch: _Batch) -> int:
        """Move one batch to Postgres. Entries that could not be parsed become failed entries."""
        parsed: list[tuple[StreamEntry, ParsedEntry]] = []
        for delivery, result in batch:
            if isinstance(result, ValueError):
                await self._record_failure(lock.partition, delivery, 0, str(result))
            else:
                parsed.append((delivery, result))
        return await self._write(lock, parsed)

    async def _read_batch(self, partition: int, after: str | None) -> _Batch:
        """Read a batch after an entry id and parse it. An entry that cannot be parsed comes with its error."""
        deliveries = await self._outbox.read(partition, self._batch_entries, self._batch_bytes, after)
        batch: list[tuple[StreamEntry, ParsedEntry | ValueError]] = []
        for first in range(0, len(deliveries), _PARSED_AT_ONCE):
            batch += [(each, _try_parse(each)) for each in deliveries[first : first + _PARSED_AT_ONCE]]
            await asyncio.sleep(0)  # the task that writes the preceding batch sends rows to Postgres meanwhile
        return batch

    async def _write(self, lock: _PartitionLock, parsed: Sequence[tuple[StreamEntry, ParsedEntry]]) -> int:
        """Write entries and settle them. If Postgres rejects them, halve them until the rejected entries are found."""
        if not parsed:
            return 0
        began = time.monotonic()
        try:
            rows = build_rows(each for _, each in parsed)
            result = await lock.writer.write(rows)
        except (RowsRejected, ValueError) as fault:
            if len(parsed) == 1:
                await self._record_failure(lock.partition, parsed[0][0], 0, str(fault))
                return 0
            half = len(parsed) // 2
            first = await self._write(lock, parsed[:half])
            return first + await self._write(lock, parsed[half:])
        busy_us = round((time.monotonic() - began) * 1e6)
        await lock.settling.join()
        lock.settling.start(self._settle(lock.partition, parsed, rows, result, busy_us))
        return result.new

    async def _settle(
        self,
        partition: int,
        parsed: Sequence[tuple[StreamEntry, ParsedEntry]],
        rows: EntryRows,
        result: BatchResult,
        busy_us: int = 0,
    ) -> None:
        """Finish a written batch: refresh caches, raise alerts, remove its entries from the outbox."""
        if self._after_commit is not None:
            await self._after_commit(rows)
        for session_id, epoch, version in result.conflicts:
            alerts.raise_alert("audit conflict", session_id=session_id, epoch=epoch, version=version)
        newest = {}
        for _, each in parsed:
            newest[each.session_id] = SettledVersion(each.session_id, each.event.epoch, each.event.version)
        for disputed in result.disputed:
            # Postgres has different content than Redis, so the session must stay in Redis.
            if newest.get(disputed[0]) == SettledVersion(*disputed):
                del newest[disputed[0]]
        await self._outbox.settle(
            partition,
            [delivery.entry_id for delivery, _ in parsed],
            newest.values(),
            self._ttl_ms,
            size_bytes=sum(delivery.size_bytes for delivery, _ in parsed),
            drained=result.new,
            conflicts=len(result.conflicts),
            busy_us=busy_us,
        )

    async def _retry_failed(self, lock: _PartitionLock) -> int:
        """Retry the failed entries that are due, one by one; return the number of new versions."""
        drained, partition = 0, lock.partition
        for failed in await self._failed_entries.load_due(partition, _RETRIED_AT_ONCE):
            delivery = failed.entry
            try:
                parsed = parse_entry(delivery.parse())
                rows = build_rows([parsed])
                result = await lock.writer.write(rows)
            except (RowsRejected, ValueError) as fault:
                await self._record_failure(partition, delivery, failed.retries + 1, str(fault))
                continue
            await self._failed_entries.close_gap(partition, delivery)
            await self._settle(partition, [(delivery, parsed)], rows, result)
            await self._failed_entries.remove(partition, delivery.entry_id)
            drained += result.new
        return drained

    async def _record_failure(self, partition: int, delivery: StreamEntry, retries: int, error: str) -> None:
        """Move an entry out of the stream until its next retry, or set it aside if no retry is left."""
        next_s = self._retries.delay_s(retries)
        session_id = delivery.fields.get(b"session_id", b"").decode(errors="replace")
        fields = {"partition": partition, "entry_id": delivery.entry_id, "session_id": session_id, "error": error}
        if next_s is None:
            alerts.raise_alert("audit entry set aside", retries=retries, **fields)
        else:
            logger.warning("audit entry rejected", retries=retries, next_try_s=next_s, **fields)
        await self._failed_entries.add(
            partition,
            delivery.entry_id,
            retries=retries,
            error=error,
            next_attempt_in_ms=None if next_s is None else round(next_s * 1000),
        )


def _try_parse(delivery: StreamEntry) -> ParsedEntry | ValueError:
    try:
        return parse_entry(delivery.parse())
    except ValueError as fault:
        return fault
