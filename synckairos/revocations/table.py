"""The table of revocations in Postgres: copies of the entries in Redis, for the time after data loss."""

from collections.abc import Mapping, Sequence
from typing import Any

from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row
from synckairos.store.control_store import MAX_ENTRIES
from synckairos.wire.control_entry import Revocation


class RevocationTable:
    """Access to the table `sync_revocations` in Postgres.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._transactions = TimeLimitedTransactions(pool)

    async def copy(self, entries: Mapping[bytes, Revocation]) -> None:
        """Add entries that the table does not have yet. The keys of `entries` are their bytes in Redis."""
        values = {
            "entries": list(entries),
            "tenants": [each.tenant for each in entries.values()],
            "at_ms": [each.at_ms for each in entries.values()],
            "until_ms": [each.until_ms for each in entries.values()],
        }
        await self._run("copy", values)

    async def read(self, now_ms: int) -> Sequence[bytes]:
        """Return the bytes of the entries that still have an effect at the instant `now_ms`, the oldest first.

        `now_ms` is in ms since the Unix epoch, by the time of Redis.
        """
        return [row[0] for row in await self._run("read", {"now_ms": now_ms, "limit": MAX_ENTRIES})]

    async def delete_expired(self, now_ms: int) -> None:
        """Delete entries that have no effect any more at the instant `now_ms`."""
        await self._run("delete_expired", {"now_ms": now_ms})

    async def _run(self, name: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._transactions.fetch(
            cross_tenant_access(), load_statements("revocations.sql", __package__)[name], values
        )
