"""Documents of outbox entries with splices: built from the documents of the versions before.

The version before is in the outbox, in Postgres, or a failed entry. Each entry has the hash of its document. So a wrong
document of the version before is never used, even if Redis issued a version number twice.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from synckairos.audit.entry_rows import ParsedEntry, RowChange, parse_entry
from synckairos.clock.model import Status
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from synckairos.session_names import split_session_name
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.stream_entry import StreamEntry
from synckairos.wire.document_splices import find_splices
from synckairos.wire.outbox_entry import OutboxEntry

MIN_KEPT_BYTES = 16 << 10
"""Bytes: minimum size of a document that is kept for the next entry of its session."""

MAX_KEPT_BYTES = 32 << 20
"""Bytes: maximum size of all kept documents. The documents of the sessions that were idle longest are dropped."""


class _KeptDocument(NamedTuple):
    """The newest version of a session that was parsed."""

    epoch: str
    version: int
    document: bytes
    payload_hash: bytes


class EntryParser:
    """Parser of outbox entries in the order of their commits. It keeps the newest documents of sessions."""

    def __init__(self, failed_entries: FailedEntries, pool: PostgresPool, *, finds_changes: bool = False) -> None:
        """Create a parser. If `finds_changes` is True, it also finds the changes of small sessions."""
        self._min_kept_bytes = 0 if finds_changes else MIN_KEPT_BYTES
        self._finds_changes = finds_changes
        self._failed_entries = failed_entries
        self._pool = pool
        self._kept: OrderedDict[str, _KeptDocument] = OrderedDict()
        self.kept_bytes = 0
        """Number of bytes of all kept documents."""

    async def parse(self, partition: int, delivery: StreamEntry) -> ParsedEntry:
        """Parse an outbox entry, and build its event row. An entry with splices gets its document.

        An entry with splices can take a round trip to Redis and one to Postgres, if the parser did not parse the entry
        before it.

        Raises:
            ValueError: The entry is malformed, or the document of the version before is missing.
            StoreUnavailable: Redis or Postgres is needed, and does not answer.
        """
        if delivery.splices is None:
            parsed = parse_entry(delivery.parse())
            if self._finds_changes:
                parsed = self._with_change(parsed)
        else:
            parsed = await self._parse_splices(partition, delivery, delivery.splices)
        self._keep(parsed)
        return parsed

    def _with_change(self, parsed: ParsedEntry) -> ParsedEntry:
        """Return the entry with the change of its row, if the parser has the document before and the change is small.

        The last version of a session stays without a change, so that lists of past sessions build no document.
        """
        row, before = parsed.event, self._kept.get(parsed.session_name)
        is_last = row.deleted or Status(row.status).is_final
        if is_last or before is None or (before.epoch, before.version) != (row.epoch, row.version - 1):
            return parsed
        splices = find_splices(before.document, row.snapshot)
        if 2 * len(splices) > len(row.snapshot):
            return parsed
        return parsed._replace(event=row._replace(change=RowChange(splices, before.payload_hash, True)))

    async def _parse_splices(self, partition: int, delivery: StreamEntry, splices: bytes) -> ParsedEntry:
        fault: ValueError | None = None
        async for before in self._documents_before(partition, delivery):
            try:
                entry = delivery.parse(before.document)
            except ValueError as other:
                fault = other
                continue
            hash_before = before.payload_hash or sha256(before.document).digest()
            # `delivery.parse` has compared the document with this hash.
            payload_hash = bytes.fromhex(delivery.fields[b"payload_hash"].decode())
            return parse_entry(entry, RowChange(splices, hash_before), payload_hash=payload_hash)
        if fault is not None:
            raise fault
        raise ValueError("the document of the version before is missing")

    async def _documents_before(self, partition: int, delivery: StreamEntry) -> AsyncIterator[_KeptDocument]:
        """Yield the documents that the version before possibly has, from the fastest source first."""
        fields = delivery.fields
        name, epoch = fields[b"session_id"].decode(), fields[b"epoch"].decode()
        version = int(fields[b"version"]) - 1
        kept = self._kept.get(name)
        if kept is not None and (kept.epoch, kept.version) == (epoch, version):
            yield kept
        previous = fields.get(b"previous", b"").decode()
        failed = await self._failed_entries.load_entry(partition, previous) if previous not in ("", "?") else None
        if failed is not None and failed.splices is None:
            found: OutboxEntry = failed.parse()
            if (found.session_name, found.epoch, found.version) == (name, epoch, version):
                yield _KeptDocument(epoch, version, found.document, b"")
        statement = load_statements("batch_writer.sql", "synckairos.audit")["documents_of_version"]
        tenant, session_id = split_session_name(name)
        values = {"tenant": tenant, "session_id": UUID(session_id), "epoch": epoch, "version": version}
        with translate_postgres_errors():
            rows = await self._pool.fetch(statement, values, binary=True)
        for (document,) in rows:
            yield _KeptDocument(epoch, version, bytes(document), b"")

    def _keep(self, parsed: ParsedEntry) -> None:
        row = parsed.event
        before = self._kept.pop(parsed.session_name, None)
        if before is not None:
            self.kept_bytes -= len(before.document)
        if len(row.snapshot) < self._min_kept_bytes:
            return
        self._kept[parsed.session_name] = _KeptDocument(row.epoch, row.version, row.snapshot, row.payload_hash)
        self.kept_bytes += len(row.snapshot)
        while self.kept_bytes > MAX_KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self.kept_bytes -= len(dropped.document)
