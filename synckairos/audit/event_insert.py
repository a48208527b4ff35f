"""Insert of event rows: the statement for one batch, with an array for each column whose values differ.

Postgres refuses COPY into a table with row-level security. Each array of a statement costs time for each row, so a
column with one value in all rows of the batch is a single parameter, and a column without values is left out.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from synckairos.audit.entry_rows import EventRow
from synckairos.audit.stored_snapshots import StoredSnapshot

_EVENT_COLUMNS = EventRow._fields[: EventRow._fields.index("snapshot")]
_COLUMNS = (*_EVENT_COLUMNS, *StoredSnapshot._fields)
_TYPES = dict(
    zip(
        _COLUMNS,
        [
            "text",
            "uuid",
            "text",
            "bigint",
            "timestamptz",
            "text",
            "text",
            "uuid",
            "uuid",
            "text",
            "bigint",
            "bigint",
            "text",
            "text",
            "text",
            "text",
            "text",
            "text",
            "text",
            "uuid",
            "text",
            "boolean",
            "bytea",
            "bytea",
            "bigint",
            "integer",
        ],
        strict=True,
    )
)
_CASTS = {"status": "::sync_status", "args": "::json", "participant_ids": "::json"}


def build_insert(rows: Sequence[EventRow], snapshots: Sequence[StoredSnapshot] | None) -> tuple[bytes, dict[str, Any]]:
    """Return the statement that inserts event rows, and its parameters. There must be at least one row.

    `snapshots` are the snapshots of the rows to store, in the order of the rows. If it is None, all rows have their
    documents.
    """
    columns = dict(zip(EventRow._fields, zip(*rows, strict=True), strict=True))
    if snapshots is not None:
        columns |= dict(zip(StoredSnapshot._fields, zip(*snapshots, strict=True), strict=True))
    arrays: list[str] = []
    scalars: list[str] = []
    values: dict[str, Any] = {}
    for name in _COLUMNS:
        column = columns.get(name)
        if column is None:
            continue
        first = column[0]
        if name == "session_id" or column[-1] != first or column.count(first) != len(column):
            arrays.append(name)
            values[name] = list(column)
        elif first is not None:
            scalars.append(name)
            values[name] = first
    return _render(tuple(arrays), tuple(scalars)), values


@lru_cache(maxsize=1024)
def _render(arrays: tuple[str, ...], scalars: tuple[str, ...]) -> bytes:
    """Return the statement for a batch. `arrays` are columns with different values, `scalars` those with one value."""
    selected = [f"i.{name}{_CASTS.get(name, '')}" for name in arrays]
    selected += [f"%({name})b::{_TYPES[name]}{_CASTS.get(name, '')}" for name in scalars]
    parameters = ", ".join(f"%({name})b::{_TYPES[name]}[]" for name in arrays)
    return (
        f"INSERT INTO sync_events ({', '.join((*arrays, *scalars))})\n"
        f"SELECT {', '.join(selected)}\n"
        f"FROM unnest({parameters}) AS i ({', '.join(arrays)})"
    ).encode()
