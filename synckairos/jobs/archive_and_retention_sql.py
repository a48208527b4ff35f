"""Access to the SQL statements in `archive_and_retention.sql`, by name."""

from synckairos.postgres.named_sql import load_statements


def load_statement(name: str) -> bytes:
    """Return the statement `name` of `archive_and_retention.sql`."""
    return load_statements("archive_and_retention.sql", "synckairos.jobs")[name]
