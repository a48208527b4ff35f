"""Errors of jobs and of the job table, as callers of the REST API see them: without the names of internal hosts."""

from collections.abc import Iterator
from contextlib import contextmanager

from synckairos.errors import DatabaseNotMigrated, StoreUnavailable


def error_without_details(error: str) -> str:
    """Return the error of a job without the text of an exception of a library, which can name internal hosts.

    Such an error is stored as the name of the exception, a colon and its text.
    """
    name, separator, _ = error.partition(": ")
    return f"{name}; the log of the worker has the details" if separator and name.isidentifier() else error


@contextmanager
def errors_without_details() -> Iterator[None]:
    """Replace the text of each StoreUnavailable in the block by a text that names no host."""
    try:
        yield
    except DatabaseNotMigrated:
        raise
    except StoreUnavailable as fault:
        raise StoreUnavailable("Postgres is not reachable; try again shortly", setting="DATABASE_URL") from fault
