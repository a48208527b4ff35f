"""Deletion of the rows of one tenant in Postgres, from all tables whose rows belong to tenants."""

from collections.abc import Mapping
from typing import Any

from psycopg.sql import SQL, Composed, Identifier

from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from synckairos.postgres.tenant_roles import TABLES_OF_TENANTS
from synckairos.postgres.transaction import Statement
from synckairos.principal import DEFAULT_TENANT

ROWS_AT_ONCE = 5_000
"""Maximum number of rows that one transaction deletes, so that no transaction holds locks for long."""

_DELETE_SOME = SQL(
    "WITH gone AS (DELETE FROM {table} WHERE ctid = ANY (ARRAY("
    "SELECT ctid FROM {table} WHERE tenant = %(tenant)s AND {condition} LIMIT %(limit)s"
    ")) RETURNING 1) SELECT count(*) FROM gone"
)
_NO_CONDITION = SQL("true")
_CONDITIONS: Mapping[str, SQL] = {"background_jobs": SQL("status <> 'running'")}
"""Rows of a table that can be deleted. A worker changes the row of its job until the job ends."""

_RUNNING_JOBS = b"SELECT count(*) FROM background_jobs WHERE tenant = %(tenant)s AND status = 'running'"


class TenantRows:
    """The rows of single tenants. All methods raise StoreUnavailable if Postgres is unreachable or not migrated.

    The transactions of `pool` must have the access to all tenants.
    """

    def __init__(self, pool: PostgresPool, *, rows_at_once: int = ROWS_AT_ONCE) -> None:
        self._pool = pool
        self._rows_at_once = rows_at_once

    async def delete_from(self, table: str, tenant: str) -> int:
        """Delete the rows of a tenant from one table of `TABLES_OF_TENANTS`, and return their number.

        Each transaction deletes at most `rows_at_once` rows. Rows that are written meanwhile can stay. Running jobs
        stay.

        Raises: ValueError for the default tenant.
        """
        if tenant == DEFAULT_TENANT:
            raise ValueError("the rows of the default tenant are not deleted")
        statement = _DELETE_SOME.format(table=Identifier(table), condition=_CONDITIONS.get(table, _NO_CONDITION))
        deleted = 0
        while some := await self._count(statement, {"tenant": tenant, "limit": self._rows_at_once}):
            deleted += some
        return deleted

    async def count_running_jobs(self, tenant: str) -> int:
        """Return the number of jobs of a tenant that workers run now."""
        return await self._count(_RUNNING_JOBS, {"tenant": tenant})

    async def _count(self, statement: Statement, values: Mapping[str, Any]) -> int:
        with translate_postgres_errors():
            ((count,),) = await self._pool.fetch(statement, values)
        return int(count)


def has_rows_sql(tenant: str) -> Composed:
    """Return the SQL condition that a tenant has rows in a table of tenants. `tenant` is the SQL of its name."""
    exists = (
        SQL("EXISTS (SELECT FROM {} AS r WHERE r.tenant = {})").format(Identifier(table), SQL(tenant))
        for table in TABLES_OF_TENANTS
    )
    return SQL("(") + SQL(" OR ").join(exists) + SQL(")")
