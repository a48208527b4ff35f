"""The table of members in Postgres: puts, deletes and reads members, and counts the changes of each tenant."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from synckairos.errors import TooManyMembers
from synckairos.history.page_cursor import parse_cursor, render_cursor
from synckairos.history.records import Page
from synckairos.postgres.access import cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row, Transaction
from synckairos.principal import Role

MAX_ROWS_OF_SUBJECT = 10_000
"""Maximum number of rows of one subject."""

MAX_ROWS_OF_READ = 20_000
"""Maximum number of rows that one query for the sets of subjects reads. It is above `MAX_ROWS_OF_SUBJECT`."""

CHANGE_TIMEOUT_S = 30.0
"""Seconds after which a change of members fails. A change of 10,000 rows takes about a second."""


class Member(Struct, frozen=True):
    """A row: the role of a subject on a resource of its tenant.

    - `subject`: the claim `sub` of a user, or `key:<key id>` for an API key.
    - `resource`: the id of a session (lower-case UUID), or `label:<key>=<value>` for all sessions with this label.
    - `role`: `viewer`, `participant` or `controller`.
    """

    subject: str
    resource: str
    role: Role


class MembersChanged(Struct, frozen=True, kw_only=True):
    """The result of a change of members.

    - `tenant`: the tenant whose members were changed.
    - `revision`: the number of the last change of the tenant's members, from 1. 0: the tenant never had a member.
    - `subjects`: the subjects whose members were changed. It is empty if nothing has changed.
    """

    tenant: str
    revision: int
    subjects: tuple[str, ...]


class MemberSets(Struct, frozen=True, kw_only=True):
    """The members of some subjects of one tenant, as they were at a revision.

    - `revision`: as in `MembersChanged`.
    - `by_subject`: the role by resource, by subject. It has each subject that was read, also those without a row.
    """

    revision: int
    by_subject: Mapping[str, Mapping[str, Role]]


class MemberTable:
    """Access to the table `sync_members` in Postgres. A change raises the revision of its tenant.

    All methods raise StoreUnavailable if Postgres is unreachable, too slow or not migrated.
    """

    def __init__(self, pool: PostgresPool, *, max_rows_of_subject: int = MAX_ROWS_OF_SUBJECT) -> None:
        self._transactions = TimeLimitedTransactions(pool)
        self._max_rows_of_subject = max_rows_of_subject

    async def put(self, tenant: str, members: Sequence[Member]) -> MembersChanged:
        """Add rows, or replace the roles of rows that exist, in one transaction. All rows or none are put.

        `members` has at most one row of a subject for a resource.

        Raises: TooManyMembers if a subject would have more rows than the maximum.
        """

        async def run(transaction: Transaction) -> MembersChanged:
            await _fetch(transaction, "lock_tenant", {"tenant": tenant})
            values = {
                "tenant": tenant,
                "subjects": [each.subject for each in members],
                "resources": [each.resource for each in members],
                "roles": [each.role for each in members],
            }
            subjects = [row[0] for row in await _fetch(transaction, "put", values)]
            limits = {"tenant": tenant, "subjects": subjects, "max_rows": self._max_rows_of_subject}
            if subjects and (rows := await _fetch(transaction, "find_subject_over_limit", limits)):
                raise TooManyMembers(rows[0][0], self._max_rows_of_subject)
            return await finish_change(transaction, tenant, subjects)

        return await self._transactions.transact(tenant_access(tenant), run, CHANGE_TIMEOUT_S)

    async def delete(self, tenant: str, subject: str, resource: str) -> MembersChanged:
        """Delete the row of a subject for a resource. Without such a row, nothing changes."""

        async def run(transaction: Transaction) -> MembersChanged:
            await _fetch(transaction, "lock_tenant", {"tenant": tenant})
            values = {"tenant": tenant, "subject": subject, "resource": resource}
            return await finish_change(
                transaction, tenant, [row[0] for row in await _fetch(transaction, "delete", values)]
            )

        return await self._transactions.transact(tenant_access(tenant), run)

    async def read_page(
        self, tenant: str, *, subject: str | None, resource: str | None, cursor: str | None, limit: int
    ) -> Page[Member]:
        """Return a page of at most `limit` rows of a tenant, ordered by subject and resource in bytes of UTF-8.

        `subject` and `resource` limit the rows, None does not. `cursor` is the `next_cursor` of the previous page; None
        for the first page.

        Raises: ValidationFailed if the cursor is invalid.
        """
        after_subject, after_resource = parse_cursor(cursor, str, str) if cursor else ("", "")
        values = {
            "tenant": tenant,
            "subject": subject,
            "resource": resource,
            "after_subject": after_subject,
            "after_resource": after_resource,
            "limit": limit + 1,
        }
        if subject is not None and resource is not None:
            rows = [] if cursor else await self._read(tenant, "read_one", values)
        elif subject is not None:
            rows = await self._read(tenant, "read_page_of_subject", values)
        elif resource is not None:
            rows = await self._read(tenant, "read_page_of_resource", values)
        else:
            rows = await self._read(tenant, "read_page", values)
        items = tuple(Member(*row) for row in rows[:limit])
        return Page(items, render_cursor(items[-1].subject, items[-1].resource) if len(rows) > limit else None)

    async def read_sets(self, tenant: str, subjects: Collection[str]) -> MemberSets:
        """Return the members of at least one of `subjects`. One query.

        If the rows of all subjects are more than `MAX_ROWS_OF_READ`, the result lacks some of the subjects. Read these
        again.
        """
        wanted = sorted(subjects)
        values = {"tenant": tenant, "subjects": wanted, "limit": MAX_ROWS_OF_READ + 1}
        rows = await self._read(tenant, "read_sets", values)
        if len(rows) > MAX_ROWS_OF_READ:
            # The rows of the last subject are possibly not complete. Its other rows and later subjects were cut off.
            last = rows[-1][1]
            wanted = [each for each in wanted if each < last]
            rows = [row for row in rows if row[1] < last]
        found: dict[str, dict[str, Role]] = {each: {} for each in wanted}
        for _, subject, resource, role in rows:
            if subject is not None:
                found[subject][resource] = role
        return MemberSets(revision=rows[0][0], by_subject=found)

    async def read_revisions(self, tenants: Collection[str]) -> Mapping[str, int]:
        """Return the revisions of tenants. A tenant that never had a member has the revision 0."""
        rows = await self._transactions.fetch(
            cross_tenant_access(), _statement("read_revisions"), {"tenants": [*tenants]}
        )
        return dict.fromkeys(tenants, 0) | dict(rows)

    async def names_label(self, tenant: str, labels: Collection[tuple[str, str]]) -> bool:
        """Return whether a row of the tenant names one of these labels, which are pairs of key and value."""
        resources = [f"label:{key}={value}" for key, value in labels]
        ((found,),) = await self._read(tenant, "names_resource", {"tenant": tenant, "resources": resources})
        return found is True

    async def _read(self, tenant: str, name: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._transactions.fetch(tenant_access(tenant), _statement(name), values)


async def finish_change(transaction: Transaction, tenant: str, subjects: Sequence[str]) -> MembersChanged:
    """Return the result of a change of the members of `subjects`, and raise the revision if they are not empty.

    Call this as the last step of the transaction that changes the rows, after the statement `lock_tenant`.
    """
    rows = await _fetch(transaction, "raise_revision" if subjects else "read_revision", {"tenant": tenant})
    return MembersChanged(tenant=tenant, revision=rows[0][0] if rows else 0, subjects=tuple(subjects))


def _statement(name: str) -> bytes:
    return load_statements("members.sql", __package__)[name]


async def _fetch(transaction: Transaction, name: str, values: Mapping[str, Any]) -> list[Row]:
    return await transaction.fetch(_statement(name), values)
