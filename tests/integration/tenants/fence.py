"""The fence between tenants in a test's database: forced row-level security, which a second tenant requires.

A new database has it. `tests.databases.SERVING_LOGIN` is a login that it limits, unlike the superuser of the tests.
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
    async with await psycopg.AsyncConnection.connect(settings.schema_url, autocommit=True) as database:
        await database.execute(statement.encode())
