"""Conversion of tenants from and to the formats of the REST API, for REST and the command line."""

import re
from typing import Any

from msgspec.structs import asdict

from synckairos.config.value_types import TENANT_NAME, TENANT_NAME_FAULT, check_origin
from synckairos.errors import ValidationFailed
from synckairos.principal import DEFAULT_TENANT
from synckairos.tenants.table import NewTenant, Tenant, TenantChanges
from synckairos.wire.instants import render_instant
from synckairos.wire.tenants import CreateTenant, PatchTenant, TenantLimitChanges


def parse_new_tenant(body: CreateTenant, actor: str) -> NewTenant:
    """Return the tenant that a body describes. `actor` is its creator.

    Raises: ValidationFailed if the name of the tenant or an origin has a wrong form, or if the tenant cannot have a
        limit.
    """
    if not re.fullmatch(TENANT_NAME, body.tenant):
        raise ValidationFailed.at_path("tenant", TENANT_NAME_FAULT)
    _check_limits(body.tenant, body.limits)
    return NewTenant(
        name=body.tenant,
        description=body.description,
        limit_values={name: value for name, value in _limit_changes(body.limits).items() if value is not None},
        origins=_parse_origins(body.origins),
        created_by=actor,
    )


def parse_tenant_changes(name: str, body: PatchTenant) -> TenantChanges:
    """Return the changes of the tenant `name` that a body describes.

    Raises: ValidationFailed if an origin has a wrong form, or if the tenant cannot have a limit.
    """
    _check_limits(name, body.limits)
    return TenantChanges(
        description=body.description,
        limit_values=_limit_changes(body.limits),
        origins=_parse_origins(body.origins),
        has_origins="origins" in body.model_fields_set,
    )


def tenant_json(tenant: Tenant) -> dict[str, Any]:
    """Return the JSON object of a tenant, as the REST API shows it."""
    return {
        "tenant": tenant.name,
        "status": tenant.status,
        "description": tenant.description,
        "limits": asdict(tenant.limits),
        "origins": tenant.origins,
        "created_at": render_instant(tenant.created_at_ms),
        "created_by": tenant.created_by,
        "updated_at": render_instant(tenant.updated_at_ms),
    }


def _check_limits(tenant: str, limits: TenantLimitChanges | None) -> None:
    """Raise ValidationFailed if the default tenant has a limit that only other tenants can have."""
    if tenant == DEFAULT_TENANT and limits is not None and limits.outbox_share is not None:
        # Entries of the default tenant are not counted, so that its commits cost no more than in earlier releases.
        raise ValidationFailed.at_path("limits.outbox_share", "cannot be set for the default tenant")


def _limit_changes(limits: TenantLimitChanges | None) -> dict[str, int | None]:
    """Return the values of the limits in a body. None sets the default again."""
    return {} if limits is None else {name: getattr(limits, name) for name in sorted(limits.model_fields_set)}


def _parse_origins(origins: list[str] | None) -> tuple[str, ...] | None:
    """Return the origins of a body without repetitions. Raises: ValidationFailed if one is not an origin."""
    for at, origin in enumerate(origins or ()):
        try:
            check_origin(origin)
        except ValueError as fault:
            raise ValidationFailed.at_path(f"origins[{at}]", str(fault)) from None
    return None if origins is None else tuple(dict.fromkeys(origins))
