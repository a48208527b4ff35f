"""The fence between tenants in a test's database: forced row-level security, which a second tenant requires.

A new database has it. The role of the tests is a superuser, which row-level security does not limit.
"""

import psycopg

from synckairos.config import Settings


async def lower_fence(settings: Settings) -> None:
    """Undo the fence, as in a database that older instances still use. Instances then refuse other tenants."""
    await _execute(settings, "ALTER TABLE sync_events NO FORCE ROW LEVEL SECURITY")


async def raise_fence(settings: Settings) -> None:
    """Complete the fence after `lower_fence`."""
    await _execute(settings, "ALTER TABLE sync_events FORCE ROW LEVEL SECURITY")


async def _execute(settings: Settings, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as database:
        await database.execute(statement.encode())
