"""Implementation of the commands `synckairos tenants …`. Results are lines of text.

The commands change Postgres and announce each change to the running instances, as the REST operations do.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from msgspec.structs import asdict

from synckairos.admin.control_channel import open_control_channel
from synckairos.admin.progress import NO_PROGRESS, Progress
from synckairos.config import Settings
from synckairos.errors import ValidationFailed
from synckairos.limits.tenant_limits import TENANT_LIMITS
from synckairos.principal import Principal
from synckairos.tenants.active_tenants import ActiveTenants
from synckairos.tenants.formats import parse_new_tenant, parse_tenant_changes, tenant_json
from synckairos.tenants.table import Tenant, TenantChanges, TenantStatus, TenantTable
from synckairos.wire.body_parser import parse_body
from synckairos.wire.tenants import CreateTenant, PatchTenant

PRINCIPAL = Principal.importer("command-line")
"""The principal of the commands. The tenants that they create have the creator `command-line`."""

_PER_PAGE = 200
_POLL_S = 0.5


async def create_tenant(settings: Settings, fields: Mapping[str, Any]) -> list[str]:
    """Create a tenant. Return one line of text. `fields` are the members of `CreateTenant`.

    Raises: ValidationFailed, TenantExists, TooManyTenants, AuthenticationOff, StoreUnavailable.
    """
    new = parse_new_tenant(parse_body(CreateTenant, dict(fields)), PRINCIPAL.actor)
    async with _open_tenants(settings) as (tenants, _):
        tenant, _ = await tenants.add(new)
    return [_line(tenant)]


async def list_tenants(settings: Settings, *, as_json: bool = False) -> list[str]:
    """Return one line of text for each tenant, newest first. If `as_json` is True, a line is JSON."""
    lines: list[str] = []
    cursor: str | None = None
    async with _open_tenants(settings) as (_, table):
        while True:
            page = await table.read_page(cursor=cursor, limit=_PER_PAGE)
            lines += [_json(each) if as_json else _line(each) for each in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return lines


async def show_tenant(settings: Settings, name: str, *, as_json: bool = False) -> list[str]:
    """Return lines with the fields and the limits of a tenant. Raises: NotFound."""
    async with _open_tenants(settings) as (_, table):
        tenant = await table.read(name)
    if as_json:
        return [_json(tenant)]
    fields = tenant_json(tenant)
    limits = fields.pop("limits")
    origins = fields.pop("origins")
    rows = {**fields, "origins": "those of the setting" if origins is None else " ".join(origins) or "none"}
    rows |= {name: "no limit" if value is None else f"{value:,}" for name, value in limits.items()}
    width = max(map(len, rows))
    return [f"{name:<{width}}  {value}" for name, value in rows.items()]


async def update_tenant(settings: Settings, name: str, fields: Mapping[str, Any]) -> list[str]:
    """Change a tenant. Return one line of text. `fields` are the members of `PatchTenant`.

    Raises: ValidationFailed, NotFound, TenantDeleted, AuthenticationOff, StoreUnavailable.
    """
    return await _change(settings, name, parse_tenant_changes(name, parse_body(PatchTenant, dict(fields))))


async def set_tenant_status(settings: Settings, name: str, status: TenantStatus) -> list[str]:
    """Suspend or activate a tenant. Return one line of text.

    Raises: Forbidden for the default tenant, and the errors of `update_tenant`.
    """
    return await _change(settings, name, TenantChanges(status=status))


async def delete_tenant(settings: Settings, name: str) -> list[str]:
    """Close a tenant, and enqueue the deletion of its data. Return one line of text.

    Raises: Forbidden for the default tenant, NotFound, AuthenticationOff, StoreUnavailable.
    """
    async with _open_tenants(settings) as (tenants, _):
        return [_line(await tenants.delete(name))]


async def wait_for_deletion(settings: Settings, name: str, progress: Progress = NO_PROGRESS) -> list[str]:
    """Wait until all data of a tenant are deleted. Return one line of text. `progress` gets the status meanwhile.

    Raises: NotFound, AuthenticationOff, StoreUnavailable.
    """
    async with _open_tenants(settings) as (_, table):
        while (tenant := await table.read(name)).status != "deleted":
            progress.report(f"tenant {name} is {tenant.status}")
            await asyncio.sleep(_POLL_S)
    return [_line(tenant)]


def parse_limits(texts: tuple[str, ...]) -> dict[str, Any]:
    """Return limits from texts such as `sockets=500`, or `sockets=default` for the default.

    Raises: ValidationFailed if a text has another form.
    """
    names = [each.name for each in TENANT_LIMITS]
    limits: dict[str, Any] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        try:
            if name not in names or not separator:
                raise ValueError
            limits[name] = None if value == "default" else orjson.loads(value)
        except ValueError:
            fault = f"should be <name>=<number> or <name>=default, with a name of {', '.join(names)}"
            raise ValidationFailed.at_path("--limit", fault) from None
    return limits


async def _change(settings: Settings, name: str, changes: TenantChanges) -> list[str]:
    async with _open_tenants(settings) as (tenants, _):
        return [_line(await tenants.change(name, changes))]


@asynccontextmanager
async def _open_tenants(settings: Settings) -> AsyncIterator[tuple[ActiveTenants, TenantTable]]:
    async with open_control_channel(settings) as (channel, pool):
        table = TenantTable(pool)
        yield ActiveTenants(table, channel, requires_registration=settings.tenants == "registered"), table


def _line(tenant: Tenant) -> str:
    values = asdict(tenant.limits)
    limits = " ".join(f"{name}={values[name]}" for name in values if name in tenant.limit_values)
    return "  ".join(each for each in (tenant.name, tenant.status, limits, tenant.description) if each)


def _json(tenant: Tenant) -> str:
    return orjson.dumps(tenant_json(tenant)).decode()
