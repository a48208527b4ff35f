"""The fence between tenants in a test's database: forced row-level security, which a second tenant requires.

The role of the tests is a superuser, which row-level security does not limit.
"""

import psycopg

from synckairos.config import Settings

TABLES = """
SELECT c.oid::regclass::text
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
WHERE
    c.relkind IN ('r', 'p')
    AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'sync_events'::regclass)
"""


async def raise_fence(settings: Settings) -> None:
    """Force row-level security on all tables with a tenant, so that instances accept credentials of other tenants."""
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        for table in ("sync_sessions", "sync_events"):
            await database.execute(
                f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT 'default'"
            )
        for (table,) in await (await database.execute(TABLES)).fetchall():
            await database.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


async def lower_fence(settings: Settings) -> None:
    """Undo the fence, as in a database that older instances still use. Instances then refuse other tenants."""
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        await database.execute("ALTER TABLE sync_events NO FORCE ROW LEVEL SECURITY")
