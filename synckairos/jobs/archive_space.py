"""The limit of bytes that the archives of one tenant may have in cold storage."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from synckairos.errors import SyncKairosError
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.limits.tenant_limits import ARCHIVE_BYTES, tenant_limits
from synckairos.postgres.pool import PostgresPool

REFRESH_S = 60.0
"""Seconds after which the limit of a tenant and the bytes of its archives are read again."""


class ArchiveSpaceFull(SyncKairosError):
    """The archives of the tenant have reached the limit `archive_bytes`. The session stays in Postgres."""

    code = "ARCHIVE_SPACE_FULL"

    def __init__(self, tenant: str, limit: int) -> None:
        super().__init__(
            f"Tenant {tenant} has reached its limit of {limit:,} {ARCHIVE_BYTES.unit} ({ARCHIVE_BYTES.name});"
            " its sessions stay in Postgres until an operator sets a larger limit"
        )


@dataclass(slots=True)
class _Usage:
    """The limit of a tenant, and the bytes of its archives if it has a limit. `read_at_s` is monotonic."""

    limit: int | None
    used: int
    read_at_s: float


class ArchiveSpace:
    """The bytes of the archives of each tenant, as this process knows them. Methods raise the errors of psycopg.

    Workers that write at the same time can exceed a limit by the archives that they write within `refresh_s` seconds.
    """

    def __init__(
        self, pool: PostgresPool, *, refresh_s: float = REFRESH_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._refresh_s = refresh_s
        self._clock = clock
        self._usages: dict[str, _Usage] = {}

    async def require(self, tenant: str, new_bytes: int) -> None:
        """Check that a tenant may have `new_bytes` more bytes in archives. Raises: ArchiveSpaceFull if it may not."""
        usage = await self._find_usage(tenant)
        if usage.limit is not None and usage.used + new_bytes > usage.limit:
            raise ArchiveSpaceFull(tenant, usage.limit)

    def add(self, tenant: str, new_bytes: int) -> None:
        """Count bytes that this process has written for a tenant."""
        usage = self._usages.get(tenant)
        if usage is not None:
            usage.used += new_bytes

    async def _find_usage(self, tenant: str) -> _Usage:
        usage, now_s = self._usages.get(tenant), self._clock()
        if usage is None or now_s >= usage.read_at_s + self._refresh_s:
            values = {"tenant": tenant}
            rows = await self._pool.fetch(load_statement("limits_of_tenant"), values)
            limit, used = tenant_limits(tenant, rows[0][0] if rows else {}).archive_bytes, 0
            if limit is not None:  # the sum reads all archive records of the tenant
                ((used,),) = await self._pool.fetch(load_statement("archive_bytes"), values)
            usage = self._usages[tenant] = _Usage(limit, int(used), now_s)
        return usage
