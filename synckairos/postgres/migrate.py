"""Applies the plain SQL files of `migrations/`, in order, each once. Never changes or undoes what was applied."""

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.postgres.migration_files import migrations_dir
from synckairos.postgres.pool import CONNECT_TIMEOUT_S

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x53594E43  # any number, the same in every process that migrates

_TABLE = """
CREATE TABLE IF NOT EXISTS sync_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class InvalidMigrations(SyncKairosError):
    """The files and what the database says was applied don't fit together; the message names the file."""

    code = "BAD_MIGRATIONS"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number from 1 on, its name, its text."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


async def migrate(database_url: str, directory: Path | None = None) -> list[str]:
    """Apply what isn't applied yet and return the names, in order; an empty list where nothing was to do.

    Each file is one transaction. Any number of processes may call this at once: they wait for one another.

    Raises:
        InvalidMigrations: an applied file was changed or is missing, or numbers have gaps or doubles.
        StoreUnavailable: Postgres isn't reachable.
        psycopg.Error: Postgres refused a statement; files before that one stay applied.
    """
    wanted = read_migrations(directory or migrations_dir())
    async with _connect(database_url) as connection:
        await connection.execute("SET client_min_messages = warning")
        await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        await connection.execute(_TABLE)
        missing = _missing(wanted, await _applied(connection))
        for migration in missing:
            async with connection.transaction():
                await connection.execute(migration.text.encode())
                await connection.execute(
                    "INSERT INTO sync_migrations (number, name, checksum) VALUES (%s, %s, %s)",
                    [migration.number, migration.name, migration.checksum],
                )
    return [migration.name for migration in missing]


async def pending_migrations(database_url: str, directory: Path | None = None) -> list[str]:
    """Return the names of files that aren't applied yet; changes nothing. Raises what `migrate` raises."""
    wanted = read_migrations(directory or migrations_dir())
    async with _connect(database_url) as connection:
        found = await (await connection.execute("SELECT to_regclass('sync_migrations') IS NOT NULL")).fetchone()
        applied = await _applied(connection) if found and found[0] else {}
    return [migration.name for migration in _missing(wanted, applied)]


def read_migrations(directory: Path) -> list[Migration]:
    """Read all files in order. Raises InvalidMigrations unless they are numbered 0001, 0002 and so on."""
    found = []
    for path in sorted(directory.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise InvalidMigrations(f"{path.name}: a migration is called NNNN_name.sql, in lower case")
        found.append(Migration(int(match[1]), path.name, path.read_text()))
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise InvalidMigrations(
                f"{migration.name}: the next number is {expected:04d}; there are no gaps and no doubles"
            )
    return found


@asynccontextmanager
async def _connect(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Open a connection. Raises: StoreUnavailable if Postgres is not reachable, now or while the connection is used."""
    try:
        async with await psycopg.AsyncConnection.connect(
            database_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        ) as connection:
            yield connection
    except psycopg.OperationalError as fault:
        raise StoreUnavailable(f"Postgres does not answer: {fault}", setting="DATABASE_URL") from fault


async def _applied(connection: psycopg.AsyncConnection) -> dict[int, tuple[str, str]]:
    rows = await (await connection.execute("SELECT number, name, checksum FROM sync_migrations")).fetchall()
    return {number: (name, checksum) for number, name, checksum in rows}


def _missing(wanted: list[Migration], applied: dict[int, tuple[str, str]]) -> list[Migration]:
    """Return what isn't applied, after checking that what is applied is what the files say."""
    files = {migration.number: migration for migration in wanted}
    for number, (name, checksum) in sorted(applied.items()):
        migration = files.get(number)
        if migration is None:
            raise InvalidMigrations(
                f"{name} was applied to this database, but this version doesn't have it: run a newer one"
            )
        if migration.checksum != checksum:
            raise InvalidMigrations(
                f"{migration.name} was changed after it was applied; put it back and add a new file"
            )
    return [migration for migration in wanted if migration.number not in applied]
