"""Access of a transaction: the role of Postgres that runs it, and the tenant whose rows it may reach.

Row-level security uses both values. So a query that forgets the tenant reads no rows of another tenant.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from synckairos.config.value_types import TENANT_NAME

SERVER_ROLE: Final = "synckairos_server"
"""Role of transactions for one tenant. It reads and writes only rows of this tenant."""

WORKER_ROLE: Final = "synckairos_worker"
"""Role of transactions that concern the rows of all tenants, such as those of the drain."""

TENANT_SETTING = "synckairos.tenant"
"""Name of the setting of Postgres that has the tenant of the transaction. The worker's role leaves it empty."""

_TENANT = re.compile(TENANT_NAME)


@dataclass(frozen=True, slots=True)
class Access:
    """Role and tenant of a transaction. `tenant` is empty for the worker's role.

    Made only by `tenant_access` and `cross_tenant_access`.
    """

    role: Literal["synckairos_server", "synckairos_worker"]
    tenant: str


@lru_cache(maxsize=1024)
def tenant_access(tenant: str) -> Access:
    """Return the access to the rows of one tenant.

    Raises: ValueError if `tenant` is not the name of a tenant.
    """
    if not _TENANT.fullmatch(tenant):
        raise ValueError(f"{tenant!r} is no name of a tenant")
    return Access(SERVER_ROLE, tenant)


def cross_tenant_access() -> Access:
    """Return the access to the rows of all tenants. This is the only way to cross tenants; a test lists its callers."""
    return _CROSS_TENANT


_CROSS_TENANT = Access(WORKER_ROLE, "")
