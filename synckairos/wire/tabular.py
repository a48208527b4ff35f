"""CSV and NDJSON rendering. Texts that a spreadsheet would execute as a formula are prefixed with an apostrophe."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters that make a spreadsheet take a text for a formula."""


def render_csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """Render rows as CSV with a header line. Missing values are empty, objects and arrays are JSON."""
    return _render([columns, *_cells(columns, rows)], "\r\n")


def render_csv_rows(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """Render rows as CSV without a header. Lines end with a line feed, as Postgres writes them."""
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
