"""The table of tenants in Postgres: adds, reads and changes tenants."""

from collections.abc import Mapping
from typing import Any, Literal

import orjson
from msgspec import Struct
from msgspec.structs import asdict
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from synckairos.errors import IdempotencyKeyReused, NotFound, TenantDeleted, TenantExists, TooManyTenants
from synckairos.frozen_replace import replace
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.jobs.kinds import DELETE_TENANT
from synckairos.limits.tenant_limits import TenantLimits, tenant_limits
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row, Transaction
from synckairos.principal import DEFAULT_TENANT
from synckairos.tenants.stored_rows import has_rows_sql
from synckairos.wire.instants import datetime_to_ms

MAX_TENANTS = 10_000
"""Maximum number of tenants in the table, without deleted tenants."""

_MAX_SEQUENCE = 2**62
"""A number that is larger than each `sequence`."""

TenantStatus = Literal["active", "suspended", "deleting", "deleted"]
"""Status of a tenant. Only credentials of an `active` tenant are accepted."""


class Tenant(Struct, frozen=True, kw_only=True):
    """A row: a tenant that an operator has created.

    - `sequence`: grows with each tenant. It orders lists.
    - `revision`: number of the change, from 1. It orders the announcements of changes.
    - `limit_values`: the limits that an operator has set, by name. `limits` also has the defaults.
    - `origins`: origins of the tenant's web pages. None: the origins of the setting.
    - `created_at_ms`, `updated_at_ms`: ms since the Unix epoch, by the time of Redis.
    - `created_by`: the actor that created the tenant.
    """

    name: str
    sequence: int
    status: TenantStatus
    revision: int
    description: str
    limit_values: Mapping[str, int]
    origins: tuple[str, ...] | None
    created_at_ms: int
    created_by: str
    updated_at_ms: int

    @property
    def limits(self) -> TenantLimits:
        """Return the values of all limits of the tenant."""
        return tenant_limits(self.name, self.limit_values)


class NewTenant(Struct, frozen=True, kw_only=True):
    """A tenant to add. `request_id` and `request_fingerprint` identify a repeated request; None without them."""

    name: str
    description: str
    limit_values: Mapping[str, int]
    origins: tuple[str, ...] | None
    created_by: str
    request_id: str | None = None
    request_fingerprint: str | None = None


class TenantChanges(Struct, frozen=True, kw_only=True):
    """Changes of a tenant.

    - `status`, `description`: the new value, None for no change.
    - `limit_values`: new values of limits by name. The value None removes a limit's value, so that its default holds.
    - `origins`: the new origins, if `has_origins` is True.
    """

    status: TenantStatus | None = None
    description: str | None = None
    limit_values: Mapping[str, int | None] = {}
    origins: tuple[str, ...] | None = None
    has_origins: bool = False

    def apply(self, tenant: Tenant) -> Tenant:
        """Return the tenant after the changes, with the same revision."""
        limit_values = {**tenant.limit_values, **self.limit_values}
        return replace(
            tenant,
            status=self.status or tenant.status,
            description=tenant.description if self.description is None else self.description,
            limit_values={name: value for name, value in limit_values.items() if value is not None},
            origins=self.origins if self.has_origins else tenant.origins,
        )


class FoundDeletion(Struct, frozen=True):
    """A tenant whose deletion was requested, and that has no open job and no job that failed shortly before.

    `is_unfinished` is whether the deletion was not completed yet. `has_rows` is whether the tables of tenants have rows
    of the tenant. It is not checked for tenants whose deletion ended more than a day ago.
    """

    name: str
    is_unfinished: bool
    has_rows: bool


def deletion_job_name(tenant: str) -> str:
    """Return the text that identifies the job that deletes a tenant, so that a tenant has one open job of this kind."""
    return f"{DELETE_TENANT} {tenant}"


class TenantTable:
    """Access to the table `sync_tenants` in Postgres.

    `now_ms` is always the time of Redis in ms since the Unix epoch.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(self, pool: PostgresPool, *, max_tenants: int = MAX_TENANTS) -> None:
        self._transactions = TimeLimitedTransactions(pool)
        self._max_tenants = max_tenants

    async def add(self, tenant: NewTenant, now_ms: int) -> tuple[Tenant, bool]:
        """Add a tenant in one transaction. Return it, and whether an equal request added it before.

        Raises: TenantExists if there is or was a tenant with this name. TooManyTenants if the table has the maximum
            number of tenants. IdempotencyKeyReused if another request used the same `request_id`.
        """

        async def run(transaction: Transaction) -> tuple[Tenant, bool]:
            values = {**_columns(tenant), "now_ms": now_ms}
            await _fetch(transaction, "lock", {})
            if tenant.request_id is not None and (rows := await _fetch(transaction, "find_request", values)):
                *columns, fingerprint = rows[0]
                if fingerprint != tenant.request_fingerprint:
                    raise IdempotencyKeyReused
                return _parse_tenant(columns), True
            ((count, same),) = await _fetch(transaction, "count", values)
            if same:
                raise TenantExists(tenant.name)
            if count >= self._max_tenants:
                raise TooManyTenants(self._max_tenants)
            (row,) = await _fetch(transaction, "add", values)
            return _parse_tenant(row), False

        return await self._transactions.transact(cross_tenant_access(), run)

    async def read(self, name: str) -> Tenant:
        """Return a tenant. Raises: NotFound if the table has no such tenant."""
        rows = await self._run("read", {"name": name})
        if not rows:
            raise _not_found(name)
        return _parse_tenant(rows[0])

    async def is_deleted(self, name: str) -> bool:
        """Return whether a tenant is being deleted or was deleted. Return False if it was never registered."""
        try:
            return (await self.read(name)).status in ("deleting", "deleted")
        except NotFound:
            return False

    async def change(self, name: str, changes: TenantChanges, now_ms: int) -> Tenant:
        """Change a tenant in one transaction, and return it. A change to the same values keeps the revision.

        A deletion can only go on: from `deleting` to `deleted`.

        Raises: NotFound if the table has no such tenant. TenantDeleted if the deletion of the tenant has begun.
        """

        async def run(transaction: Transaction) -> Tenant:
            rows = await _fetch(transaction, "read_for_update", {"name": name})
            if not rows:
                raise _not_found(name)
            before = _parse_tenant(rows[0])
            after = changes.apply(before)
            if after == before:
                return before
            if before.status == "deleted" or (before.status == "deleting" and after.status != "deleted"):
                raise TenantDeleted(name)
            (row,) = await _fetch(transaction, "update", {**_columns(after), "now_ms": now_ms})
            return _parse_tenant(row)

        return await self._transactions.transact(cross_tenant_access(), run)

    async def begin_deletion(self, name: str, now_ms: int) -> Tenant:
        """Change the status of a tenant to `deleting`, enqueue the job that deletes its data, and return the tenant.

        Both happen in one transaction. Nothing changes if the tenant is deleted. If the deletion has begun, a job is
        enqueued unless there is an open job.

        Raises: NotFound if the table has no such tenant.
        """

        async def run(transaction: Transaction) -> Tenant:
            rows = await _fetch(transaction, "read_for_update", {"name": name})
            if not rows:
                raise _not_found(name)
            tenant = _parse_tenant(rows[0])
            if tenant.status == "deleted":
                return tenant
            if tenant.status != "deleting":
                after = replace(tenant, status="deleting")
                (row,) = await _fetch(transaction, "update", {**_columns(after), "now_ms": now_ms})
                tenant = _parse_tenant(row)
            job = {
                "tenant": DEFAULT_TENANT,
                "type": DELETE_TENANT,
                "params": Jsonb({"tenant": name}),
                "once": deletion_job_name(name),
            }
            await transaction.fetch(load_statements("jobs.sql", "synckairos.jobs")["add"], job)
            return tenant

        return await self._transactions.transact(cross_tenant_access(), run)

    async def find_deletions(self) -> list[FoundDeletion]:
        """Return the tenants whose deletion was requested, and that have no open job for it."""
        statement = SQL(load_statements("tenants.sql", __package__)["find_deletions"].decode()).format(
            has_rows=has_rows_sql("t.name")
        )
        values = {"type": DELETE_TENANT, "operator_tenant": DEFAULT_TENANT}
        return [FoundDeletion(*row) for row in await self._transactions.fetch(cross_tenant_access(), statement, values)]

    async def read_page(self, *, cursor: str | None, limit: int) -> Page[Tenant]:
        """Return a page of at most `limit` tenants, newest first, with deleted tenants.

        `cursor` is the `next_cursor` of the previous page; None for the first page.

        Raises: ValidationFailed if the cursor is invalid.
        """
        (before,) = parse_cursor(cursor, int) if cursor else (_MAX_SEQUENCE,)
        rows = await self._run("read_page", {"before": before, "limit": limit + 1})
        items = tuple(_parse_tenant(row) for row in rows[:limit])
        return Page(items, render_cursor(items[-1].sequence) if len(rows) > limit else None)

    async def read_all(self) -> tuple[list[Tenant], bool]:
        """Return all tenants, and whether Postgres separates tenants from each other (see `is_fenced` in the SQL)."""

        async def run(transaction: Transaction) -> tuple[list[Tenant], bool]:
            rows = await _fetch(transaction, "read_all", {})
            ((is_fenced,),) = await _fetch(transaction, "is_fenced", {})
            return [_parse_tenant(row) for row in rows], is_fenced is True

        return await self._transactions.transact(cross_tenant_access(), run)

    async def _run(self, name: str, values: Mapping[str, Any]) -> list[Row]:
        statement = load_statements("tenants.sql", __package__)[name]
        return await self._transactions.fetch(cross_tenant_access(), statement, values)


async def _fetch(transaction: Transaction, name: str, values: Mapping[str, Any]) -> list[Row]:
    return await transaction.fetch(load_statements("tenants.sql", __package__)[name], values)


def _columns(tenant: Tenant | NewTenant) -> dict[str, Any]:
    values = asdict(tenant)
    origins = values["origins"]
    return {
        **values,
        "limits": orjson.dumps(dict(values["limit_values"])).decode(),
        "origins": None if origins is None else list(origins),
    }


def _parse_tenant(row: Row | list[Any]) -> Tenant:
    name, sequence, status, revision, description, limits, origins, created_at, created_by, updated_at = row
    return Tenant(
        name=name,
        sequence=sequence,
        status=status,
        revision=revision,
        description=description,
        limit_values=limits,
        origins=None if origins is None else tuple(origins),
        created_at_ms=datetime_to_ms(created_at),
        created_by=created_by,
        updated_at_ms=datetime_to_ms(updated_at),
    )


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no tenant {name}")
