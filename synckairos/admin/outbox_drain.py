"""Implementation of `synckairos audit drain`: moves all outbox entries to Postgres once, without a worker."""

import asyncio

from synckairos.admin.progress import NO_PROGRESS, Progress
from synckairos.audit.batch_writer import AuditDatabase
from synckairos.audit.drain import OutboxDrain
from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.store.connect import check_store_settings, make_pipe
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox
from synckairos.store.outbox_limits import OutboxLimits

REPEAT_S = 0.5
"""Seconds between two rounds, if another process drains a partition or a failed entry waits for its retry."""

_MAX_DRAINS = 4
"""Maximum number of partitions that are drained at the same time."""


class EntriesSetAside(SyncKairosError):
    """The outbox is empty, but Postgres rejected entries for good."""

    code = "ENTRIES_SET_ASIDE"


async def drain_outbox(settings: Settings, progress: Progress = NO_PROGRESS) -> int:
    """Drain all partitions of the outbox until they are empty. Return the number of versions that are new in Postgres.

    Versions that Postgres already has are not counted. Rejected entries are retried on the schedule of the workers,
    which ends after about a minute. If a worker drains a partition, wait until that partition is empty.

    Raises:
        EntriesSetAside: Postgres rejected entries. All other entries are in Postgres.
        StoreUnavailable: Redis or Postgres does not answer. The call can be repeated.
        StoreMisconfigured: The data in Redis belongs to other settings.
    """
    keys = Keys(settings.key_prefix, settings.partitions)
    writer = AuditDatabase(
        settings.database_url,
        settings.key_prefix,
        max_connections=_MAX_DRAINS + 1,
        stores_changes=settings.stores_changes,
        has_sparse_snapshots=settings.audit_snapshots == "sparse",
        requires_roles=settings.auth == "required",
    )
    async with make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        keys = await check_store_settings(pipe, keys)
        await writer.open()
        try:
            await writer.check_reachable()
            outbox = Outbox(pipe, keys, OutboxLimits.from_settings(settings))
            drain = OutboxDrain(
                outbox,
                FailedEntries(pipe, keys),
                writer,
                session_ttl_s=settings.session_ttl_s,
                max_concurrent=_MAX_DRAINS,
                after_commit=SummaryRefresh(pipe, keys).apply_audited_rows,
            )
            return await _drain_until_empty(drain, outbox, progress)
        finally:
            await writer.close()


async def _drain_until_empty(drain: OutboxDrain, outbox: Outbox, progress: Progress) -> int:
    drained = 0
    while True:
        drained += sum(
            await asyncio.gather(*(drain.drain_partition(partition) for partition in range(outbox.keys.partitions)))
        )
        backlog = await outbox.measure_backlog()
        if not backlog.entries and not backlog.retrying:
            break
        progress.report(f"draining, {backlog.entries:,} entries left", drained)
        await asyncio.sleep(REPEAT_S)
    if backlog.set_aside:
        raise EntriesSetAside(
            f"{drained:,} versions were written, and Postgres rejected {backlog.set_aside:,} entries:"
            " `synckairos audit failed` lists them with their errors"
        )
    return drained
