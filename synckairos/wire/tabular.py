"""CSV and NDJSON rendering. Texts in CSV are changed so that no spreadsheet interprets a part of them as a formula.

`docs/inside/decisions/0010-csv-for-spreadsheets.md` has the reasons.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

# The constants are character classes. They are valid in regular expressions of Python and of Postgres, and contain only
# ASCII.
_SIGNS = r"=+\u002d@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"  # ASCII, full width, small
_SEPARATORS = r"\u003b\u0009-\u000d"  # separators of cells other than the comma: semicolon, tab, line breaks
_INVISIBLE = (  # control characters, spaces, quotation marks, format characters
    r"\u0000-\u0020\u0022\u007f-\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff"
)

FORMULA_TEXT = rf"^([{_SEPARATORS}{_INVISIBLE}]*[{_SIGNS}]|[\u0009-\u000d])"
"""Pattern of a text that a spreadsheet can execute. Such a text gets an apostrophe before it."""

FORMULA_AFTER_SEPARATOR = rf"([{_SEPARATORS}])(?=[{_INVISIBLE}]*[{_SIGNS}])"
"""Pattern of a separator before a formula. Such a separator gets an apostrophe after it.

In many countries, spreadsheets split a CSV file at semicolons, even within quotes.
"""

_FORMULA_TEXT = re.compile(FORMULA_TEXT)
_FORMULA_AFTER_SEPARATOR = re.compile(FORMULA_AFTER_SEPARATOR)


def render_csv_pieces(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield rows as CSV, after a header line. None and absent values are empty; objects and arrays are JSON.

    The encoding is UTF-8 without a byte order mark. Lines end with CR LF. Texts in rows are always quoted, numbers are
    never quoted. Each row is rendered when its line is requested.
    """
    yield (",".join(columns) + "\r\n").encode()
    for line in _lines(columns, rows):
        yield (line + "\r\n").encode()


def render_csv_rows(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    """Render rows as CSV without a header. Cells are as in `render_csv_pieces`.

    Lines end with a line feed only, as Postgres writes them.
    """
    return "".join([line + "\n" for line in _lines(columns, rows)]).encode()


def _lines(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterable[str]:
    return (",".join([render_csv_cell(row.get(column)) for column in columns]) for row in rows)


def render_ndjson_pieces(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield each row as one line of JSON with a line feed. Each row is rendered when its line is requested."""
    return (orjson.dumps(row) + b"\n" for row in rows)


def defuse_text(text: str) -> str:
    """Return a text for CSV, changed so that no spreadsheet interprets a part of it as a formula."""
    defused = _FORMULA_AFTER_SEPARATOR.sub(r"\1'", text)
    return f"'{defused}" if _FORMULA_TEXT.match(text) else defused


def defuse_json(text: str) -> str:
    """Return a JSON text with the same value, in which each semicolon is written as an escape.

    `text` must be JSON. A spreadsheet could split the text at a semicolon.
    """
    return text.replace(";", r"\u003b")


def render_csv_cell(value: Any) -> str:
    """Render one value as a cell of CSV. None is empty, an object, an array or an `orjson.Fragment` is quoted JSON."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return _quote(defuse_text(value))
        case dict() | list() | orjson.Fragment():
            return _quote(defuse_json(orjson.dumps(value).decode()))
        case _:
            return str(value)


def _quote(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
