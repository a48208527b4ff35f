"""COPY of event rows to Postgres, for the takeover of v2's database.

The drain does not use it, because Postgres refuses COPY into a table with row-level security.
"""

from collections.abc import Iterable, Sequence

from psycopg import AsyncCopy

from synckairos.audit.entry_rows import EventRow
from synckairos.audit.stored_snapshots import StoredSnapshot

_COLUMNS = EventRow._fields[: EventRow._fields.index("snapshot")]

COPY_EVENTS = (
    f"COPY sync_events ({', '.join((*_COLUMNS, *StoredSnapshot._fields))}) FROM STDIN (FORMAT BINARY)".encode()
)
"""Statement that starts the COPY. The last fields of an event row are no columns of the table."""

_TYPES = (
    "text uuid text int8 timestamptz text text uuid uuid text int8 int8 text text text text text text text uuid text"
    " bool bytea bytea int8 int4"
)


async def write_event_rows(
    copy: AsyncCopy, rows: Iterable[EventRow], snapshots: Sequence[StoredSnapshot] | None = None
) -> None:
    """Send event rows with a COPY that was started with `COPY_EVENTS`. The caller must commit the transaction.

    `snapshots` are the snapshots of the rows to store, in the order of the rows. If it is None, all rows have their
    documents.
    """
    copy.set_types(_TYPES.split())
    if snapshots is None:
        for row in rows:
            await copy.write_row((*row[: len(_COLUMNS)], row.snapshot, None, None))
        return
    for row, snapshot in zip(rows, snapshots, strict=True):
        await copy.write_row((*row[: len(_COLUMNS)], *snapshot))
