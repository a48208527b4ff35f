"""Takeover of a database of SyncKairos v2: converts v2's sessions and events to rows of this audit, in one transaction.

v2's tables move to the schema `synckairos_v2` and keep all rows. v2 can continue to write: a trigger writes its rows to
its own tables, and `convert_new_v2_rows` converts them. Converted rows have an epoch of v2
(`wire/v2_state_parser.py`), the command `import-v2` and no arguments.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from psycopg.sql import SQL, Composed, Identifier, Literal

from synckairos.audit.entry_rows import EventRow, ParsedEntry, ParticipantRow, build_batch_rows
from synckairos.audit.v2_rows import V2Event, V2Participant, V2Session, convert_session
from synckairos.errors import SyncKairosError
from synckairos.postgres.migrate import MIGRATION_LOCK_KEY, apply_migration, create_migrations_table, read_migrations
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import CONNECT_TIMEOUT_S, refusal_as_store_refused, unreachable_as_store_unavailable
from synckairos.wire.v2_state_parser import IMPORT_COMMAND, V2_GENERATION

V2_SCHEMA = "synckairos_v2"
"""Name of the schema that has v2's tables after the takeover."""

PROGRESS_SESSIONS = 1_000
"""Number of converted sessions between two reports of progress."""

_SQL = "v2_takeover.sql"
_NIL = "00000000-0000-0000-0000-000000000000"
_PAGE = 100  # maximum number of sessions that are converted together
_ROWS = 500  # number of rows that one fetch returns
_LOCK_ATTEMPTS = 30
_LOCK_TIMEOUT_MS = 1_000  # milliseconds for which v2's statements can wait because of one attempt to lock
_EVENT_TYPES = (
    "uuid text int8 timestamptz text text uuid uuid text int8 int8 text text text text text text bool bytea bytea"
)


class V2TakeoverRefused(SyncKairosError):
    """The database of v2 cannot be taken over. Nothing was changed."""

    code = "TAKEOVER_REFUSED"


@dataclass(frozen=True, slots=True)
class TakeoverResult:
    """Numbers of converted sessions and rows of v2, and ids of sessions that were not converted.

    - `unreadable`: sessions whose rows of v2 contain nothing that this product can read.
    - `left_out`: sessions that were changed in this product after the takeover, so that later rows of v2 were not
      converted.

    Rows that were not converted stay in v2's tables, as all rows of v2 do.
    """

    sessions: int
    events: int
    unreadable: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


async def take_over_v2_database(
    database_url: str, on_progress: Callable[[int], None] | None = None
) -> TakeoverResult | None:
    """Take over a database of v2 in one transaction.

    Return None if the database has no tables of v2, or if it was taken over before.

    v2's tables are locked only at the end. The transaction then converts the rows that v2 wrote in the meantime, and
    exchanges the tables. `on_progress` is called with the total number of sessions that are converted until then, after
    each `PROGRESS_SESSIONS` sessions.

    Raises: The exceptions below. Nothing was changed then.
        V2TakeoverRefused: Privileges are missing, v2's tables stay in use, or their schema is not the first schema of
            the role's search path.
        StoreUnavailable: Postgres is unreachable.
    """
    async with _transaction(database_url) as connection:
        found = await (await connection.execute(_statement("find"))).fetchone()
        if found is None:
            return None
        place, target = found
        if place != target:
            raise V2TakeoverRefused(
                f"v2's tables are in the schema {place}, but new tables would be created in {target}. Connect with a"
                f" role whose search_path begins with {place}"
            )
        await connection.execute(_statement("begin"))
        await create_migrations_table(connection)
        for migration in read_migrations(migrations_dir()):
            await apply_migration(connection, migration)
        converter = _Converter(connection, place)
        await converter.convert_all(on_progress)
        await _lock(connection, place)
        result = await converter.convert_changed()
        await connection.execute(_statement("move", v2=place, place=place))
        await connection.execute(_statement("bridge", place=place))
        return result


async def convert_new_v2_rows(
    database_url: str, refresh: Callable[[Sequence[ParticipantRow]], Awaitable[None]], *, last: bool = False
) -> TakeoverResult | None:
    """Convert the rows that v2 wrote after the takeover. Return None if the database was not taken over from v2.

    After the commit, `refresh` is called with the participants of the converted sessions, so that caches drop these
    sessions. If `refresh` fails, the next run converts the rows again. `last`: whether v2 has stopped. If so, the
    trigger and v2's columns are removed from the tables of this product.

    Raises: The exceptions of `take_over_v2_database` and of `refresh`.
    """
    async with _transaction(database_url) as connection:
        found = await (await connection.execute(_statement("is_taken_over"))).fetchone()
        if found is None or not found[0]:
            return None
        await connection.execute("SET LOCAL timezone = 'UTC'")
        later = await _Converter(connection, V2_SCHEMA).convert_later()
    await refresh(later.participants)
    async with _transaction(database_url) as connection:
        row = await (await connection.execute(_statement("mark"), {"event_ids": later.event_ids})).fetchone()
        if last:
            await connection.execute(_statement("unbridge"))
        return TakeoverResult(later.sessions, 0 if row is None else row[0], later.unreadable, later.left_out)


@dataclass(frozen=True, slots=True)
class _LaterRows:
    """Result of `convert_later`.

    `sessions` is the number of converted sessions, `participants` their participants, and `event_ids` the ids of v2's
    rows.
    """

    sessions: int
    participants: Sequence[ParticipantRow]
    event_ids: Sequence[str]
    unreadable: tuple[str, ...]
    left_out: tuple[str, ...]


class _Converter:
    """Converter of v2's sessions inside one transaction."""

    def __init__(self, connection: AsyncConnection, v2_schema: str) -> None:
        self._connection = connection
        self._v2_schema = v2_schema
        self._unreadable: dict[str, None] = {}
        self._written: list[ParticipantRow] | None = None

    async def convert_all(self, on_progress: Callable[[int], None] | None) -> None:
        """Convert all sessions, page by page. See `take_over_v2_database` for `on_progress`."""
        after, count = _NIL, 0
        while page := await self._ids("ids", after=after, limit=_PAGE):
            await self._convert(page)
            after, count = page[-1], count + len(page)
            if on_progress is not None and count % PROGRESS_SESSIONS < len(page):
                on_progress(count)

    async def convert_changed(self) -> TakeoverResult:
        """Convert all sessions again that v2 has written after `convert_all`.

        Return the numbers of all sessions and rows.
        """
        changed = await self._ids("changed")
        await self._run("forget", session_ids=changed, v2_generation=V2_GENERATION)
        for page in _pages(changed):
            await self._convert(page)
        sessions, events = (await self._run("counts"))[0]
        return TakeoverResult(sessions, events, tuple(self._unreadable))

    async def convert_later(self) -> _LaterRows:
        """Convert all sessions again for which v2 wrote rows after the takeover. Return what was converted."""
        self._written = []
        later = await self._ids("not_taken_over")
        values = {"v2_generation": V2_GENERATION, "command": IMPORT_COMMAND}
        left_out = set(await self._ids("changed_here", session_ids=later, **values))
        sessions, event_ids = 0, list[str]()
        for page in _pages([each for each in later if each not in left_out]):
            await self._run("forget", session_ids=page, v2_generation=V2_GENERATION)
            event_ids += await self._convert(page)
            sessions += len(page)
        return _LaterRows(sessions, self._written, event_ids, tuple(self._unreadable), tuple(sorted(left_out)))

    async def _convert(self, session_ids: Sequence[str]) -> list[str]:
        """Convert these sessions in the order of their ids. Return the ids of v2's event rows."""
        sessions = {row[0]: V2Session(*row[1:]) for row in await self._run("sessions", session_ids=session_ids)}
        participants = await self._participants(session_ids)
        found: list[ParsedEntry] = []
        event_ids: list[str] = []
        remaining = set(session_ids)
        async for session_id, events in self._events(session_ids):
            remaining.discard(session_id)
            event_ids += [event.event_id for event in events]
            found += self._convert_session(session_id, sessions, events, participants)
            if len(found) >= _ROWS:
                await self._write(found)
                found = []
        for session_id in sorted(remaining):
            found += self._convert_session(session_id, sessions, [], participants)
        await self._write(found)
        return event_ids

    def _convert_session(
        self,
        session_id: str,
        sessions: Mapping[str, V2Session],
        events: Sequence[V2Event],
        participants: Mapping[str, list[V2Participant]],
    ) -> list[ParsedEntry]:
        rows = convert_session(session_id, sessions.get(session_id), events, participants.get(session_id, ()))
        if rows:
            self._unreadable.pop(session_id, None)
        else:
            self._unreadable[session_id] = None
        return rows

    async def _events(self, session_ids: Sequence[str]) -> AsyncIterator[tuple[str, list[V2Event]]]:
        """Yield the session id and v2's event rows for each of these sessions that has event rows."""
        async with self._connection.cursor(name="v2_events") as cursor:
            cursor.itersize = _ROWS
            await cursor.execute(self._statement("events"), {"session_ids": session_ids})
            session_id, events = "", list[V2Event]()
            async for row in cursor:
                if row[0] != session_id:
                    if events:
                        yield session_id, events
                    session_id, events = row[0], []
                events.append(V2Event(*row[1:]))
            if events:
                yield session_id, events

    async def _participants(self, session_ids: Sequence[str]) -> dict[str, list[V2Participant]]:
        found: dict[str, list[V2Participant]] = {}
        exists = await self._connection.execute("SELECT to_regclass(%s)", [f"{self._v2_schema}.sync_participants"])
        if await exists.fetchone() == (None,):
            return found
        for row in await self._run("participants", session_ids=session_ids):
            found.setdefault(row[0], []).append(V2Participant(*row[1:]))
        return found

    async def _write(self, entries: Sequence[ParsedEntry]) -> None:
        rows = build_batch_rows(entries)
        if self._written is not None:
            self._written += rows.participants
        async with self._connection.cursor() as cursor:
            columns = ", ".join(EventRow._fields[:-1])
            async with cursor.copy(f"COPY sync_events ({columns}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
                copy.set_types(_EVENT_TYPES.split())
                for row in rows.events:
                    await copy.write_row(row[:-1])
            generation = {"v2_generation": V2_GENERATION}
            for name, projected in (("keep_session", rows.sessions), ("keep_participant", rows.participants)):
                await cursor.executemany(self._statement(name), [each._asdict() | generation for each in projected])

    async def _ids(self, name: str, **values: object) -> list[str]:
        return sorted(row[0] for row in await self._run(name, **values))

    async def _run(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(self._statement(name), values)
        return await cursor.fetchall() if cursor.description else []

    def _statement(self, name: str) -> Composed:
        return _statement(name, v2=self._v2_schema)


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + _PAGE] for at in range(0, len(ids), _PAGE))


def _statement(name: str, *, v2: str = V2_SCHEMA, place: str = "") -> Composed:
    """Return a statement of `v2_takeover.sql`.

    `v2` is the name of the schema with v2's tables. `place` becomes an SQL literal.
    """
    text = load_statements(_SQL, "synckairos.audit")[name].decode()
    return SQL(text).format(v2=Identifier(v2), place=Literal(place))


@asynccontextmanager
async def _transaction(database_url: str) -> AsyncIterator[AsyncConnection]:
    """Connect to the database and run one transaction inside the block.

    If several processes do this at the same time, only one process runs its block, and the other processes wait.
    """
    with unreachable_as_store_unavailable(), refusal_as_store_refused(), _refused_takeover():
        async with await AsyncConnection.connect(
            database_url,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="synckairos takeover",
            prepare_threshold=None,
        ) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK_KEY])
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
                await connection.execute(_statement("lock", v2=place))
        except LockNotAvailable:
            continue
        await connection.execute("SET LOCAL lock_timeout = 0")
        return
    raise V2TakeoverRefused(
        "v2's tables are in use by a long transaction, such as a report or a backup: try again when it has ended"
    )
