"""Columns that a caller selects for a list or a CSV: names of members, and members of the metadata."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from synckairos.errors import ValidationFailed
from synckairos.wire.validation_faults import Fault, fault, raise_if_faults

MAX_COLUMNS = 50
"""Maximum number of selected columns."""

METADATA_PREFIX = "metadata."
"""Begin of the name of a column that is a member of the metadata."""

MAX_METADATA_KEY = 64
"""Maximum characters of the name of such a member."""


def parse_columns(text: str | None, known: Sequence[str]) -> tuple[str, ...] | None:
    """Return the names in a query parameter `columns`, which are separated by commas. None without the parameter.

    `known` are the possible names. If `metadata` is one of them, `metadata.<key>` is also possible for each key.

    Raises: ValidationFailed with each unknown or repeated name.
    """
    if text is None:
        return None
    names = text.split(",")
    if len(names) > MAX_COLUMNS:
        raise ValidationFailed.at_path("columns", f"should have at most {MAX_COLUMNS} names")
    raise_if_faults(_faults(names, known))
    return tuple(names)


def _faults(names: Sequence[str], known: Sequence[str]) -> Iterator[Fault]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield fault(("columns", at), f"the column {name} is named twice")
        elif name not in known and not _is_metadata_member(name, known):
            listed = ", ".join((*known, f"{METADATA_PREFIX}<key>") if "metadata" in known else known)
            yield fault(("columns", at), f"should be one of {listed}")


def _is_metadata_member(name: str, known: Sequence[str]) -> bool:
    key = name.removeprefix(METADATA_PREFIX)
    return "metadata" in known and key != name and 1 <= len(key) <= MAX_METADATA_KEY


def select_columns(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each row with only the selected columns, in their order. A member that a row does not have is None."""
    for row in rows:
        yield {name: _value(row, name) for name in columns}


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name in row or not name.startswith(METADATA_PREFIX):
        return row.get(name)
    metadata = row.get("metadata")
    return metadata.get(name.removeprefix(METADATA_PREFIX)) if isinstance(metadata, dict) else None
