"""Instances that know the tenants, on the stores of a test: the control channel, the tenants and the operators."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.http.client_address import CallerResolver
from synckairos.postgres.pool import PostgresPool
from synckairos.revocations.announced_reads import REFRESH_S
from synckairos.stored_credentials.table import CredentialTable
from synckairos.stored_credentials.verifier import CredentialVerifier
from synckairos.tenants.active_tenants import ActiveTenants
from synckairos.tenants.operator_keys import OperatorKeys, OperatorNetworks
from synckairos.tenants.table import MAX_TENANTS, NewTenant, Tenant, TenantChanges, TenantStatus, TenantTable
from tests.background_task import running
from tests.integration.authentication import now_ms
from tests.integration.revocations.nodes import Node, open_node, until


@dataclass(frozen=True, slots=True)
class TenantNode:
    """The tenants of one instance, and what they depend on. `closed` has the names of closed tenants in order."""

    node: Node
    table: TenantTable
    tenants: ActiveTenants
    operator_keys: OperatorKeys
    networks: OperatorNetworks
    verifier: CredentialVerifier
    closed: list[str]

    async def add(self, name: str, **fields: object) -> Tenant:
        """Create a tenant through this instance."""
        made, _ = await self.tenants.add(new_tenant(name, **fields))
        return made

    async def make_operator_key(self, label: str = "", ttl_s: int | None = None) -> str:
        return await self.operator_keys.make(label, ttl_s, now_ms(), "command-line")

    async def set_status(self, name: str, status: TenantStatus) -> Tenant:
        return await self.tenants.change(name, TenantChanges(status=status))

    def refusal_of(self, name: str) -> str:
        """Return the error code for credentials of a tenant. Return an empty text if they are accepted."""
        try:
            self.tenants.require_open(name)
        except SyncKairosError as error:
            return error.code
        return ""

    async def until_refusal_is(self, name: str, code: str) -> None:
        await until(lambda: self.refusal_of(name) == code)


def new_tenant(name: str, **fields: object) -> NewTenant:
    defaults: dict[str, Any] = {"description": "", "limit_values": {}, "origins": None, "created_by": "key:op"}
    return NewTenant(name=name, **(defaults | fields))


@asynccontextmanager
async def open_tenant_node(
    settings: Settings,
    redis_url: str = "",
    *,
    requires_registration: bool = False,
    refresh_s: float = REFRESH_S,
    max_tenants: int = MAX_TENANTS,
    reads: bool = True,
) -> AsyncIterator[TenantNode]:
    """Open an instance that knows the tenants. If `reads` is True, it keeps them up to date inside the block."""
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(open_node(settings, redis_url))
        pool = await stack.enter_async_context(PostgresPool(settings.database_url, "test", max_connections=2))
        table, closed = TenantTable(pool, max_tenants=max_tenants), list[str]()
        tenants = ActiveTenants(table, node.channel, requires_registration=requires_registration, refresh_s=refresh_s)
        tenants.add_listener(closed.append)
        if reads:
            await tenants.refresh()
            await stack.enter_async_context(running(tenants.run()))
        credentials, callers = CredentialTable(pool), CallerResolver(settings.trusted_proxies)
        yield TenantNode(
            node,
            table,
            tenants,
            OperatorKeys(credentials),
            OperatorNetworks(settings.operator_networks, callers.complete_address_for),
            CredentialVerifier(credentials, node.channel),
            closed,
        )
