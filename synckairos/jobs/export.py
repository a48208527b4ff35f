"""Exporting: every session's events of a range of time as one compressed object, a few pieces in memory at a time.

Postgres makes the lines, so that a million events are bytes on their way through and nothing else here.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import orjson
from psycopg import AsyncConnection, IsolationLevel, sql

from synckairos.history.cold.bundle import Bundle
from synckairos.history.cold.object_store import ColdStorage, WrittenObject
from synckairos.history.cold.reader import ColdReader
from synckairos.history.reader import parse_archive_record
from synckairos.jobs.archive import SQL
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.wire.event_json import EVENT_COLUMNS, event_json
from synckairos.wire.tabular import FORMULA_BEGINNINGS, render_csv_rows

Format = Literal["ndjson", "csv"]

_PIECE_BYTES = 1 << 18
_FILED = 200
_GZIP = 31

# As JSON holds no raw control characters, quoting never happens, and a line is the text as it is.
_NDJSON = "COPY ({lines}) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
_CSV = "COPY ({lines}) TO STDOUT (FORMAT csv, HEADER)"
_JSON_LINE = (
    "SELECT json_strip_nulls(row_to_json(line))::text FROM (SELECT session_id, {columns} FROM ({rows}) AS e) AS line"
)
_JSON_LINE_WITH_STATE = (
    "SELECT left(json_strip_nulls(row_to_json(line))::text, -1) || ',\"state\":' || convert_from(snapshot, 'UTF8')"
    " || '}}' FROM ({rows}) AS e CROSS JOIN LATERAL (SELECT e.session_id, {columns}) AS line"
)
_CSV_LINE = "SELECT session_id, {columns} FROM ({rows}) AS e"
# As `wire/tabular.py` does it.
_BEGINNINGS = ", ".join(f"chr({ord(each)})" for each in FORMULA_BEGINNINGS)
_DEFUSED = f"CASE WHEN left({{0}}, 1) IN ({_BEGINNINGS}) THEN '''' || {{0}} ELSE {{0}} END AS {{0}}"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The object and how many events are in it."""

    path: str
    events: int
    written: WrittenObject


class Exporter:
    """Makes exports. Raises StoreUnavailable where the object store doesn't answer, psycopg's errors for Postgres."""

    def __init__(self, pool: PostgresPool, objects: ColdStorage) -> None:
        self._pool = pool
        self._objects = objects
        self._cold = ColdReader(objects)

    async def export(
        self, name: str, from_at: datetime, to_at: datetime, form: Format, *, snapshots: bool = False
    ) -> ExportResult:
        """Export what happened in [from_at, to_at) of all sessions there are, in Postgres and in cold storage.

        A session's events stand together, in the order of its trail, `session_id` first in each line; the sessions
        that retention took out of Postgres come last. All as of one instant.
        """
        span = f"{_day(from_at)}-{_day(to_at)}"
        path = f"exports/{name}/events-{span}.{form}.gz"
        count = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal count
            compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
            async for lines, piece in self._pieces(from_at, to_at, form, snapshots):
                count += lines
                yield await asyncio.to_thread(compressor.compress, piece)
            yield await asyncio.to_thread(compressor.flush)

        written = await self._objects.write(path, pieces())
        return ExportResult(path, count, written)

    async def _pieces(
        self, from_at: datetime, to_at: datetime, form: Format, snapshots: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Yield lines in pieces of a quarter of a megabyte, and how many events each has."""
        columns = _columns(snapshots)
        async with (
            self._pool.connection() as connection,
            # What is in cold storage may be much: Postgres keeps the list of it, as of the same instant.
            connection.cursor(name="removed", withhold=True) as removed,
        ):
            removed.itersize = _FILED
            await connection.set_autocommit(False)
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            try:
                async with connection.transaction():
                    await removed.execute(
                        load_statements(SQL, "synckairos.jobs")["removed_between"], {"from": from_at, "to": to_at}
                    )
                    async for piece in _copied(connection, from_at, to_at, form, snapshots):
                        yield piece
            finally:
                await connection.set_isolation_level(None)
                await connection.set_autocommit(True)
            async for row in removed:
                rows = list(_rows(await self._cold.read_bundle(parse_archive_record(row)), from_at, to_at, snapshots))
                if form == "csv":
                    yield len(rows), render_csv_rows(columns, rows)
                else:
                    yield len(rows), b"".join(orjson.dumps(row) + b"\n" for row in rows)


async def _copied(
    connection: AsyncConnection, from_at: datetime, to_at: datetime, form: Format, snapshots: bool
) -> AsyncIterator[tuple[int, bytes]]:
    gathered: list[bytes] = []
    size, lines = 0, -1 if form == "csv" else 0  # the header is no event
    async with connection.cursor() as cursor, cursor.copy(_statement(form, snapshots, from_at, to_at)) as copy:
        async for line in copy:
            gathered.append(bytes(line))
            size += len(line)
            lines += 1
            if size >= _PIECE_BYTES:
                yield lines, b"".join(gathered)
                gathered.clear()
                size = lines = 0
    yield lines, b"".join(gathered)


def _statement(form: Format, snapshots: bool, from_at: datetime, to_at: datetime) -> sql.SQL:
    names = [f"e.{name}" for name in EVENT_COLUMNS]
    if form == "csv":
        names = [_DEFUSED.format(name) if name in ("group_id", "actor") else name for name in EVENT_COLUMNS]
        names += ["convert_from(snapshot, 'UTF8') AS state"] if snapshots else []
        line, outer = _CSV_LINE, _CSV
    else:
        line, outer = (_JSON_LINE_WITH_STATE if snapshots else _JSON_LINE), _NDJSON
    rows = load_statements(SQL, "synckairos.jobs")["export"].decode()
    for name, value in (("from", from_at), ("to", to_at)):
        rows = rows.replace(f"%({name})s", sql.Literal(value).as_string())
    return sql.SQL(outer.format(lines=line.format(columns=", ".join(names), rows=rows)))


def _rows(bundle: Bundle, from_at: datetime, to_at: datetime, snapshots: bool) -> Iterator[dict[str, object]]:
    for line in bundle.events:
        if from_at <= datetime.fromisoformat(line.row["occurred_at"]) < to_at:
            yield {"session_id": bundle.head["session_id"], **event_json(line.event(snapshots))}


def _columns(snapshots: bool) -> tuple[str, ...]:
    return ("session_id", *EVENT_COLUMNS, *(("state",) if snapshots else ()))


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
