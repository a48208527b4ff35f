"""The COPY statements of exports: Postgres renders the lines of events, without the documents of versions. Pure."""

from datetime import datetime
from typing import Literal

from psycopg import sql

from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.wire.event_json import event_columns
from synckairos.wire.tabular import FORMULA_AFTER_SEPARATOR, FORMULA_TEXT

ExportFormat = Literal["ndjson", "csv"]

COPIED_TYPES = ("uuid", "bytea", "bytea", "bytea", "int8", "bytea[]")
"""The types of the columns of `copy_lines_without_states`, as names of Postgres types."""

# JSON contains no raw control characters, so with these options COPY never quotes, and a line is the unchanged JSON.
_NDJSON = "COPY ({lines}) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
_CSV = "COPY ({lines}) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE ({texts}))"
_PARTS = "COPY ({lines}) TO STDOUT (FORMAT binary)"
_JSON_LINE = (
    "SELECT json_strip_nulls(row_to_json(line))::text FROM (SELECT session_id, {columns} FROM ({rows}) AS e) AS line"
)
_CSV_LINE = "SELECT session_id, {columns} FROM ({rows}) AS e"
_JSON_PARTS = (
    "SELECT line.session_id, convert_to(left(json_strip_nulls(row_to_json(line))::text, -1) || ',\"state\":', 'UTF8'),"
    " '}}'::bytea, snapshot, whole_version, bodies"
    " FROM ({rows}) AS e CROSS JOIN LATERAL (SELECT e.session_id, {columns}) AS line"
)
_CSV_PARTS = (
    "SELECT session_id, convert_to({before}, 'UTF8'), convert_to({after}, 'UTF8'), snapshot, whole_version, bodies"
    " FROM ({rows}) AS e"
)
_NUMBERS = frozenset({"version", "time_used_ms", "time_remaining_ms"})
# Like `defuse_text` of `wire/tabular.py`, this expression makes formulas in CSV harmless.
_DEFUSED_TEXT = (
    f"CASE WHEN {{0}} ~ '{FORMULA_TEXT}' THEN '''' ELSE '' END"
    rf" || regexp_replace({{0}}, '{FORMULA_AFTER_SEPARATOR}', '\1''', 'g')"
)
_DEFUSED_COLUMNS = frozenset({"group_id", "actor", "command_id"})
"""Columns with texts of callers."""


def export_columns(snapshots: bool) -> tuple[str, ...]:
    """Return the names of the columns of an export as CSV, in order. If `snapshots` is True, they include `state`."""
    return ("session_id", *event_columns(snapshots))


def copy_lines(tenant: str, form: ExportFormat, from_at: datetime, to_at: datetime) -> sql.SQL:
    """Return the COPY statement of the lines of an export without documents. The CSV has a header.

    The lines are those of the events of a tenant from `from_at` (included) to `to_at` (excluded).
    """
    rows = _rows(tenant, from_at, to_at)
    if form == "ndjson":
        return sql.SQL(_NDJSON.format(lines=_JSON_LINE.format(columns=_json_columns(), rows=rows)))
    names = ", ".join(f"{_expression(name)} AS {name}" for name in event_columns(snapshots=False))
    texts = ", ".join(name for name in export_columns(snapshots=False) if name not in _NUMBERS)
    return sql.SQL(_CSV.format(lines=_CSV_LINE.format(columns=names, rows=rows), texts=texts))


def copy_lines_without_states(tenant: str, form: ExportFormat, from_at: datetime, to_at: datetime) -> sql.SQL:
    """Return the COPY statement of the parts of the lines of an export with documents. The CSV has no header.

    The columns are the session id, the bytes of the line before the document and after it, and the columns from which
    `RowDocuments` builds the document. Their types are `COPIED_TYPES`. The events are those of `copy_lines`. A line
    ends without a line feed.
    """
    rows = _rows(tenant, from_at, to_at)
    if form == "ndjson":
        return sql.SQL(_PARTS.format(lines=_JSON_PARTS.format(columns=_json_columns(), rows=rows)))
    columns = export_columns(snapshots=True)
    at = columns.index("state")
    before = " || ".join(f"{_cell(name)} || ','" for name in columns[:at])
    after = " || ".join(f"',' || {_cell(name)}" for name in columns[at + 1 :])
    return sql.SQL(_PARTS.format(lines=_CSV_PARTS.format(before=before, after=after, rows=rows)))


def _rows(tenant: str, from_at: datetime, to_at: datetime) -> str:
    """Return the query of the events. COPY takes no parameters, so the values are literals."""
    rows = load_statement("events_in_range").decode()
    for name, value in (("tenant", tenant), ("from", from_at), ("to", to_at)):
        rows = rows.replace(f"%({name})s", sql.Literal(value).as_string())
    return rows


def _json_columns() -> str:
    return ", ".join(f"e.{name}" for name in event_columns(snapshots=False))


def _expression(column: str) -> str:
    return _DEFUSED_TEXT.format(column) if column in _DEFUSED_COLUMNS else column


def _cell(column: str) -> str:
    """Return the expression of a cell, as COPY writes it: texts are quoted, null is empty."""
    if column in _NUMBERS:
        return f"coalesce({column}::text, '')"
    return f"coalesce('\"' || replace(({_expression(column)})::text, '\"', '\"\"') || '\"', '')"
