"""The drain: outbox → rows → one transaction → out of the outbox, and the session's TTL.

An entry leaves the stream only after COMMIT, so a drain may die anywhere: what it did is done again and found done.
An entry that Postgres refuses is isolated, tried again on a schedule, then set aside; it never holds up the rest.
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
from synckairos.store.outbox import Newest, Outbox, OutboxDelivery
from synckairos.telemetry import alerts, log

RETRY_DELAYS_S = (2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each further try of an entry that Postgres refused; after the last one it is set aside."""

BATCH_ENTRIES = 5_000
BATCH_BYTES = 8 << 20
REST_S = 0.2
"""Seconds to let entries gather that came during a drain: a transaction for each handful would cost the most."""

_DUE_AT_ONCE = 100
_SLICE = 100  # entries to understand at a stretch

logger = log.get_logger(__name__)


class _Behind:
    """At most one piece of work that runs behind us: the next begins when it has ended well, the block ends after it.

    Where the block fails, it is given up.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.done()
        elif self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin `work`; nothing else may be under way."""
        self._task = asyncio.create_task(work)

    async def done(self) -> None:
        """Wait for what is under way. Raises what it raised."""
        task, self._task = self._task, None
        if task is not None:
            await task


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn at a partition: which one, the right to write it, and the settling of what was written last."""

    partition: int
    writer: BatchWriter
    settling: _Behind


class OutboxDrain:
    """Moves partitions to Postgres; any number may run anywhere, one at a time works on a partition."""

    def __init__(
        self,
        outbox: Outbox,
        isolation: FailedEntries,
        audit_writer: AuditWriter,
        *,
        session_ttl_s: int,
        backoff_s: Sequence[float] = RETRY_DELAYS_S,
        batch_entries: int = BATCH_ENTRIES,
        batch_bytes: int = BATCH_BYTES,
        at_once: int = 4,
        after_commit: Callable[[EntryRows], Awaitable[None]] | None = None,
    ) -> None:
        """Take the stores; `at_once` is how many partitions this process works on side by side.

        `after_commit` is told of each batch that Postgres has, before its entries leave the outbox.
        """
        self._outbox = outbox
        self._isolation = isolation
        self._writer = audit_writer
        self._ttl_ms = session_ttl_s * 1000
        self._retries = RetrySchedule(backoff_s)
        self._batch_entries = batch_entries
        self._batch_bytes = batch_bytes
        self._after_commit = after_commit
        self._slots = asyncio.Semaphore(at_once)
        self._under_way: set[int] = set()
        self._again: set[int] = set()

    async def drain_partition(self, partition: int) -> int:
        """Drain a partition until nothing is left; return how many versions are new in Postgres.

        Returns at once where the partition is being drained: whoever does it looks again before it ends, so that what
        this call came for is taken too.

        Raises:
            StoreUnavailable: Redis or Postgres doesn't answer; nothing is lost, ask again later.
        """
        if partition in self._under_way:
            self._again.add(partition)
            return 0
        self._under_way.add(partition)
        try:
            return await self._run(partition)
        finally:
            self._under_way.discard(partition)
            self._again.discard(partition)

    async def _run(self, partition: int) -> int:
        drained = 0
        while True:
            self._again.discard(partition)
            # A partition that is never empty waits for its turn like all others.
            async with self._slots, self._writer.lock_partition(partition) as writer, _Behind() as settling:
                if writer is None:
                    return drained
                turn = _Turn(partition, writer, settling)
                drained += await self._retry_due(turn)
                drained += await self._drain(turn)
            # Only now can others hold it: what came before is ours to see, what comes later is theirs to take.
            if await self._outbox.is_empty(partition) and partition not in self._again:
                return drained
            await asyncio.sleep(REST_S)

    async def _drain(self, turn: _Turn) -> int:
        """Move full batches up to one that isn't: while Postgres writes one, the one before is settled, the next read.

        Returns how many versions are new in Postgres.
        """
        drained = 0
        batch = await self._read(turn.partition, None)
        while self._is_full(batch):
            ahead = asyncio.create_task(self._read(turn.partition, batch[-1][0].entry_id))
            try:
                drained += await self._move(turn, batch)
                batch = await ahead
            finally:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
        return drained + await self._move(turn, batch)

    def _is_full(self, batch: Sequence[tuple[OutboxDelivery, object]]) -> bool:
        return len(batch) >= self._batch_entries or sum(each.size for each, _ in batch) >= self._batch_bytes

    async def _move(self, turn: _Turn, batch: Sequence[tuple[OutboxDelivery, ParsedEntry | ValueError]]) -> int:
        """Move one batch, isolating what can't be understood."""
        parsed: list[tuple[OutboxDelivery, ParsedEntry]] = []
        for delivery, found in batch:
            if isinstance(found, ValueError):
                await self._isolate(turn.partition, delivery, 0, str(found))
            else:
                parsed.append((delivery, found))
        return await self._record(turn, parsed)

    async def _read(self, partition: int, after: str | None) -> list[tuple[OutboxDelivery, ParsedEntry | ValueError]]:
        """Read a batch and understand it as far as it can be."""
        deliveries = await self._outbox.read(partition, self._batch_entries, self._batch_bytes, after)
        understood: list[tuple[OutboxDelivery, ParsedEntry | ValueError]] = []
        for first in range(0, len(deliveries), _SLICE):
            understood += [(delivery, _understand(delivery)) for delivery in deliveries[first : first + _SLICE]]
            await asyncio.sleep(0)  # Postgres waits for rows of the batch before
        return understood

    async def _record(self, turn: _Turn, parsed: Sequence[tuple[OutboxDelivery, ParsedEntry]]) -> int:
        """Write and settle; where the batch is refused, look for the culprit by halves."""
        if not parsed:
            return 0
        began = time.monotonic()
        try:
            rows = build_rows(each for _, each in parsed)
            recorded = await turn.writer.write(rows)
        except (RowsRejected, ValueError) as fault:
            if len(parsed) == 1:
                await self._isolate(turn.partition, parsed[0][0], 0, str(fault))
                return 0
            half = len(parsed) // 2
            first = await self._record(turn, parsed[:half])
            return first + await self._record(turn, parsed[half:])
        busy_us = round((time.monotonic() - began) * 1e6)
        await turn.settling.done()
        turn.settling.begin(self._settle(turn.partition, parsed, rows, recorded, busy_us))
        return recorded.new

    async def _settle(
        self,
        partition: int,
        parsed: Sequence[tuple[OutboxDelivery, ParsedEntry]],
        rows: EntryRows,
        recorded: BatchResult,
        busy_us: int = 0,
    ) -> None:
        if self._after_commit is not None:
            await self._after_commit(rows)
        for session_id, epoch, version in recorded.conflicts:
            alerts.raise_alert("audit conflict", session_id=session_id, epoch=epoch, version=version)
        newest = {}
        for _, each in parsed:
            newest[each.session_id] = Newest(each.session_id, each.event.epoch, each.event.version)
        for disputed in recorded.disputed:
            # Postgres has something else than Redis: what Redis has stays there.
            if newest.get(disputed[0]) == Newest(*disputed):
                del newest[disputed[0]]
        await self._outbox.settle(
            partition,
            [delivery.entry_id for delivery, _ in parsed],
            newest.values(),
            self._ttl_ms,
            size=sum(delivery.size for delivery, _ in parsed),
            drained=recorded.new,
            conflicts=len(recorded.conflicts),
            busy_us=busy_us,
        )

    async def _retry_due(self, turn: _Turn) -> int:
        """Try isolated entries again that are due, each on its own."""
        drained, partition = 0, turn.partition
        for isolated in await self._isolation.due(partition, _DUE_AT_ONCE):
            delivery = isolated.delivery
            try:
                parsed = parse_entry(delivery.entry)
                rows = build_rows([parsed])
                recorded = await turn.writer.write(rows)
            except (RowsRejected, ValueError) as fault:
                await self._isolate(partition, delivery, isolated.tries + 1, str(fault))
                continue
            await self._isolation.close_gap(partition, delivery)
            await self._settle(partition, [(delivery, parsed)], rows, recorded)
            await self._isolation.forget(partition, delivery.entry_id)
            drained += recorded.new
        return drained

    async def _isolate(self, partition: int, delivery: OutboxDelivery, tries: int, error: str) -> None:
        next_s = self._retries.delay_s(tries)
        session_id = delivery.fields.get(b"session_id", b"").decode(errors="replace")
        known = {"partition": partition, "entry_id": delivery.entry_id, "session_id": session_id, "error": error}
        if next_s is None:
            alerts.raise_alert("audit entry set aside", tries=tries, **known)
        else:
            logger.warning("audit entry refused", tries=tries, next_try_s=next_s, **known)
        await self._isolation.isolate(
            partition,
            delivery.entry_id,
            tries=tries,
            error=error,
            next_try_in_ms=None if next_s is None else round(next_s * 1000),
        )


def _understand(delivery: OutboxDelivery) -> ParsedEntry | ValueError:
    try:
        return parse_entry(delivery.entry)
    except ValueError as fault:
        return fault
