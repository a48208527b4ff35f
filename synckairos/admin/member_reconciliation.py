"""Implementation of the command `synckairos members reconcile`, which reads a file. Results are lines of text."""

from typing import BinaryIO

from synckairos.admin.members import open_member_changes
from synckairos.config import Settings
from synckairos.jobs.table import open_job_pool
from synckairos.members.reconciliation import MemberReconciler
from synckairos.members.source_download import read_file
from synckairos.members.source_rows import SourceRows
from synckairos.postgres.pool import translate_postgres_errors


async def reconcile_members_with_file(
    settings: Settings, tenant: str, file: BinaryIO, max_removed_percent: int | None, *, is_dry_run: bool
) -> list[str]:
    """Make the members of a tenant equal to the rows of a file. Return one line of text for each number of the report.

    `max_removed_percent` is the maximum share of the members that may be removed, in percent; None means the setting.
    If `is_dry_run` is True, only calculate the numbers.

    Raises: SourceRefused, SourceIncomplete, AuthenticationOff, StoreUnavailable.
    """
    percent = settings.members_max_removed_percent if max_removed_percent is None else max_removed_percent
    async with (
        open_member_changes(settings) as changes,
        open_job_pool(settings.database_url, requires_roles=settings.auth == "required") as pool,
    ):
        with SourceRows(tenant, settings.members_max_bytes) as rows, translate_postgres_errors():
            await read_file(file, rows)
            result = await MemberReconciler(pool, changes).reconcile(tenant, rows, percent, is_dry_run=is_dry_run)
    report = result.report()
    width = max(map(len, report))
    return [f"{name:<{width}}  {number:,}" for name, number in report.items()]
