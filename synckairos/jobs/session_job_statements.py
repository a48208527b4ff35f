"""The SQL statements of archive, export and retention jobs, by their names in `session_jobs.sql`."""

from synckairos.postgres.named_sql import load_statements


def archive_statement(name: str) -> bytes:
    """Return one statement of `session_jobs.sql`."""
    return load_statements("session_jobs.sql", "synckairos.jobs")[name]
