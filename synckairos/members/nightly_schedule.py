"""The nightly reconciliation of members: when it is due, and which tenants still need their job."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Self

from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.jobs.enqueue import JobQueue
from synckairos.jobs.kinds import RECONCILE_MEMBERS
from synckairos.jobs.table import JobTable

CATCH_UP = timedelta(hours=6)
"""Time after the scheduled instant in which a reconciliation that no worker has enqueued is still enqueued."""


class NightlyMemberSchedule:
    """Enqueues one reconciliation a night for each tenant of the settings, however many workers run the schedule."""

    def __init__(
        self,
        job_table: JobTable,
        queue: JobQueue,
        tenants: Sequence[str],
        hour: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Create a schedule.

        `tenants` are the tenants to reconcile. `hour` is the hour of the day in UTC, 0 to 23. `now` returns the present
        instant with its time zone.
        """
        self._job_table = job_table
        self._queue = queue
        self.tenants = tenants
        self.hour = hour
        self._now = now

    @classmethod
    def from_settings(cls, settings: Settings, job_table: JobTable, queue: JobQueue) -> Self:
        """Return the schedule of the settings. Without a URL or without authentication, it has no tenants."""
        is_on = settings.auth == "required" and settings.members_url is not None
        return cls(job_table, queue, settings.members_tenants if is_on else (), settings.members_hour)

    async def enqueue_due(self) -> None:
        """Enqueue the jobs of this night that are missing. Do nothing more than `CATCH_UP` after the scheduled instant.

        If Postgres is unreachable, do nothing. Call the method again later.
        """
        now = self._now()
        instant = now.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        if instant > now:
            instant -= timedelta(days=1)
        if not self.tenants or now - instant > CATCH_UP:
            return
        scheduled_for = instant.isoformat()
        with suppress(StoreUnavailable):
            done = await self._job_table.find_scheduled(RECONCILE_MEMBERS, scheduled_for)
            for tenant in self.tenants:
                if tenant not in done:
                    params = {"scheduled_for": scheduled_for}
                    await self._queue.enqueue(RECONCILE_MEMBERS, params, once=RECONCILE_MEMBERS, tenant=tenant)
