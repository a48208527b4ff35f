"""Rows with any values, for tests that concern all tables of tenants. The columns come from the catalog."""

from typing import Any

import psycopg

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, NULL), t.typtype::text
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = '' AND a.attnotnull
    AND NOT a.atthasdef
"""
_TABLES = """
SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'tenant'
    AND NOT a.attisdropped
ORDER BY 1
"""
_VALUES = {
    "bigint": "1", "integer": "1", "boolean": "false", "bytea": "sha256(gen_random_uuid()::text::bytea)",
    "json": "'{}'", "jsonb": "'{}'", "text": "gen_random_uuid()::text",
    "timestamp with time zone": "now()", "uuid": "gen_random_uuid()",
}  # fmt: skip


def find_tables_with_tenant(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the names of all tables that have a column `tenant`, as the catalog lists them."""
    return [name for (name,) in connection.execute(_TABLES)]


def insert_row(connection: psycopg.Connection[Any], table: str, tenant: str) -> None:
    """Insert a row of a tenant with any values. Foreign keys are not checked, and triggers do not run."""
    columns = {name: "'act'" if name == "entry" and table == "sync_access" else _VALUES.get(kind, "")
               for name, kind, _ in connection.execute(_COLUMNS, [table])}  # fmt: skip
    for name, kind, type_kind in connection.execute(_COLUMNS, [table]).fetchall():
        if (table, name) == ("sync_members", "role"):
            columns[name] = "'viewer'"
        if type_kind == "e":
            columns[name] = f"(enum_range(NULL::{kind}))[1]"
    columns["tenant"] = f"'{tenant}'"
    connection.execute("SELECT set_config('session_replication_role', 'replica', true)")
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(columns.values())})".encode())
    connection.execute("SELECT set_config('session_replication_role', 'origin', true)")
