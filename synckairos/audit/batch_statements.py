"""Statements of `batch_writer.sql`: parameters from rows, and the refusal of values that psycopg cannot send."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import AsyncCursor

from synckairos.errors import SyncKairosError
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.transaction import Transaction


class RowsRejected(SyncKairosError):
    """Postgres rejects the content of at least one of the written rows. No row was written. A retry would fail too."""

    code = "ROWS_REFUSED"


def statement(name: str) -> bytes:
    """Return a statement of `batch_writer.sql`."""
    return load_statements("batch_writer.sql", "synckairos.audit")[name]


async def execute(transaction: Transaction, name: str, values: Mapping[str, Any]) -> AsyncCursor[Any]:
    """Run a statement of `batch_writer.sql`. Raises: RowsRejected if psycopg cannot send a value."""
    with rejecting_values():
        return await transaction.execute(statement(name), values)


def arrays(names: Sequence[str], rows: Sequence[tuple[Any, ...]], *, prefix: str = "") -> dict[str, list[Any]]:
    """Return the columns of rows by name, each column as a list."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {f"{prefix}{name}": list(column) for name, column in zip(names, columns, strict=True)}


@contextmanager
def rejecting_values() -> Iterator[None]:
    """Raise RowsRejected if psycopg cannot send a value in the block."""
    try:
        yield
    except (OverflowError, TypeError, ValueError, AttributeError) as fault:
        raise RowsRejected(f"{type(fault).__name__}: {fault}") from fault
