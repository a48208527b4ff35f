"""Privileges of the role in the database: one sentence with the statement that grants the missing ones."""

import re
from pathlib import Path

import psycopg
from psycopg.errors import InsufficientPrivilege, InvalidSchemaName
from psycopg.sql import SQL, Identifier

from synckairos.errors import SyncKairosError
from synckairos.postgres.migrations_dir import migrations_dir

_TABLE = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)
_MISSING = """
SELECT current_user, n.nspname, p.privilege, array_agg(c.relname ORDER BY c.relname)
FROM unnest(%s::text[]) AS wanted (name)
JOIN pg_class AS c ON c.oid = to_regclass(wanted.name)
JOIN pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) WITH ORDINALITY AS p (privilege, place)
WHERE NOT has_table_privilege(c.oid, p.privilege)
GROUP BY 1, 2, 3, p.place
ORDER BY p.place
"""
_CREATE = """
SELECT current_user, name, has_schema_privilege(name, 'CREATE')
FROM coalesce(current_schema(), 'public') AS name
"""
_REFUSED = """
SELECT
    current_user, name, has_schema_privilege(name, 'CREATE'),
    coalesce(has_table_privilege(to_regclass('sync_migrations'), 'SELECT'), true)
FROM coalesce(current_schema(), 'public') AS name
"""


class PrivilegeMissing(SyncKairosError):
    """The role of the database URL lacks a privilege to change the schema. The message has the remedy."""

    code = "PRIVILEGE_MISSING"


def render_create_grant(role: str, schema: str) -> str:
    """Return the GRANT statement that would let a role create tables. Run nothing."""
    return SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(Identifier(schema), Identifier(role)).as_string()


async def find_missing_create_grant(connection: psycopg.AsyncConnection) -> str | None:
    """Return the GRANT statement that would let the connected role create tables. Run no GRANT.

    Return None if the role already has this privilege.
    """
    found = await (await connection.execute(_CREATE)).fetchone()
    assert found is not None
    role, schema, is_granted = found
    return None if is_granted else render_create_grant(role, schema)


async def find_missing_grants(connection: psycopg.AsyncConnection, directory: Path | None = None) -> list[str]:
    """Return the GRANT statements for the privileges that the connected role lacks on tables of the migrations.

    `directory` is the folder of the migration files; None means `migrations_dir()`. The connection must use the role of
    a server or worker. Return an empty list if this role lacks no privilege. The function runs no GRANT.
    """
    tables = [
        name for path in sorted((directory or migrations_dir()).glob("*.sql")) for name in tables_created_by(path)
    ]
    rows = await (await connection.execute(_MISSING, [tables])).fetchall()
    by_tables: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for role, schema, privilege, names in rows:
        by_tables.setdefault((role, schema, tuple(names)), []).append(privilege)
    return [
        SQL("GRANT {} ON {} TO {}")
        .format(
            SQL(", ").join(SQL(each) for each in privileges),
            SQL(", ").join(Identifier(schema, name) for name in names),
            Identifier(role),
        )
        .as_string()
        for (role, schema, names), privileges in by_tables.items()
    ]


def tables_created_by(migration: Path) -> list[str]:
    """Return the names of the tables that a migration creates."""
    return _TABLE.findall(migration.read_text())


async def explain_refusal(fault: InsufficientPrivilege | InvalidSchemaName, connection: psycopg.AsyncConnection) -> str:
    """Return one sentence that explains a refused change of the schema, with the GRANT statement that would allow it.

    The function reads the role's privileges from the database. The message of `fault` is not used, because it is in the
    language of the server.
    """
    found = await (await connection.execute(_REFUSED)).fetchone()
    assert found is not None
    role, schema, can_create, can_read = found
    message = fault.diag.message_primary or str(fault)
    if not can_read or (can_create and not isinstance(fault, InvalidSchemaName)):
        return f"The role {role} cannot change the schema: {message}. Connect as the owner of the tables"
    grant = render_create_grant(role, schema)
    return f"The role {role} cannot create tables: {message}. Run as the owner of the schema: {grant}"
