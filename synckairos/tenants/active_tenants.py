"""The tenants in the memory of one instance: which credentials are accepted, and the limits and origins of each tenant.

Postgres has the tenants. The control channel announces each change. A suspension has an effect at once, also while
Postgres is unavailable. From time to time the tenants are read again.
"""

from collections.abc import Callable, Mapping, Sequence

from synckairos.errors import Forbidden, StoreUnavailable, TenantSuspended, TenantUnknown
from synckairos.limits.tenant_limits import DEFAULT_LIMITS, NO_LIMITS, TenantLimits
from synckairos.principal import DEFAULT_TENANT
from synckairos.revocations.announced_reads import KEEP_MS, REFRESH_S, AnnouncedReads
from synckairos.revocations.channel import ControlChannel
from synckairos.telemetry import log
from synckairos.tenants.table import NewTenant, Tenant, TenantChanges, TenantTable
from synckairos.wire.control_entry import EffectiveEntry, TenantChange

NOT_FENCED = "the database does not separate tenants yet. `synckairos migrate` says what is missing"

logger = log.get_logger(__name__)

TenantListener = Callable[[str], None]
"""Function that receives the name of a tenant whose credentials are not accepted any more. It must not raise."""


class ActiveTenants:
    """The tenants that this instance knows. Before the first read, only the default tenant is accepted.

    The default tenant is always accepted. It cannot be suspended.
    """

    def __init__(
        self,
        table: TenantTable,
        channel: ControlChannel,
        *,
        requires_registration: bool,
        refresh_s: float = REFRESH_S,
    ) -> None:
        """Create an empty set. Call this before the first load of `channel`, so that no announcement is missed.

        `requires_registration` is whether only tenants of the table are accepted. `refresh_s` is the number of seconds
        between two reads.
        """
        self._table = table
        self._channel = channel
        self.requires_registration = requires_registration
        self._tenants: dict[str, Tenant] = {}
        self._limits: dict[str, TenantLimits] = {}
        self._announced: dict[str, TenantChange] = {}
        """The newest announced change of each tenant whose row was not read since."""
        self._is_read = self._is_fenced = self._has_accepted_other = False
        self._origins: frozenset[str] = frozenset()
        self._tenants_with_origins: Mapping[str, tuple[str, ...]] = {}
        self._reads = AnnouncedReads(self._read, refresh_s)
        self._listeners: list[TenantListener] = []
        channel.add_listener(self._apply)

    # -- decisions ----------------------------------------------------------------------------------------------------

    def require_open(self, tenant: str) -> None:
        """Check that credentials of a tenant are accepted. The check reads only memory.

        Raises: TenantSuspended, also while the tenant is being deleted. TenantUnknown if the tenant was deleted, is not
            registered although this is required, or cannot be separated from other tenants yet. StoreUnavailable before
            the first read of the tenants.
        """
        if tenant == DEFAULT_TENANT:
            return
        if self.is_closed(tenant):
            row = self._tenants.get(tenant)
            if row is not None and row.status == "deleted":
                raise TenantUnknown(tenant, "it was deleted")
            raise TenantSuspended(tenant)
        if not self._is_read:
            raise StoreUnavailable("The tenants are not known; try again shortly")
        if not self._is_fenced:
            raise TenantUnknown(tenant, NOT_FENCED)
        if self.requires_registration and tenant not in self._tenants and tenant not in self._announced:
            raise TenantUnknown(tenant, "SYNCKAIROS_TENANTS accepts only registered tenants")
        self._has_accepted_other = True

    def is_closed(self, tenant: str) -> bool:
        """Return whether this instance knows that a tenant is suspended or deleted."""
        announced = self._announced.get(tenant)
        if announced is not None:
            return not announced.is_open
        row = self._tenants.get(tenant)
        return row is not None and row.status != "active"

    def limits_of(self, tenant: str) -> TenantLimits:
        """Return the limits of a tenant. Tenants that are not registered have the default limits."""
        found = self._limits.get(tenant)
        if found is not None:
            return found
        return NO_LIMITS if tenant == DEFAULT_TENANT else DEFAULT_LIMITS

    @property
    def tenants_with_origins(self) -> Mapping[str, tuple[str, ...]]:
        """Return the origins of each tenant that has origins of its own, by the name of the tenant.

        The result is another object after each read of the tenants.
        """
        return self._tenants_with_origins

    @property
    def all_origins(self) -> frozenset[str]:
        """Return the origins of all tenants that have origins of their own and are not closed."""
        return self._origins

    @property
    def has_other_tenants(self) -> bool:
        """Return whether this instance has accepted a credential of another tenant than the default tenant."""
        return self._has_accepted_other

    def add_listener(self, listener: TenantListener) -> None:
        """Register `listener`, which is called for each tenant that is closed from now on."""
        self._listeners.append(listener)

    # -- changes ------------------------------------------------------------------------------------------------------

    async def add(self, tenant: NewTenant) -> tuple[Tenant, bool]:
        """Add a tenant and announce it to all instances. Return it, and whether an equal request added it before.

        Raises: the errors of `TenantTable.add` and of `ControlChannel.append`.
        """
        added, is_replay = await self._table.add(tenant, await self._channel.read_time_ms())
        await self._announce(added)
        return added, is_replay

    async def change(self, name: str, changes: TenantChanges) -> Tenant:
        """Change a tenant, announce the change to all instances, and return the tenant.

        A change to the same values is announced again, so that a repeated call completes a call that failed.

        Raises: Forbidden if the change would close the default tenant. The errors of `TenantTable.change` and of
            `ControlChannel.append`.
        """
        if changes.status not in (None, "active"):
            _require_closable(name)
        changed = await self._table.change(name, changes, await self._channel.read_time_ms())
        await self._announce(changed)
        return changed

    async def delete(self, name: str) -> Tenant:
        """Close a tenant on all instances, and enqueue the deletion of its data. Return the tenant.

        A repeated call announces the tenant again. If its data are not deleted yet, it ensures that a job deletes them.

        Raises: Forbidden for the default tenant. NotFound if the table has no such tenant. StoreUnavailable. The errors
            of `ControlChannel.append`.
        """
        _require_closable(name)
        tenant = await self._table.begin_deletion(name, await self._channel.read_time_ms())
        await self._announce(tenant)
        return tenant

    async def _announce(self, tenant: Tenant) -> None:
        self._put([tenant])
        await self._channel.append(tenant_change(tenant))

    # -- synchronisation ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read the tenants after each announcement and from time to time, until cancelled."""
        await self._reads.run()

    async def refresh(self) -> bool:
        """Read all tenants, or wait for the read that runs. Return whether the read succeeded."""
        return await self._reads.refresh()

    async def _read(self) -> bool:
        try:
            rows, self._is_fenced = await self._table.read_all()
        except StoreUnavailable as fault:
            logger.debug("tenants not read", cause=fault.code)
            return False
        self._is_read = True
        self._put(rows)
        return True

    def _put(self, rows: Sequence[Tenant]) -> None:
        """Use rows of the table. Ignore a row if a later revision of its tenant was read before."""
        for row in rows:
            self._put_row(row)
        self._tenants_with_origins = {
            name: each.origins for name, each in self._tenants.items() if each.origins is not None
        }
        self._origins = frozenset(
            origin for each in self._tenants.values() if each.status == "active" for origin in each.origins or ()
        )

    def _put_row(self, row: Tenant) -> None:
        announced, known = self._announced.get(row.name), self._tenants.get(row.name)
        if known is not None and known.revision > row.revision:
            return
        was_closed = self.is_closed(row.name)
        self._tenants[row.name], self._limits[row.name] = row, row.limits
        if announced is not None and announced.revision <= row.revision:
            del self._announced[row.name]
        self._notify_if_closed(row.name, was_closed)

    def _apply(self, entry: EffectiveEntry) -> None:
        if not isinstance(entry, TenantChange):
            return
        known, row = self._announced.get(entry.tenant), self._tenants.get(entry.tenant)
        newest = max(0 if known is None else known.revision, 0 if row is None else row.revision)
        if entry.revision <= newest:
            return
        was_closed = self.is_closed(entry.tenant)
        self._announced[entry.tenant] = entry
        self._reads.announce()
        self._notify_if_closed(entry.tenant, was_closed)

    def _notify_if_closed(self, tenant: str, was_closed: bool) -> None:
        if not was_closed and self.is_closed(tenant):
            for listener in self._listeners:
                listener(tenant)


def _require_closable(tenant: str) -> None:
    """Raise Forbidden for the default tenant."""
    if tenant == DEFAULT_TENANT:
        raise Forbidden("The default tenant cannot be suspended or deleted")


def tenant_change(tenant: Tenant) -> TenantChange:
    """Return the entry of the control channel that announces the present state of a tenant."""
    return TenantChange(
        tenant=tenant.name,
        revision=tenant.revision,
        is_open=tenant.status == "active",
        at_ms=tenant.updated_at_ms,
        until_ms=tenant.updated_at_ms + KEEP_MS,
    )
