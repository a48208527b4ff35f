"""The SQL statements of archive, export and retention jobs, by their names in `archives.sql`."""

from synckairos.postgres.named_sql import load_statements


def archive_statement(name: str) -> bytes:
    """Return one statement of `archives.sql`."""
    return load_statements("archives.sql", "synckairos.jobs")[name]
