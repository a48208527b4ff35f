"""Export jobs: write all events of a time range to one compressed object.

Postgres renders the lines. A million events therefore pass through this process as bytes, without a parsed object for
each event. Only some pieces of the object are in memory. An export with documents builds each document here, from the
document of the version before, because Postgres would read up to 64 rows for each document.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from synckairos.audit.row_documents import RowDocuments
from synckairos.history.cold.archive_format import Archive
from synckairos.history.cold.object_store import ColdStorage, WrittenObject
from synckairos.history.cold.reader import ColdReader
from synckairos.history.cold.tenant_folders import tenant_folder
from synckairos.history.row_values import parse_archive_record
from synckairos.jobs.archive_and_retention_sql import load_statement
from synckairos.jobs.export_statements import (
    COPIED_TYPES,
    ExportFormat,
    copy_lines,
    copy_lines_without_states,
    export_columns,
)
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.transaction import Transaction
from synckairos.principal import DEFAULT_TENANT
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.event_json import event_json
from synckairos.wire.tabular import render_csv_cell, render_csv_rows

Piece = tuple[int, Iterable[bytes]]
"""A number of events, and the bytes of their lines in pieces."""

_PIECE_BYTES = 1 << 18
_MAX_ROWS = 500
"""Maximum number of rows with splices in a piece. Their documents can be much larger than the splices."""
_RECORDS_PER_FETCH = 200
_GZIP_WBITS = 31


@dataclass(frozen=True, slots=True)
class ExportResult:
    """Result of an export: path of the object, number of events in it, and its size and checksum (`written`)."""

    path: str
    events: int
    written: WrittenObject


class Exporter:
    """Writes exports to cold storage.

    `export` raises StoreUnavailable if the object store is unreachable, InvalidStoredData if a document cannot be
    built, and the errors of psycopg.
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

        async def pieces() -> AsyncGenerator[bytes, None]:
            nonlocal count
            compressor = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WBITS)

            def compress(chunks: Iterable[bytes]) -> bytes:
                return b"".join(map(compressor.compress, chunks))

            # An error of the thread must end the transaction at once, and not when the generator is collected.
            async with aclosing(self._pieces(tenant, from_at, to_at, form, snapshots)) as found:
                async for lines, chunks in found:
                    count += lines
                    # The thread also renders lines with documents, so that only one document is in memory at a time.
                    yield await asyncio.to_thread(compress, chunks)
            yield await asyncio.to_thread(compressor.flush)

        async with aclosing(pieces()) as compressed:
            written = await self._cold_storage.write_stream(path, compressed)
        return ExportResult(path, count, written)

    async def _pieces(
        self, tenant: str, from_at: datetime, to_at: datetime, form: ExportFormat, snapshots: bool
    ) -> AsyncGenerator[Piece, None]:
        """Yield the rendered lines in pieces of about 256 KiB, with the number of events in each piece."""
        columns = export_columns(snapshots)
        values = {"tenant": tenant, "from": from_at, "to": to_at}
        copied = _copied_with_documents if snapshots else _copied
        async with (
            self._pool.transaction(isolation="REPEATABLE READ") as transaction,
            # The list of archives can be long, so Postgres keeps it, as of the same instant. The transaction stays
            # open until all archives are read, because behind a pooler a cursor ends with its transaction.
            transaction.stream("removed", load_statement("archives_in_range"), values) as removed,
        ):
            removed.itersize = _RECORDS_PER_FETCH
            async with aclosing(copied(transaction, tenant, from_at, to_at, form)) as found:
                async for piece in found:
                    yield piece
            async for row in removed:
                archive = await self._cold_reader.read_archive(parse_archive_record(row))
                for rows in _archived_rows(archive, from_at, to_at, snapshots):
                    if form == "csv":
                        yield len(rows), [render_csv_rows(columns, rows)]
                    else:
                        yield len(rows), [orjson.dumps(row) + b"\n" for row in rows]


async def _copied(
    transaction: Transaction, tenant: str, from_at: datetime, to_at: datetime, form: ExportFormat
) -> AsyncGenerator[Piece, None]:
    """Yield the lines of the events in Postgres, without documents."""
    lines_of_piece: list[bytes] = []
    size, lines = 0, -1 if form == "csv" else 0  # the header is not an event
    async with transaction.run_copy(copy_lines(tenant, form, from_at, to_at)) as copy:
        async for line in copy:
            lines_of_piece.append(bytes(line))
            size += len(line)
            lines += 1
            if size >= _PIECE_BYTES:
                yield lines, [b"".join(lines_of_piece)]
                lines_of_piece.clear()
                size = lines = 0
    yield lines, [b"".join(lines_of_piece)]


async def _copied_with_documents(
    transaction: Transaction, tenant: str, from_at: datetime, to_at: datetime, form: ExportFormat
) -> AsyncGenerator[Piece, None]:
    """Yield the lines of the events in Postgres, with documents. A line is rendered when it is requested."""
    if form == "csv":
        yield 0, [",".join(export_columns(snapshots=True)).encode() + b"\n"]
    documents = RowDocuments()
    rows: list[tuple[Any, ...]] = []
    size = 0
    async with transaction.run_copy(copy_lines_without_states(tenant, form, from_at, to_at)) as copy:
        copy.set_types(COPIED_TYPES)
        async for row in copy.rows():
            _, before, after, snapshot, _, bodies = row
            rows.append(row)
            size += len(before) + len(after) + len(snapshot) + sum(map(len, bodies or ()))
            if size >= _PIECE_BYTES or len(rows) == _MAX_ROWS:
                yield len(rows), _lines_with_documents(rows, documents, form)
                rows, size = [], 0
    yield len(rows), _lines_with_documents(rows, documents, form)


def _lines_with_documents(
    rows: Iterable[tuple[Any, ...]], documents: RowDocuments, form: ExportFormat
) -> Iterator[bytes]:
    """Yield the lines of rows of `copy_lines_without_states`.

    Raises: InvalidStoredData if a document cannot be built.
    """
    for session_id, before, after, *columns in rows:
        with reporting_invalid_data(f"sync_events {session_id}"):
            document = documents.build_document(*columns)
        state = document if form == "ndjson" else render_csv_cell(orjson.Fragment(document)).encode()
        yield b"".join((before, state, after, b"\n"))


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


def _render_compact(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
