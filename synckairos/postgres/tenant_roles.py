"""The two roles of Postgres for transactions, the privileges that each role has, and the logins that may use the roles.

Neither role can log in, bypass row-level security, or own a table. A login that is not allowed to create roles gets the
statements for a database administrator.
"""

from collections.abc import Iterable, Mapping, Sequence

import psycopg
from psycopg.errors import DuplicateObject, InsufficientPrivilege, InvalidParameterValue, UniqueViolation
from psycopg.sql import SQL, Identifier

from synckairos.errors import StoreMisconfigured, StoreRefused, StoreUnavailable
from synckairos.postgres.access import SERVER_ROLE, WORKER_ROLE, cross_tenant_access, tenant_access
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import DEFAULT_TENANT

_READ = ("SELECT",)
_ADD = ("SELECT", "INSERT", "UPDATE")
_ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")

TABLES_OF_TENANTS: Mapping[str, Sequence[str]] = {
    "sync_events": _READ,
    "sync_sessions": _READ,
    "sync_labels": _READ,
    "sync_participants": _READ,
    "sync_conflicts": _READ,
    "sync_charges": _READ,
    "sync_further_charges": _READ,
    "sync_archives": _READ,
    "sync_access": _ADD,
    "sync_revocations": _READ,
    "sync_signing_keys": _ALL,
    "sync_credentials": _ALL,
    "sync_members": _ALL,
    "sync_member_revisions": _ADD,
    "webhook_endpoints": _ALL,
    "webhook_secrets": _ALL,
    "webhook_deliveries": _ALL,
    "webhook_attempts": _ALL,
    "webhook_answers": _ALL,
    "background_jobs": _READ,
}
"""Tables whose rows belong to tenants: the privileges of the server's role. The worker's role has all four."""

TABLES_WITHOUT_TENANT: Mapping[str, str] = {
    "sync_migrations": "describes the schema",
    "webhook_tally": "counts attempts of all tenants, for the metrics",
    "job_tally": "counts attempts of all tenants, for the metrics",
    "sync_tenants": "describes the tenants, and operators administer it",
}
"""Tables whose rows belong to no tenant, with the reason. The server's role has no privileges on them."""

_MISSING_PRIVILEGES = """
SELECT format('%%I.%%I', n.nspname, c.relname), wanted.privileges, r.rolname
FROM unnest(%(tables)s::text[], %(roles)s::text[], %(privileges)s::text[]) AS wanted (name, role, privileges)
JOIN pg_class AS c ON c.oid = to_regclass(wanted.name)
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_roles AS r ON r.rolname = wanted.role
WHERE NOT (
    SELECT bool_and(has_table_privilege(r.oid, c.oid, each.privilege))
    FROM unnest(string_to_array(wanted.privileges, ', ')) AS each (privilege)
)
"""
_SEQUENCES = """
SELECT DISTINCT format('%%I.%%I', n.nspname, s.relname)
FROM unnest(%s::text[]) AS wanted (name)
JOIN pg_depend AS d ON d.refobjid = to_regclass(wanted.name) AND d.classid = 'pg_class'::regclass
JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace AS n ON n.oid = s.relnamespace
"""
_LOGINS = """
SELECT login.rolname, (
    SELECT count(*) FROM pg_roles AS role
    WHERE role.rolname = ANY(%(roles)s) AND pg_has_role(login.oid, role.oid, %(right)s)
)
FROM pg_roles AS login
WHERE login.rolname = session_user OR login.rolname = ANY(%(logins)s)
ORDER BY 1
"""
_UNUSABLE = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND (rolsuper OR rolbypassrls)"
_ROLES = (SERVER_ROLE, WORKER_ROLE)
_INHERITANCE_VERSION = 160_000
"""First version of Postgres in which a membership can leave out the privileges of the role until it is set."""


async def require_roles(pool: PostgresPool) -> None:
    """Check that the login of a pool may use both roles. Do nothing if Postgres is unreachable.

    Raises: StoreMisconfigured if it may not. The pool must require the roles.
    """
    try:
        for access in (cross_tenant_access(), tenant_access(DEFAULT_TENANT)):
            await pool.check_reachable(access)
    except (StoreRefused, InvalidParameterValue) as fault:
        raise StoreMisconfigured(
            f"The login of DATABASE_URL may not use the roles {SERVER_ROLE} and {WORKER_ROLE} of Postgres, which"
            " SYNCKAIROS_AUTH=required needs. Run `synckairos migrate`: it creates and grants them, or prints the"
            " statements for a database administrator"
        ) from fault
    except StoreUnavailable:
        return


async def find_missing_roles(connection: psycopg.AsyncConnection) -> list[str]:
    """Return the statements that would let the login of `connection` use both roles. Run none of them."""
    values = {"logins": [], "roles": list(_ROLES), "right": _right(connection)}
    for login, count in await (await connection.execute(_LOGINS, values)).fetchall():
        if count < len(_ROLES):
            missing = [name for name in _ROLES if not await _exists(connection, name)]
            return [*map(_render_role, missing), _render_membership(connection, login)]
    return []


def _right(connection: psycopg.AsyncConnection) -> str:
    """Return the right that a login needs on a role to set it.

    From Postgres 16 on, a login that creates a role becomes its member, but may not set it.
    """
    return "SET" if connection.info.server_version >= _INHERITANCE_VERSION else "MEMBER"


def _render_role(name: str) -> str:
    return f"CREATE ROLE {name} NOLOGIN NOBYPASSRLS"


async def complete_roles(connection: psycopg.AsyncConnection, logins: Iterable[str]) -> list[str]:
    """Create the missing roles, and grant them to the login of `connection` and to `logins`.

    Return the statements that this login is not allowed to run, for a database administrator. The list is empty if all
    roles are complete.
    """
    statements: list[str] = []
    for name in _ROLES:
        if not await _exists(connection, name):
            # The role of an earlier attempt, or of another database of the cluster, can appear in the meantime.
            await _try_to_run(connection, _render_role(name), statements)
    for (name,) in await (await connection.execute(_UNUSABLE, [list(_ROLES)])).fetchall():
        statements.append(f"ALTER ROLE {name} NOSUPERUSER NOBYPASSRLS")
    values = {"logins": list(logins), "roles": list(_ROLES), "right": _right(connection)}
    for login, count in await (await connection.execute(_LOGINS, values)).fetchall():
        if count < len(_ROLES):
            await _try_to_run(connection, _render_membership(connection, login), statements)
    return list(dict.fromkeys(statements))


async def complete_privileges(connection: psycopg.AsyncConnection) -> None:
    """Grant the roles their missing privileges on the tables. The login of `connection` must own the tables.

    Raises: psycopg.errors.InsufficientPrivilege if it does not.
    """
    wanted = [(name, SERVER_ROLE, ", ".join(privileges)) for name, privileges in TABLES_OF_TENANTS.items()]
    wanted += [(name, WORKER_ROLE, ", ".join(_ALL)) for name in (*TABLES_OF_TENANTS, *TABLES_WITHOUT_TENANT)]
    tables, roles, privileges = (list(each) for each in zip(*wanted, strict=True))
    values = {"tables": tables, "roles": roles, "privileges": privileges}
    missing = await (await connection.execute(_MISSING_PRIVILEGES, values)).fetchall()
    if not missing:
        return
    async with connection.transaction():
        schema = await (await connection.execute("SELECT current_schema()")).fetchone()
        assert schema is not None
        for role in _ROLES:
            await connection.execute(
                SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(schema[0]), Identifier(role))
            )
        for table, wanted_privileges, role in missing:
            await connection.execute(f"GRANT {wanted_privileges} ON {table} TO {role}".encode())
        # pg_dump as the worker's role also reads the sequences.
        for (sequence,) in await (await connection.execute(_SEQUENCES, [tables])).fetchall():
            await connection.execute(f"GRANT SELECT ON SEQUENCE {sequence} TO {WORKER_ROLE}".encode())


async def _exists(connection: psycopg.AsyncConnection, role: str) -> bool:
    found = await (await connection.execute("SELECT to_regrole(%s) IS NOT NULL", [role])).fetchone()
    return found == (True,)


async def _try_to_run(connection: psycopg.AsyncConnection, statement: str, refused: list[str]) -> None:
    """Run a statement in a transaction of its own. If the login is not allowed to run it, add it to `refused`."""
    if refused:  # the statement can depend on the refused statements
        refused.append(statement)
        return
    try:
        async with connection.transaction():
            await connection.execute(statement.encode())
    except InsufficientPrivilege:
        refused.append(statement)
    except (DuplicateObject, UniqueViolation):
        pass  # another process has created the role


def _render_membership(connection: psycopg.AsyncConnection, login: str) -> str:
    """Return the statement that lets a login use both roles. Without SET ROLE it has none of their privileges."""
    option = " WITH INHERIT FALSE" if connection.info.server_version >= _INHERITANCE_VERSION else ""
    names = SQL(", ").join(map(Identifier, _ROLES))
    return SQL("GRANT {} TO {}").format(names, Identifier(login)).as_string() + option
