"""Reconciliation of the members of one tenant with a source: the difference is applied in one transaction."""

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from synckairos.errors import StoreUnavailable
from synckairos.members.member_changes import MemberChanges
from synckairos.members.source_rows import MAX_NAMED_FAULTS, SourceRefused, SourceRows
from synckairos.members.table import MAX_ROWS_OF_SUBJECT, MembersChanged, finish_change
from synckairos.postgres.access import tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Row, Transaction
from synckairos.store.member_copies import BLOCK_MS

_SUBJECTS_PER_PAGE = 1_000
_KEPT_SUBJECTS = 10_000
"""Maximum number of changed subjects that are kept in memory, so that the memory is bounded."""

_BLOCK_TIMEOUT_S = BLOCK_MS / 2_000
"""Seconds within which the copies of all changed members must be removed: half of the duration of a block."""


class Reconciliation(Struct, frozen=True, kw_only=True):
    """The result of a reconciliation. The numbers are numbers of rows.

    - `rows`: rows of the source, of which `repeated` are equal to an earlier row.
    - `added`, `changed`, `removed`: rows of the difference. `changed` rows got another role.
    - `unchanged`: members that were equal to a row of the source.
    - `change`: the change of the members. Its subjects are empty if nothing was changed, and at most 10,000.
    """

    rows: int
    repeated: int
    added: int
    changed: int
    removed: int
    unchanged: int
    change: MembersChanged

    def report(self) -> dict[str, Any]:
        """Return the numbers by name, as JSON values."""
        names = ("rows", "repeated", "added", "changed", "removed", "unchanged")
        return {name: getattr(self, name) for name in names}


class MemberReconciler:
    """Applies the difference between the members of a tenant and a source, and announces it to all instances."""

    def __init__(
        self, pool: PostgresPool, changes: MemberChanges, *, max_rows_of_subject: int = MAX_ROWS_OF_SUBJECT
    ) -> None:
        self._pool = pool
        self._changes = changes
        self._max_rows_of_subject = max_rows_of_subject

    async def reconcile(
        self, tenant: str, source: SourceRows, max_removed_percent: int, *, is_dry_run: bool = False
    ) -> Reconciliation:
        """Make the members of a tenant equal to the rows of a source. All changes are applied, or none.

        - `source`: all rows, read to the end.
        - `max_removed_percent`: maximum share of the present members that may be removed, in percent.
        - `is_dry_run`: whether the difference is only calculated, and nothing is changed.

        Other changes of the members of this tenant wait meanwhile. They are not lost: the last change counts. Rows that
        were added after the source was read, and that it does not have, are removed.

        Raises: SourceRefused if rows contradict each other, a subject has too many rows, or too many members would be
            removed. StoreUnavailable if Redis does not answer; if this is so after the transaction, the change is
            committed, and the instances find it in Postgres within a minute. The exceptions of psycopg.
        """
        result = await self._apply(tenant, source, max_removed_percent, is_dry_run=is_dry_run)
        if result.change.subjects:
            await self._changes.announce(result.change, result.change.subjects)
        return result

    async def _apply(
        self, tenant: str, source: SourceRows, max_removed_percent: int, *, is_dry_run: bool
    ) -> Reconciliation:
        """Apply the difference in one transaction. Raises: the errors of `reconcile`."""
        async with self._pool.transaction(access=tenant_access(tenant)) as transaction:
            repeated = await self._load(transaction, source)
            await transaction.fetch(load_statements("members.sql", __package__)["lock_tenant"], {"tenant": tenant})
            ((present, added, removed, changed),) = await _fetch(transaction, "compare", {"tenant": tenant})
            numbers = {
                "rows": source.count,
                "repeated": repeated,
                "added": added,
                "changed": changed,
                "removed": removed,
                "unchanged": present - removed - changed,
            }
            if removed * 100 > max_removed_percent * present:
                raise SourceRefused(
                    f"{removed:,} of {present:,} members would be removed, which is more than {max_removed_percent} %."
                    " If this is right, reconcile again with a larger maximum",
                    "share_exceeded",
                    **numbers,
                )
            subjects: list[str] = []
            if not is_dry_run and added + removed + changed:
                await _fetch(transaction, "create_changed_subjects")
                await _fetch(transaction, "apply", {"tenant": tenant})
                subjects = await self._block_copies(transaction, tenant)
            return Reconciliation(**numbers, change=await finish_change(transaction, tenant, subjects))

    async def _block_copies(self, transaction: Transaction, tenant: str) -> list[str]:
        """Remove the copies in Redis of all changed subjects. Return the subjects, but at most `_KEPT_SUBJECTS`.

        This is the last step before the commit, because no copy is stored only for a limited time after it.

        Raises: StoreUnavailable if Redis does not answer, or needs so long that the first blocks could end.
        """
        kept: list[str] = []
        try:
            async with (
                asyncio.timeout(_BLOCK_TIMEOUT_S),
                transaction.stream("changed_subjects", _statement("changed_subjects")) as cursor,
            ):
                while rows := await cursor.fetchmany(_SUBJECTS_PER_PAGE):
                    subjects = [row[0] for row in rows]
                    await self._changes.block_copies(tenant, subjects)
                    kept += subjects[: _KEPT_SUBJECTS - len(kept)]
        except TimeoutError:
            raise StoreUnavailable(
                f"Redis did not remove the copies of the changed members within {_BLOCK_TIMEOUT_S:g} s"
            ) from None
        return kept

    async def _load(self, transaction: Transaction, source: SourceRows) -> int:
        """Load the source into a temporary table, and check its rows. Return the number of rows that were repeated.

        Raises: SourceRefused.
        """
        await _fetch(transaction, "create_source")
        async with transaction.run_copy(_statement("copy_source")) as copy:
            pieces = source.pieces()
            while piece := await asyncio.to_thread(next, pieces, b""):
                await copy.write(piece)
        await _fetch(transaction, "analyze_source")
        repeated = (await transaction.execute(_statement("delete_repeated_rows"))).rowcount
        contradictions = await _fetch(transaction, "find_contradictions", {"limit": MAX_NAMED_FAULTS})
        _refuse_rows(source, contradictions, "has another role than an earlier line with its subject and resource")
        limits = {"limit": MAX_NAMED_FAULTS, "max_rows": self._max_rows_of_subject}
        over_limit = await _fetch(transaction, "find_subjects_over_limit", limits)
        _refuse_rows(source, over_limit, f"its subject has more than {self._max_rows_of_subject:,} rows")
        return repeated


def _refuse_rows(source: SourceRows, found: list[Row], fault: str) -> None:
    """Raise SourceRefused if `found` has rows of a line and the number of all such lines."""
    if found:
        raise source.invalid_rows(found[0][1], [{"line": line, "fault": fault} for line, _ in found])


def _statement(name: str) -> bytes:
    return load_statements("reconciliation.sql", __package__)[name]


async def _fetch(transaction: Transaction, name: str, values: Mapping[str, Any] | None = None) -> list[Row]:
    return await transaction.fetch(_statement(name), values)
