"""Rows as CSV and NDJSON. A text that a spreadsheet would take for a formula is defused."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """Render rows under a header line; what a row doesn't have stays empty, objects are JSON."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue().encode()


def render_ndjson(rows: Iterable[dict[str, Any]]) -> bytes:
    """Render each row as a line of JSON."""
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
        case dict() | list() | orjson.Fragment():
            return orjson.dumps(value).decode()
        case _:
            return value
