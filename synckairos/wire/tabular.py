"""Rows as CSV and NDJSON. A text that a spreadsheet would take for a formula is defused."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")


def render_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """Render rows under a header line; what a row doesn't have stays empty, objects are JSON."""
    return _render([columns, *_cells(columns, rows)], "\r\n")


def render_csv_rows(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """Render rows alone, as Postgres ends its lines."""
    return _render(_cells(columns, rows), "\n")


def _cells(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[list[Any]]:
    for row in rows:
        yield [_cell(row.get(column)) for column in columns]


def _render(lines: Iterable[Sequence[Any]], end: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator=end).writerows(lines)
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
        case str() if value.startswith(FORMULA_BEGINNINGS):
            return f"'{value}"
        case dict() | list() | orjson.Fragment():
            return orjson.dumps(value).decode()
        case _:
            return value
