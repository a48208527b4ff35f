"""State of the schema in Postgres, compared with the migrations of this release."""

from typing import Literal

from synckairos.errors import DatabaseNotMigrated, StoreRefused, StoreUnavailable
from synckairos.history.queries import HistoryQueries
from synckairos.postgres.migrate import newest_migration_number

SchemaState = Literal["current", "older", "newer", "unreachable"]
"""`older`: migrations of this release are missing. `newer`: a newer release has migrated the database."""


async def find_schema_state(queries: HistoryQueries) -> SchemaState:
    """Return the state of the schema, within about two seconds. Never raises.

    If the login may not read the table of migrations, the result is `current`.
    """
    try:
        ((applied,),) = await queries.run(None, "newest_migration", {})
    except DatabaseNotMigrated:
        return "older"
    except StoreRefused:
        return "current"
    except StoreUnavailable:
        return "unreachable"
    newest = newest_migration_number()
    if applied is None or applied < newest:
        return "older"
    return "newer" if applied > newest else "current"
