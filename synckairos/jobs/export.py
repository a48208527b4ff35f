"""Export jobs: write all events of a time range to one compressed object.

Postgres renders the lines. A million events therefore pass through this process as bytes, without a parsed object for
each event. Only some pieces of the object are in memory.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import orjson
from psycopg import sql

from synckairos.history.cold.archive_format import Archive
from synckairos.history.cold.object_store import ColdStorage, WrittenObject
from synckairos.history.cold.reader import ColdReader
from synckairos.history.cold.tenant_folders import tenant_folder
from synckairos.history.row_values import parse_archive_record
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Transaction
from synckairos.principal import DEFAULT_TENANT
from synckairos.wire.event_json import event_columns, event_json
from synckairos.wire.tabular import FORMULA_AFTER_SEPARATOR, FORMULA_TEXT, render_csv_rows

ExportFormat = Literal["ndjson", "csv"]

_PIECE_BYTES = 1 << 18
_RECORDS_PER_FETCH = 200
_GZIP_WBITS = 31

# JSON contains no raw control characters, so with these options COPY never quotes, and a line is the unchanged JSON.
_NDJSON = "COPY ({lines}) TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')"
_CSV = "COPY ({lines}) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE ({texts}))"
_JSON_LINE = (
    "SELECT json_strip_nulls(row_to_json(line))::text FROM (SELECT session_id, {columns} FROM ({rows}) AS e) AS line"
)
_JSON_LINE_WITH_STATE = (
    "SELECT left(json_strip_nulls(row_to_json(line))::text, -1) || ',\"state\":' || convert_from(snapshot, 'UTF8')"
    " || '}}' FROM ({rows}) AS e CROSS JOIN LATERAL (SELECT e.session_id, {columns}) AS line"
)
_CSV_LINE = "SELECT session_id, {columns} FROM ({rows}) AS e"
_NUMBERS = frozenset({"version", "time_used_ms", "time_remaining_ms"})
# Like `defuse_text` and `defuse_json` of `wire/tabular.py`, these expressions make formulas in CSV harmless.
_DEFUSED_TEXT = (
    f"CASE WHEN {{0}} ~ '{FORMULA_TEXT}' THEN '''' ELSE '' END"
    rf" || regexp_replace({{0}}, '{FORMULA_AFTER_SEPARATOR}', '\1''', 'g') AS {{0}}"
)
_DEFUSED_STATE = r"replace(convert_from(snapshot, 'UTF8'), ';', '\u003b') AS state"

_CSV_EXPRESSIONS = {name: _DEFUSED_TEXT.format(name) for name in ("group_id", "actor", "command_id")} | {
    "state": _DEFUSED_STATE
}
"""Expressions of the columns that a CSV does not contain unchanged."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Result of an export: path of the object, number of events in it, and its size and checksum (`written`)."""

    path: str
    events: int
    written: WrittenObject


class Exporter:
    """Writes exports to cold storage.

    `export` raises StoreUnavailable if the object store is unreachable, and the errors of psycopg.
    """

    def __init__(self, pool: PostgresPool, cold_storage: ColdStorage) -> None:
        self._pool = pool
        self._cold_storage = cold_storage
        self._cold_reader = ColdReader(cold_storage)

    async def export(
        self,
        name: str,
        from_at: datetime,
        to_at: datetime,
        form: ExportFormat,
        *,
        snapshots: bool = False,
        tenant: str = DEFAULT_TENANT,
    ) -> ExportResult:
        """Write the events of all sessions of a tenant from `from_at` (included) to `to_at` (excluded) to one object.

        `name` is a part of the object's path. `form` is the file format. If `snapshots` is True, each event has the
        document of its version. The events come from Postgres and cold storage, as of one instant. Events of one
        session are adjacent and in the order of the audit trail. Each line begins with `session_id`. Sessions that
        retention removed from Postgres are at the end.
        """
        time_range = f"{_render_compact(from_at)}-{_render_compact(to_at)}"
        path = f"{tenant_folder(tenant)}exports/{name}/events-{time_range}.{form}.gz"
        count = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal count
            compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WBITS)
            async for lines, piece in self._pieces(tenant, from_at, to_at, form, snapshots):
                count += lines
                yield await asyncio.to_thread(compressor.compress, piece)
            yield await asyncio.to_thread(compressor.flush)

        written = await self._cold_storage.write_stream(path, pieces())
        return ExportResult(path, count, written)

    async def _pieces(
        self, tenant: str, from_at: datetime, to_at: datetime, form: ExportFormat, snapshots: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the rendered lines in pieces of about 256 KiB, with the number of events in each piece."""
        columns = _columns(snapshots)
        values = {"tenant": tenant, "from": from_at, "to": to_at}
        async with (
            self._pool.transaction(isolation="REPEATABLE READ") as transaction,
            # The list of archives can be long, so Postgres keeps it, as of the same instant. The transaction stays
            # open until all archives are read, because behind a pooler a cursor ends with its transaction.
            transaction.stream("removed", load_statement("archives_in_range"), values) as removed,
        ):
            removed.itersize = _RECORDS_PER_FETCH
            async for piece in _copied(transaction, tenant, from_at, to_at, form, snapshots):
                yield piece
            async for row in removed:
                archive = await self._cold_reader.read_archive(parse_archive_record(row))
                for rows in _archived_rows(archive, from_at, to_at, snapshots):
                    if form == "csv":
                        yield len(rows), render_csv_rows(columns, rows)
                    else:
                        yield len(rows), b"".join(orjson.dumps(row) + b"\n" for row in rows)


async def _copied(
    transaction: Transaction, tenant: str, from_at: datetime, to_at: datetime, form: ExportFormat, snapshots: bool
) -> AsyncIterator[tuple[int, bytes]]:
    lines_of_piece: list[bytes] = []
    size, lines = 0, -1 if form == "csv" else 0  # the header is not an event
    async with transaction.run_copy(_statement(tenant, form, snapshots, from_at, to_at)) as copy:
        async for line in copy:
            lines_of_piece.append(bytes(line))
            size += len(line)
            lines += 1
            if size >= _PIECE_BYTES:
                yield lines, b"".join(lines_of_piece)
                lines_of_piece.clear()
                size = lines = 0
    yield lines, b"".join(lines_of_piece)


def _statement(tenant: str, form: ExportFormat, snapshots: bool, from_at: datetime, to_at: datetime) -> sql.SQL:
    names = [f"e.{name}" for name in event_columns(snapshots=False)]
    if form == "csv":
        names = [_CSV_EXPRESSIONS.get(name, name) for name in event_columns(snapshots)]
        line, outer = _CSV_LINE, _CSV
    else:
        line, outer = (_JSON_LINE_WITH_STATE if snapshots else _JSON_LINE), _NDJSON
    rows = load_statement("events_in_range").decode()
    for name, value in (("tenant", tenant), ("from", from_at), ("to", to_at)):
        rows = rows.replace(f"%({name})s", sql.Literal(value).as_string())
    texts = ", ".join(name for name in _columns(snapshots) if name not in _NUMBERS)
    return sql.SQL(outer.format(lines=line.format(columns=", ".join(names), rows=rows), texts=texts))


def _archived_rows(
    archive: Archive, from_at: datetime, to_at: datetime, snapshots: bool
) -> Iterator[list[dict[str, object]]]:
    """Yield the rows of an archive in batches of about 256 KiB of documents."""
    batch: list[dict[str, object]] = []
    size = 0
    for line in archive.read_events() if snapshots else archive.events:
        if from_at <= datetime.fromisoformat(line.row["occurred_at"]) < to_at:
            event = event_json(line.to_trail_event(snapshots), shows_actor=True)  # an operator reads exports
            batch.append({"session_id": archive.head["session_id"], **event})
            size += len(line.document)
            if size >= _PIECE_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _columns(snapshots: bool) -> tuple[str, ...]:
    return ("session_id", *event_columns(snapshots))


def _render_compact(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
