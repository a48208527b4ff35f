"""The table of the access log in Postgres: adds, reads and deletes entries."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import asdict

from synckairos.access_log.records import AccessEntry, AdministrativeAct, EntryKind, RefusalTally
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.postgres.access import Access, cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row, Transaction
from synckairos.wire.instants import datetime_to_ms

_MAX_ID = 2**62
"""A number that is larger than each `access_id`."""


class AccessTable:
    """Access to the table `sync_access` in Postgres.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._transactions = TimeLimitedTransactions(pool)

    async def add_act(self, act: AdministrativeAct) -> None:
        """Add one act to the table, in one transaction."""
        await self._run(tenant_access(act.tenant), [("add_act", asdict(act))])

    async def add_refusals(self, refusals: Sequence[RefusalTally]) -> None:
        """Add the counts of `refusals` to the table, all in one transaction.

        A minute with the same tenant, address and reason has one row; the count is added to an existing row.
        """
        # All instances must lock the rows in the same order, so that two instances never wait for each other.
        ordered = sorted(refusals, key=lambda each: (each.tenant, each.address, each.reason, each.at_ms))
        await self._run(cross_tenant_access(), [("add_refusals", asdict(each)) for each in ordered])

    async def read_page(
        self, tenant: str, *, cursor: str | None, limit: int, entry: EntryKind | None
    ) -> Page[AccessEntry]:
        """Return a page of at most `limit` entries of a tenant, newest first.

        `cursor` is the `next_cursor` of the previous page; None for the first page. `entry` selects entries of one
        kind; None selects all entries.

        Raises: ValidationFailed if the cursor is invalid.
        """
        (before,) = parse_cursor(cursor, int) if cursor else (_MAX_ID,)
        values = {"tenant": tenant, "before": before, "entry": entry, "limit": limit + 1}
        rows = await self._run(tenant_access(tenant), [("read_page", values)])
        items = tuple(_parse_entry(row) for row in rows[:limit])
        return Page(items, render_cursor(items[-1].access_id) if len(rows) > limit else None)

    async def delete_older_than(self, days: int) -> None:
        """Delete at most 10,000 entries that are older than `days` days, the oldest first."""
        await self._run(cross_tenant_access(), [("delete_old", {"days": days})])

    async def _run(self, access: Access, statements: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Row]:
        """Run statements in one transaction. Return the rows of the last statement."""

        async def run(transaction: Transaction) -> list[Row]:
            rows: list[Row] = []
            for name, values in statements:
                rows = await transaction.fetch(load_statements("access_log.sql", __package__)[name], values)
            return rows

        return await self._transactions.transact(access, run)


def _parse_entry(row: Row) -> AccessEntry:
    access_id, entry, at, kind, subject, role, address, action, target, status, reason, count = row
    return AccessEntry(
        access_id=access_id,
        entry=entry,
        at_ms=datetime_to_ms(at),
        kind=kind,
        subject=subject,
        role=role,
        address=address,
        action=action,
        target=target,
        status=status,
        reason=reason,
        count=count,
    )
