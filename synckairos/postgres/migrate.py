"""Migration runner: applies the SQL files of `migrations/` in order, each file once.

The runner refuses a database in which an applied file was changed. After the files, it completes the roles of Postgres
and the fence between tenants (`tenant_roles.py`, `tenant_fence.py`).
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
from psycopg.errors import DuplicateObject, DuplicateTable, InsufficientPrivilege, InvalidSchemaName

from synckairos.errors import SyncKairosError
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.postgres.online_migration import (
    hold_migration_lock,
    is_online,
    lock_migrations,
    run_online,
    without_concurrency,
)
from synckairos.postgres.pool import CONNECT_TIMEOUT_S, refusal_as_store_refused, unreachable_as_store_unavailable
from synckairos.postgres.privileges import PrivilegeMissing, explain_refusal
from synckairos.postgres.tenant_fence import FindOlderInstances, complete_fence

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_TABLE = """
CREATE TABLE IF NOT EXISTS sync_migrations (
    number     integer     PRIMARY KEY,
    name       text        NOT NULL,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_SETTINGS = """
SELECT
    set_config('client_min_messages', 'warning', true), set_config('timezone', 'UTC', true),
    set_config('statement_timeout', '0', true)
"""


class InvalidMigrations(SyncKairosError):
    """The migration files do not match the migrations in the database. The message names the file."""

    code = "BAD_MIGRATIONS"


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file, with its number (the first is 1), its file name and its text."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the text in hexadecimal form. The table of applied migrations keeps this value."""
        return hashlib.sha256(self.text.encode()).hexdigest()


async def migrate(
    database_url: str,
    directory: Path | None = None,
    on_file: Callable[[str, int, int], None] | None = None,
    *,
    logins: Sequence[str] = (),
    find_older_instances: FindOlderInstances | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> list[str]:
    """Apply the migration files that are not applied yet. Return their file names in order.

    Each file is applied in one transaction; an online migration in several (`online_migration.py`). Then the roles of
    Postgres and the fence between tenants are completed (`complete_fence`).

    - `directory`: the folder of the files; None means `migrations_dir()`.
    - `on_file`: called before each file with its name, the number of files that this call has applied, and the total
      number that it will apply.
    - `logins`: further logins of servers and workers that get the roles of Postgres.
    - `find_older_instances`: watches for instances of an older release, which cannot use a fenced database. None: a
      database that had rows before this call is not fenced.
    - `on_notice`: called with a text for each change of the fence, and for each step that the operator must take.

    Several processes can call this function at the same time, because a lock lets them run one after the other. The
    lock ends with each transaction, so this works through a transaction pooler too.

    Raises:
        InvalidMigrations: An applied file was changed or is missing, the numbers have a gap or a duplicate, or the
            database has tables of another product.
        PrivilegeMissing: The role lacks a privilege to change the schema.
        StoreUnavailable: Postgres is unreachable or read-only.
        psycopg.Error: Postgres rejected a statement. All files before the file of this statement stay applied.
    """
    wanted = read_migrations(directory or migrations_dir())
    names: list[str] = []
    async with _connect(database_url) as connection:
        try:
            is_new = not (await _has_migrations_table(connection) and await _applied(connection))
            runner = _Runner(database_url, connection, wanted, is_new, on_file)
            while (name := await runner.apply_next(len(names))) is not None:
                names.append(name)
            if directory is None:
                watch = _find_none if is_new else find_older_instances
                async with _connect(database_url) as holder, hold_migration_lock(holder):
                    await complete_fence(connection, logins, watch, on_notice or _ignore)
        except (InsufficientPrivilege, InvalidSchemaName) as refusal:
            raise PrivilegeMissing(await explain_refusal(refusal, connection)) from refusal
    return names


async def _find_none() -> list[str]:
    return []


def _ignore(_: str) -> None:
    """Drop a notice."""


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runner of the migrations `wanted` on a connection. `is_new`: whether the database had no tables before."""

    database_url: str
    connection: psycopg.AsyncConnection
    wanted: list[Migration]
    is_new: bool
    on_file: Callable[[str, int, int], None] | None

    async def apply_next(self, count: int) -> str | None:
        """Apply the first file that is not applied. Return its name; None if all are applied.

        `count` is the number of files that the call of `migrate` has applied.
        """
        async with self.connection.transaction():
            await self.connection.execute(_SETTINGS)
            await lock_migrations(self.connection)
            await create_migrations_table(self.connection)
            missing = _missing(self.wanted, await _applied(self.connection))
            if not missing:
                return None
            if self.on_file is not None:
                self.on_file(missing[0].name, count, count + len(missing))
            if self.is_new or not is_online(missing[0].text):
                with _explaining_duplicates(missing[0]):
                    await apply_migration(self.connection, missing[0])
                return missing[0].name
        return await self._apply_online(missing[0])

    async def _apply_online(self, migration: Migration) -> str:
        """Apply an online migration, unless another process has applied it in the meantime. Return its name."""
        async with _connect(self.database_url) as holder, hold_migration_lock(holder):
            if migration.number not in await _applied(self.connection):
                with _explaining_duplicates(migration):
                    await run_online(self.connection, migration.text)
                await _mark_applied(self.connection, migration)
        return migration.name


@contextmanager
def _explaining_duplicates(migration: Migration) -> Iterator[None]:
    """Raise InvalidMigrations if the block creates an object that exists."""
    try:
        yield
    except (DuplicateObject, DuplicateTable) as found:
        raise InvalidMigrations(
            f"{migration.name}: {found.diag.message_primary}, but not as a part of this product. Name an empty"
            " database; `synckairos migrate` takes over a database of SyncKairos v2"
        ) from found


async def create_migrations_table(connection: psycopg.AsyncConnection) -> None:
    """Create the table of applied migrations if it does not exist.

    `IF NOT EXISTS` alone is not enough: it needs the privilege CREATE even if the table exists.
    """
    if not await _has_migrations_table(connection):
        await connection.execute(_TABLE)


async def apply_migration(connection: psycopg.AsyncConnection, migration: Migration) -> None:
    """Run one migration file and mark it as applied, inside the current transaction of `connection`."""
    await connection.execute(without_concurrency(migration.text).encode())
    await _mark_applied(connection, migration)


async def _mark_applied(connection: psycopg.AsyncConnection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO sync_migrations (number, name, checksum) VALUES (%s, %s, %s)",
        [migration.number, migration.name, migration.checksum],
    )


async def pending_migrations(database_url: str, directory: Path | None = None) -> list[str]:
    """Return the names of the migration files that are not applied yet, in order. The database is not changed.

    `directory` is the folder of the files; None means `migrations_dir()`.

    Raises: InvalidMigrations, PrivilegeMissing and StoreUnavailable, for the same reasons as `migrate`.
    """
    wanted = read_migrations(directory or migrations_dir())
    async with _connect(database_url) as connection:
        try:
            applied = await _applied(connection) if await _has_migrations_table(connection) else {}
        except InsufficientPrivilege as refusal:
            raise PrivilegeMissing(await explain_refusal(refusal, connection)) from refusal
    return [migration.name for migration in _missing(wanted, applied)]


def read_migrations(directory: Path) -> list[Migration]:
    """Return the migration files of a folder in order.

    Raises: InvalidMigrations if the numbers are not 0001, 0002 and so on.
    """
    found = []
    for path in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise InvalidMigrations(f"{path.name}: the file name must be NNNN_name.sql, in lower case")
        found.append(Migration(int(match[1]), path.name, path.read_text()))
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise InvalidMigrations(
                f"{migration.name}: the number must be {expected:04d}; numbers have no gaps and no duplicates"
            )
    return found


@cache
def newest_migration_number() -> int:
    """Return the number of the newest migration of this release."""
    return read_migrations(migrations_dir())[-1].number


@asynccontextmanager
async def _connect(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """Open a connection in autocommit mode for the block.

    Raises: StoreUnavailable if Postgres is unreachable or refuses, at the begin or later in the block.
    """
    with unreachable_as_store_unavailable(), refusal_as_store_refused():
        async with await psycopg.AsyncConnection.connect(
            database_url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="synckairos migrate",
            prepare_threshold=None,
        ) as connection:
            yield connection


async def _has_migrations_table(connection: psycopg.AsyncConnection) -> bool:
    found = await (await connection.execute("SELECT to_regclass('sync_migrations') IS NOT NULL")).fetchone()
    return found == (True,)


async def _applied(connection: psycopg.AsyncConnection) -> dict[int, tuple[str, str]]:
    rows = await (await connection.execute("SELECT number, name, checksum FROM sync_migrations")).fetchall()
    return {number: (name, checksum) for number, name, checksum in rows}


def _missing(wanted: list[Migration], applied: dict[int, tuple[str, str]]) -> list[Migration]:
    """Return the migration files that are not applied.

    `applied` has name and checksum by number.

    Raises: InvalidMigrations if an applied file was changed or is missing.
    """
    files = {migration.number: migration for migration in wanted}
    for number, (name, checksum) in sorted(applied.items()):
        migration = files.get(number)
        if migration is None:
            raise InvalidMigrations(
                f"{name} was applied to this database, but this version does not have it: run a newer version"
            )
        if migration.checksum != checksum:
            raise InvalidMigrations(
                f"{migration.name} was changed after it was applied; restore the file and add a new one"
            )
    return [migration for migration in wanted if migration.number not in applied]
