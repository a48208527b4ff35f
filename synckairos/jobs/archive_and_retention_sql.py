"""The SQL statements of archive, export and retention jobs, by their names in `archive_and_retention.sql`."""

from synckairos.postgres.named_sql import load_statements


def archive_statement(name: str) -> bytes:
    """Return one statement of `archive_and_retention.sql`."""
    return load_statements("archive_and_retention.sql", "synckairos.jobs")[name]
