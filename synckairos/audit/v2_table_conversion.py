"""Conversion of v2's sessions in Postgres: reads v2's rows and writes rows of this audit, in one transaction."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier, Literal

from synckairos.audit.entry_rows import ParsedEntry, ParticipantRow, build_batch_rows
from synckairos.audit.event_copy import COPY_EVENTS, write_event_rows
from synckairos.audit.v2_row_conversion import V2Event, V2Participant, V2Session, convert_session
from synckairos.postgres.named_sql import load_statements
from synckairos.wire.v2_state_parser import IMPORT_COMMAND, V2_GENERATION

V2_SCHEMA = "synckairos_v2"
"""Name of the schema that has v2's tables after the takeover."""

PROGRESS_SESSIONS = 1_000
"""Number of converted sessions between two reports of progress."""

_SQL = "v2_takeover.sql"
_NIL = "00000000-0000-0000-0000-000000000000"
_PAGE = 100  # maximum number of sessions that are converted together
_ROWS = 500  # number of rows that one fetch returns


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


@dataclass(frozen=True, slots=True)
class RowsSinceTakeover:
    """Result of `convert_written_after_takeover`.

    `sessions` is the number of converted sessions, `participants` their participants, and `event_ids` the ids of v2's
    rows.
    """

    sessions: int
    participants: Sequence[ParticipantRow]
    event_ids: Sequence[str]
    unreadable: tuple[str, ...]
    left_out: tuple[str, ...]


class V2RowConverter:
    """Converts v2's sessions inside one transaction of `connection`. `v2_schema` is the schema with v2's tables."""

    def __init__(self, connection: AsyncConnection, v2_schema: str) -> None:
        self._connection = connection
        self._v2_schema = v2_schema
        self._unreadable: dict[str, None] = {}
        self._written: list[ParticipantRow] | None = None

    async def convert_all_sessions(self, on_progress: Callable[[int], None] | None) -> None:
        """Convert all sessions of v2, in the order of their ids.

        `on_progress` is called with the total number of converted sessions, after each `PROGRESS_SESSIONS` sessions.
        """
        after, count = _NIL, 0
        while page := await self._ids("ids", after=after, limit=_PAGE):
            await self._convert(page)
            after, count = page[-1], count + len(page)
            if on_progress is not None and count % PROGRESS_SESSIONS < len(page):
                on_progress(count)

    async def reconvert_changed_sessions(self) -> TakeoverResult:
        """Convert all sessions again that v2 has written after `convert_all_sessions`.

        Return the numbers of all converted sessions and rows, including those of `convert_all_sessions`.
        """
        changed = await self._ids("changed")
        await self._run("forget", session_ids=changed, v2_generation=V2_GENERATION)
        for page in _pages(changed):
            await self._convert(page)
        sessions, events = (await self._run("counts"))[0]
        return TakeoverResult(sessions, events, tuple(self._unreadable))

    async def convert_written_after_takeover(self) -> RowsSinceTakeover:
        """Convert all sessions again for which v2 wrote rows after the takeover.

        Sessions that were changed in this product after the takeover are left out. Return the converted sessions, the
        ids of v2's rows, and the sessions that were left out.
        """
        self._written = []
        later = await self._ids("not_taken_over")
        values = {"v2_generation": V2_GENERATION, "command": IMPORT_COMMAND}
        left_out = set(await self._ids("changed_here", session_ids=later, **values))
        sessions, event_ids = 0, list[str]()
        for page in _pages([each for each in later if each not in left_out]):
            await self._run("forget", session_ids=page, v2_generation=V2_GENERATION)
            event_ids += await self._convert(page)
            sessions += len(page)
        return RowsSinceTakeover(sessions, self._written, event_ids, tuple(self._unreadable), tuple(sorted(left_out)))

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
            async with cursor.copy(COPY_EVENTS) as copy:
                await write_event_rows(copy, rows.events)
            generation = {"v2_generation": V2_GENERATION}
            for name, projected in (("keep_session", rows.sessions), ("keep_participant", rows.participants)):
                await cursor.executemany(self._statement(name), [each._asdict() | generation for each in projected])

    async def _ids(self, name: str, **values: object) -> list[str]:
        return sorted(row[0] for row in await self._run(name, **values))

    async def _run(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(self._statement(name), values)
        return await cursor.fetchall() if cursor.description else []

    def _statement(self, name: str) -> Composed:
        return takeover_statement(name, v2=self._v2_schema)


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + _PAGE] for at in range(0, len(ids), _PAGE))


def takeover_statement(name: str, *, v2: str = V2_SCHEMA, place: str = "") -> Composed:
    """Return the statement `name` of `v2_takeover.sql` with the names of schemas inserted.

    `v2` is the name of the schema with v2's tables now. `place` is the name of the schema in which the takeover found
    v2's tables, for statements that need this name.
    """
    text = load_statements(_SQL, "synckairos.audit")[name].decode()
    return SQL(text).format(v2=Identifier(v2), place=Literal(place))
