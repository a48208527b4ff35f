"""The fence between tenants: forced row-level security on each table whose rows belong to tenants.

The fence is the second phase of the migration to tenants. It removes the keys without a tenant, on which instances of
older releases rely. So it is raised only if no such instance runs. Until then the database has one tenant.
"""

from collections.abc import Awaitable, Callable, Iterable

import psycopg

from synckairos.postgres.access import SERVER_ROLE, WORKER_ROLE
from synckairos.postgres.online_migration import run_paragraph
from synckairos.postgres.tenant_roles import TABLES_OF_TENANTS, complete_privileges, complete_roles

FindOlderInstances = Callable[[], Awaitable[list[str]]]
"""A function that watches for half a minute, and returns descriptions of the instances of older releases that run."""

_KEYS = {
    "sync_events": "sync_events_of_tenant",
    "sync_sessions": "sync_sessions_of_tenant",
    "sync_participants": "sync_participants_of_tenant",
    "sync_conflicts": "sync_conflicts_of_tenant",
    "sync_charges": "sync_charges_of_tenant",
    "sync_further_charges": "sync_further_charges_of_tenant",
    "sync_archives": "sync_archives_of_tenant",
    "webhook_answers": "webhook_answers_of_tenant",
}
"""Tables whose primary key gets the tenant, with the unique index of the first phase that becomes this key."""

_OLD_INDEXES = (
    "background_jobs_once",
    "sync_charges_by_participant",
    "sync_events_commands",
    "sync_events_paused",
    "sync_events_running",
    "sync_events_trail",
    "sync_further_charges_by_participant",
    "sync_participants_history",
    "sync_sessions_by_label",
    "sync_sessions_by_status",
    "sync_sessions_listed",
)
"""Indexes without a tenant, which other indexes of the first phase replace."""

_IS_FENCED = """
SELECT coalesce(bool_and(c.relrowsecurity AND c.relforcerowsecurity), false)
FROM unnest(%s::text[]) AS wanted (name)
JOIN pg_class AS c ON c.oid = to_regclass(wanted.name)
"""
_IS_BRIDGED = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'from_v2' AND tgrelid = 'sync_sessions'::regclass)
"""
_TENANT = "tenant = (SELECT synckairos_tenant())"


async def complete_fence(
    connection: psycopg.AsyncConnection,
    logins: Iterable[str],
    find_older_instances: FindOlderInstances | None,
    on_notice: Callable[[str], None],
) -> None:
    """Complete the roles, their privileges and the fence, as far as this is possible now.

    `connection` is in autocommit mode. Its login owns the tables. `logins` are further logins that get the roles.
    `find_older_instances` is None if nothing is known about instances of older releases: an unfenced database is then
    not fenced. `on_notice` is called with a text for each step that was done, or that the operator must take.

    Raises: psycopg.errors.InsufficientPrivilege if a privilege or a policy is missing, and the login is not the owner.
    """
    if statements := await complete_roles(connection, logins):
        on_notice(
            "the tenants are not separated in the database yet. Run these statements as a role that can create roles,"
            " and then `synckairos migrate` again: " + "; ".join(statements)
        )
        return
    await complete_privileges(connection)
    if await is_fenced(connection):
        return
    if await _is_bridged(connection):
        on_notice("the tenants are not separated in the database before `synckairos import-v2 --finish`")
        return
    if find_older_instances is None:
        on_notice("the tenants are not separated in the database yet: run `synckairos migrate`")
        return
    if older := await find_older_instances():
        on_notice(
            "the tenants are not separated in the database yet, because older releases run: "
            + ", ".join(older)
            + ". Stop them, and run `synckairos migrate` again"
        )
        return
    await raise_fence(connection)
    on_notice("separated the tenants in the database by row-level security")


async def is_fenced(connection: psycopg.AsyncConnection) -> bool:
    """Return whether row-level security is forced on each table of tenants. The connection can use any role."""
    return await (await connection.execute(_IS_FENCED, [list(TABLES_OF_TENANTS)])).fetchone() == (True,)


async def raise_fence(connection: psycopg.AsyncConnection) -> None:
    """Replace the keys without a tenant, and force row-level security. Steps of an earlier attempt are left out.

    `connection` is in autocommit mode, and its login owns the tables. Each table is locked for a moment.
    """
    for table, index in _KEYS.items():
        if await _exists(connection, index):
            await run_paragraph(
                connection,
                f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_pkey;"
                f"ALTER TABLE {table} ADD CONSTRAINT {table}_pkey PRIMARY KEY USING INDEX {index}",
            )
    for table in TABLES_OF_TENANTS:
        await run_paragraph(connection, _render_policies(table))
    for index in _OLD_INDEXES:
        await run_paragraph(connection, f"DROP INDEX IF EXISTS {index}")
    await run_paragraph(connection, "DROP VIEW IF EXISTS sync_all_charges")
    await run_paragraph(connection, "DROP FUNCTION IF EXISTS sync_document(uuid, text, bigint)")


def _render_policies(table: str) -> str:
    """Return the statements that let each role reach its rows of a table. No other role reaches a row."""
    return (
        f"DROP POLICY IF EXISTS {SERVER_ROLE} ON {table};"
        f"DROP POLICY IF EXISTS {WORKER_ROLE} ON {table};"
        f"CREATE POLICY {SERVER_ROLE} ON {table} TO {SERVER_ROLE} USING ({_TENANT}) WITH CHECK ({_TENANT});"
        f"CREATE POLICY {WORKER_ROLE} ON {table} TO {WORKER_ROLE} USING (true) WITH CHECK (true);"
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    )


async def _is_bridged(connection: psycopg.AsyncConnection) -> bool:
    """Return whether SyncKairos v2 still writes to this database. It relies on the keys without a tenant."""
    return await (await connection.execute(_IS_BRIDGED)).fetchone() == (True,)


async def _exists(connection: psycopg.AsyncConnection, relation: str) -> bool:
    return await (await connection.execute("SELECT to_regclass(%s) IS NOT NULL", [relation])).fetchone() == (True,)
