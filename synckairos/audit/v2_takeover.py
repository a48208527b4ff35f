"""Takeover of a database of SyncKairos v2: converts v2's sessions and events to rows of this audit, in one transaction.

v2's tables move to the schema `synckairos_v2` and keep all rows. v2 can continue to write: a trigger writes its rows to
its own tables, and `convert_new_v2_rows` converts them. Converted rows have an epoch of v2
(`wire/v2_state_parser.py`), the command `import-v2` and no arguments.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from psycopg.sql import SQL, Literal

from synckairos.audit.entry_rows import ParticipantRow
from synckairos.audit.v2_table_conversion import V2_SCHEMA, TakeoverResult, V2RowConverter, takeover_statement
from synckairos.errors import SyncKairosError
from synckairos.postgres.migrate import apply_migration, create_migrations_table, read_migrations
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.postgres.online_migration import lock_migrations
from synckairos.postgres.pool import CONNECT_TIMEOUT_S, refusal_as_store_refused, unreachable_as_store_unavailable
from synckairos.postgres.tenant_roles import complete_privileges

_LOCK_ATTEMPTS = 30
_LOCK_TIMEOUT_MS = 1_000  # milliseconds for which v2's statements can wait because of one attempt to lock


class V2TakeoverRefused(SyncKairosError):
    """The database of v2 cannot be taken over. Nothing was changed."""

    code = "TAKEOVER_REFUSED"


async def take_over_v2_database(
    database_url: str, on_progress: Callable[[int], None] | None = None
) -> TakeoverResult | None:
    """Take over a database of v2 in one transaction, and return the numbers of converted sessions and rows.

    Return None if the database has no tables of v2, or if it was taken over before. v2's tables are locked only at the
    end. The transaction then converts the rows that v2 wrote in the meantime, and exchanges the tables. `on_progress`
    is called with the total number of sessions that are converted until then, after each `PROGRESS_SESSIONS` sessions.

    Raises: The exceptions below. Nothing was changed then.
        V2TakeoverRefused: Privileges are missing, v2's tables stay in use, or their schema is not the first schema of
            the role's search path.
        StoreUnavailable: Postgres is unreachable.
    """
    async with _transaction(database_url) as connection:
        found = await (await connection.execute(takeover_statement("find"))).fetchone()
        if found is None:
            return None
        place, target = found
        if place != target:
            raise V2TakeoverRefused(
                f"v2's tables are in the schema {place}, but new tables would be created in {target}. Connect with a"
                f" role whose search_path begins with {place}"
            )
        await connection.execute(takeover_statement("begin"))
        await create_migrations_table(connection)
        for migration in read_migrations(migrations_dir()):
            await apply_migration(connection, migration)
        converter = V2RowConverter(connection, place)
        await converter.convert_all_sessions(on_progress)
        await _lock(connection, place)
        result = await converter.reconvert_changed_sessions()
        await connection.execute(takeover_statement("move", v2=place, place=place))
        await connection.execute(takeover_statement("bridge", place=place))
        # The roles exist already if another database of the cluster has them. Transactions then use them at once.
        await connection.execute("SELECT set_config('search_path', quote_ident(%s), true)", [place])
        await complete_privileges(connection)
        return result


async def convert_new_v2_rows(
    database_url: str, refresh: Callable[[Sequence[ParticipantRow]], Awaitable[None]], *, last: bool = False
) -> TakeoverResult | None:
    """Convert the rows that v2 wrote after the takeover, and return the numbers of converted sessions and rows.

    Return None if the database was not taken over from v2. After the commit, `refresh` is called with the participants
    of the converted sessions, so that caches drop these sessions. If `refresh` fails, the next run converts the rows
    again. `last` must be True only if v2 has stopped. The trigger and v2's columns are then removed from the tables of
    this product.

    Raises: The exceptions of `take_over_v2_database` and of `refresh`.
    """
    async with _transaction(database_url) as connection:
        found = await (await connection.execute(takeover_statement("is_taken_over"))).fetchone()
        if found is None or not found[0]:
            return None
        await connection.execute("SET LOCAL timezone = 'UTC'")
        later = await V2RowConverter(connection, V2_SCHEMA).convert_written_after_takeover()
    await refresh(later.participants)
    async with _transaction(database_url) as connection:
        row = await (await connection.execute(takeover_statement("mark"), {"event_ids": later.event_ids})).fetchone()
        if last:
            await connection.execute(takeover_statement("unbridge"))
        return TakeoverResult(later.sessions, 0 if row is None else row[0], later.unreadable, later.left_out)


@asynccontextmanager
async def _transaction(database_url: str) -> AsyncIterator[AsyncConnection]:
    """Connect to the database and run one transaction inside the block.

    The statement timeout of the database or role does not apply, because the conversion and its locks can take long. If
    several processes do this at the same time, only one process runs its block, and the other processes wait.
    """
    with unreachable_as_store_unavailable(), refusal_as_store_refused(), _refused_takeover():
        async with await AsyncConnection.connect(
            database_url,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="synckairos takeover",
            prepare_threshold=None,
        ) as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            await lock_migrations(connection)
            yield connection


@contextmanager
def _refused_takeover() -> Iterator[None]:
    try:
        yield
    except InsufficientPrivilege as refusal:
        raise V2TakeoverRefused(
            f"v2's database cannot be taken over: {refusal.diag.message_primary}. Connect as the owner of v2's tables,"
            " and grant that role CREATE on the database (GRANT CREATE ON DATABASE ... TO ...)"
        ) from refusal


async def _lock(connection: AsyncConnection, place: str) -> None:
    """Lock v2's tables.

    Statements of v2 wait during an attempt to lock. An attempt therefore lasts at most a second.

    Raises: V2TakeoverRefused if all attempts fail.
    """
    await connection.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(_LOCK_TIMEOUT_MS)))
    for _ in range(_LOCK_ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(takeover_statement("lock", v2=place))
        except LockNotAvailable:
            continue
        await connection.execute("SET LOCAL lock_timeout = 0")
        return
    raise V2TakeoverRefused(
        "v2's tables are in use by a long transaction, such as a report or a backup: try again when it has ended"
    )
