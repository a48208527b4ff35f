"""COPY of event rows to Postgres, for the drain and the takeover of v2's database."""

from collections.abc import Iterable

from psycopg import AsyncCopy

from synckairos.audit.entry_rows import EventRow

COPY_EVENTS = f"COPY sync_events ({', '.join(EventRow._fields[:-1])}) FROM STDIN (FORMAT BINARY)".encode()
"""Statement that starts the COPY. The last field of an event row is no column of the table."""

_TYPES = (
    "uuid text int8 timestamptz text text uuid uuid text int8 int8 text text text text text text text uuid bool"
    " bytea bytea"
)


async def write_event_rows(copy: AsyncCopy, rows: Iterable[EventRow]) -> None:
    """Send event rows with a COPY that was started with `COPY_EVENTS`. The caller must commit the transaction."""
    copy.set_types(_TYPES.split())
    for row in rows:
        await copy.write_row(row[:-1])
