"""Deletion of tenants: the job that deletes all data of one tenant, and the search for deletions that have work.

The tenant is closed before, so no credential of it is accepted. But a request or an expiry that began before can still
write. So the job repeats all steps until they find nothing, and not before the tenant was closed for some seconds.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from synckairos.errors import NotFound
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.tenant_folders import tenant_folder
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.kinds import DELETE_TENANT
from synckairos.jobs.runner import PermanentJobFailure
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.tenant_roles import TABLES_OF_TENANTS
from synckairos.store.control_store import ControlStore
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from synckairos.store.tenant_data import TenantData
from synckairos.telemetry import log
from synckairos.tenants.active_tenants import tenant_change
from synckairos.tenants.stored_rows import TenantRows
from synckairos.tenants.table import TenantChanges, TenantTable, deletion_job_name

SETTLE_S = 15.0
"""Seconds from the closing of a tenant to the last search for its data, at least.

After 5 s each instance knows of the closing, or accepts no credentials. A request that began before ends in the next
seconds.
"""

POLL_S = 0.5
"""Seconds between two checks whether the drain or a job of the tenant has ended."""

ReportProgress = Callable[[Mapping[str, int]], Awaitable[None]]
"""Function that saves the numbers of deleted data so far."""

logger = log.get_logger(__name__)


class TenantDeletion:
    """Deletes all data of closed tenants.

    An attempt that was interrupted can be repeated. The tenant's row stays, so that its name stays refused.
    """

    def __init__(
        self,
        table: TenantTable,
        rows: TenantRows,
        data: TenantData,
        cold_storage: ColdStorage,
        control: ControlStore,
        *,
        settle_s: float = SETTLE_S,
        poll_s: float = POLL_S,
    ) -> None:
        """Create the deletion on the stores of a worker. See `SETTLE_S` and `POLL_S` for the durations in seconds."""
        self._table = table
        self._rows = rows
        self._data = data
        self._cold_storage = cold_storage
        self._control = control
        self._settle_ms = settle_s * 1000
        self._poll_s = poll_s

    @classmethod
    def on_stores(cls, pool: PostgresPool, pipe: RedisPipe, keys: Keys, cold_storage: ColdStorage) -> Self:
        """Create the deletion on these stores. The transactions of `pool` must have the access to all tenants."""
        return cls(TenantTable(pool), TenantRows(pool), TenantData(pipe, keys), cold_storage, ControlStore(pipe, keys))

    async def delete(self, name: str, report: ReportProgress) -> Mapping[str, int]:
        """Delete all data of a tenant, and save that it is deleted. Return the numbers of deleted data.

        The numbers are those of this call: `keys` in Redis, `objects` in cold storage, and rows by the name of the
        table. `report` gets the numbers after each step that deletes data.

        Raises: PermanentJobFailure if the deletion of the tenant was not requested. StoreUnavailable if a store is
            unreachable; the call can be repeated.
        """
        try:
            tenant = await self._table.read(name)
        except NotFound as fault:
            raise PermanentJobFailure(fault.message) from fault
        if tenant.status not in ("deleting", "deleted"):
            raise PermanentJobFailure(f"The deletion of tenant {name} was not requested")
        deleted: Counter[str] = Counter()
        while True:
            remaining_ms = tenant.updated_at_ms + self._settle_ms - await self._control.now_ms()
            before = deleted.total()
            await self._delete_once(name, deleted, report)
            if deleted.total() > before:
                continue
            if remaining_ms <= 0:
                break
            await asyncio.sleep(remaining_ms / 1000)
        if tenant.status == "deleting":
            tenant = await self._table.change(name, TenantChanges(status="deleted"), await self._control.now_ms())
        # Without the message, instances find the change at their next read of all tenants.
        await self._control.append([tenant_change(tenant).render()])
        logger.info("tenant deleted", tenant=name, deleted=deleted.total())
        return dict(deleted)

    async def _delete_once(self, name: str, deleted: Counter[str], report: ReportProgress) -> None:
        """Delete the data that are found in one search through all stores. Add their numbers to `deleted`."""

        async def add(kind: str, count: int) -> None:
            if count:
                deleted[kind] += count
                await report(deleted)

        # The jobs of the tenant write rows and objects, so they end first. The sessions go before their rows, because a
        # session without rows cannot be restored. The drain writes the rows of all versions before rows are deleted.
        await self._end_jobs(name, add)
        await add("keys", await self._data.delete(name))
        await self._wait_for_drain()
        for table in TABLES_OF_TENANTS:
            await add(table, await self._rows.delete_from(table, name))
        await add("objects", await self._cold_storage.delete_folder(tenant_folder(name)))

    async def _wait_for_drain(self) -> None:
        """Wait until Postgres has all versions that are in the outboxes now."""
        ends = await self._data.read_outbox_ends()
        while True:
            if await self._data.is_drained(ends):
                return
            await asyncio.sleep(self._poll_s)

    async def _end_jobs(self, name: str, add: Callable[[str, int], Awaitable[None]]) -> None:
        """Delete the jobs of the tenant. Wait for the end of jobs that run."""
        while True:
            await add("background_jobs", await self._rows.delete_from("background_jobs", name))
            if not await self._rows.count_running_jobs(name):
                return
            await asyncio.sleep(self._poll_s)


async def enqueue_due_deletions(table: TenantTable, data: TenantData, queue: JobQueue) -> None:
    """Enqueue a deletion for each closed tenant that still has data and no open job. A worker calls this regularly.

    The job of a tenant that is being deleted can have failed. Data of a deleted tenant can have been written late.

    Raises: StoreUnavailable.
    """
    found = await table.find_deletions()
    in_redis = set(await data.find_tenants_with_sessions([each.name for each in found]))
    for each in found:
        if each.has_rows or each.is_unfinished or each.name in in_redis:
            await queue.enqueue(DELETE_TENANT, {"tenant": each.name}, once=deletion_job_name(each.name))
