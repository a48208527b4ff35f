"""Databases for tests: copies of one migrated database. A copy that a test only read is used again.

A copy takes a fifth of a second, and most tests write nothing to Postgres. Each write moves the position of the
write-ahead log. So an unchanged position shows that a database is unchanged. Other work of Postgres also moves the
position. An unchanged database is then dropped, which does no harm.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from synckairos.embedded import Postgres
from synckairos.postgres.access import SERVER_ROLE, WORKER_ROLE

SERVING_LOGIN = "serving"
"""Login of servers and workers, as the page on the database recommends it. It owns nothing and has no privileges."""

CONNECTIONS_END_S = 10
"""Seconds that the connections of killed processes may take to end."""

_numbers = itertools.count(1)

Connection = psycopg.Connection[tuple[object, ...]]


def create_serving_login(postgres: Postgres) -> None:
    """Create the login `SERVING_LOGIN`, which can only use the two roles of the product. They must exist.

    Unlike the superuser of the tests, it reads no row without one of these roles.
    """
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {SERVING_LOGIN} LOGIN NOSUPERUSER NOBYPASSRLS".encode())
        connection.execute(f"GRANT {SERVER_ROLE}, {WORKER_ROLE} TO {SERVING_LOGIN} WITH INHERIT FALSE".encode())


class DatabasePool:
    """Copies of one database of a Postgres."""

    def __init__(self, postgres: Postgres, template: str) -> None:
        self._postgres = postgres
        self._template = template
        self._unused: list[tuple[str, object]] = []
        """Name of each unused copy, with the position of the log at the end of its last use."""
        with psycopg.connect(postgres.database_url(template), autocommit=True) as connection:
            _mark_rows(connection)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a database that equals the template. No other caller uses it inside the block."""
        with self._connect() as connection:
            name = self._take(connection)
            position = _log_position(connection)
        yield self._postgres.database_url(name)
        with self._connect() as connection:
            if _is_unchanged(connection, name, position):
                self._unused.append((name, position))
            else:
                _drop(connection, name)

    def _connect(self) -> Connection:
        return psycopg.connect(self._postgres.database_url("postgres"), autocommit=True)

    def _take(self, connection: Connection) -> str:
        """Return the name of an unchanged copy."""
        while self._unused:
            name, position = self._unused.pop()
            # A process of the last test can have written to the database after the end of its use.
            if _is_unchanged(connection, name, position):
                return name
            _drop(connection, name)
        name = f"copy_{next(_numbers)}"
        # Without fsync, as in the tests, a copy of the files is faster than a copy by the write-ahead log.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY file_copy".encode())
        return name


def add_later_migration(url: str) -> None:
    """Mark a migration as applied that only a later release has."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO sync_migrations (number, name, checksum) VALUES (9999, '9999_later.sql', 'unknown')"
        )


def _mark_rows(connection: Connection) -> None:
    """Mark the rows of a database as visible. Otherwise the first reads of each copy would write these marks.

    The product's own tables are only read: after VACUUM the planner would know that they are empty.
    """
    tables = connection.execute(
        "SELECT relnamespace = 'pg_catalog'::regnamespace, oid::regclass::text FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace <> 'information_schema'::regnamespace"
    ).fetchall()
    for is_catalog, name in tables:
        connection.execute((f"VACUUM (FREEZE) {name}" if is_catalog else f"SELECT count(*) FROM {name}").encode())


def _is_unchanged(connection: Connection, name: str, position: object) -> bool:
    """End all connections to a database. Return whether nothing was written since the position of the log."""
    have_ended = connection.execute(
        "SELECT bool_and(pg_terminate_backend(pid, %s)) FROM pg_stat_activity WHERE datname = %s",
        [CONNECTIONS_END_S * 1000, name],
    ).fetchone()
    return have_ended in ((None,), (True,)) and _log_position(connection) == position


def _log_position(connection: Connection) -> object:
    # The first read of a new row of this catalog writes a mark into the row. This is no change of a database.
    connection.execute("SELECT count(*) FROM pg_database")
    row = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
    assert row is not None
    return row[0]


def _drop(connection: Connection, name: str) -> None:
    connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
