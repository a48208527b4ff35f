"""The job `reconcile-members`: downloads all members of a tenant, and applies the difference."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from synckairos.config import Settings
from synckairos.errors import AuthenticationOff
from synckairos.jobs.kinds import ReconcileMembersParams
from synckairos.jobs.runner import PermanentJobFailure
from synckairos.members.member_changes import MemberChanges
from synckairos.members.reconciliation import MemberReconciler
from synckairos.members.source_download import MemberSourceDownload
from synckairos.members.source_rows import SourceRefused, SourceRows
from synckairos.postgres.pool import PostgresPool

OpenMemberChanges = Callable[[], AbstractAsyncContextManager[MemberChanges]]
"""Function that opens the changes of members for a block, with connections of their own."""

IsDeleted = Callable[[str], Awaitable[bool]]
"""Function that returns whether a tenant is being deleted or was deleted."""


class MemberReconciliationJob:
    """The handler of jobs of the type `reconcile-members`."""

    def __init__(
        self,
        pool: PostgresPool,
        download: MemberSourceDownload | None,
        open_changes: OpenMemberChanges,
        is_deleted: IsDeleted,
        *,
        tenants: Collection[str] | None,
        max_bytes: int,
        max_removed_percent: int,
        requires_authentication: bool,
    ) -> None:
        """Create a handler.

        - `pool`: runs the transaction.
        - `download`: the download from the URL of the settings. None: no URL is set, and the jobs fail.
        - `open_changes`: opens the connections that announce a change.
        - `is_deleted`: returns whether a tenant is deleted. The members of such a tenant are not reconciled.
        - `tenants`: the only tenants whose members the URL can have. None: the URL names the tenant of each job.
        - `max_bytes`: maximum number of bytes of the source.
        - `max_removed_percent`: maximum share of the members that a job without this parameter may remove, in percent.
        - `requires_authentication`: whether requests need a credential. Otherwise there are no members, and jobs fail.
        """
        self._pool = pool
        self._download = download
        self._open_changes = open_changes
        self._is_deleted = is_deleted
        self._tenants = tenants
        self._max_bytes = max_bytes
        self._max_removed_percent = max_removed_percent
        self._requires_authentication = requires_authentication

    @classmethod
    def from_settings(
        cls, settings: Settings, pool: PostgresPool, open_changes: OpenMemberChanges, is_deleted: IsDeleted
    ) -> Self:
        """Return the handler for the settings of a worker."""
        names_tenant = "{tenant}" in (settings.members_url or "")
        return cls(
            pool,
            MemberSourceDownload.from_settings(settings),
            open_changes,
            is_deleted,
            tenants=None if names_tenant else settings.members_tenants,
            max_bytes=settings.members_max_bytes,
            max_removed_percent=settings.members_max_removed_percent,
            requires_authentication=settings.auth == "required",
        )

    async def run(self, tenant: str, params: ReconcileMembersParams) -> Mapping[str, Any]:
        """Reconcile the members of a tenant, and return the report.

        Raises:
            PermanentJobFailure: The settings or the source must be corrected. Its report becomes the result of the job.
            SourceIncomplete, StoreUnavailable: A retry can help.
            Further exceptions of psycopg.
        """
        if not self._requires_authentication:
            raise PermanentJobFailure(AuthenticationOff().message)
        if self._download is None:
            raise PermanentJobFailure("SYNCKAIROS_MEMBERS_URL is not set for the worker")
        # Otherwise an administrator of one tenant could load the members of another tenant into its own.
        if self._tenants is not None and tenant not in self._tenants:
            raise PermanentJobFailure(
                "SYNCKAIROS_MEMBERS_URL has the members of another tenant. For several tenants, it needs {tenant}"
            )
        if await self._is_deleted(tenant):
            raise PermanentJobFailure(f"The tenant {tenant} is deleted")
        percent = self._max_removed_percent if params.max_removed_percent is None else params.max_removed_percent
        try:
            with SourceRows(tenant, self._max_bytes) as rows:
                await self._download.read(tenant, rows)
                async with self._open_changes() as changes:
                    result = await MemberReconciler(self._pool, changes).reconcile(tenant, rows, percent)
        except SourceRefused as refusal:
            raise PermanentJobFailure(refusal.message, refusal.report) from refusal
        return result.report()
