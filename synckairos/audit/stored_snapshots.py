"""Choice of the snapshots that event rows have in Postgres: the document of the version, or its change.

A change leads from the document of the version before. Postgres must therefore have the row of that version, with the
same document. The function `sync_document` in Postgres builds the document of a row with a change.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from synckairos.audit.entry_rows import EventRow
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.transaction import Transaction

_Version = tuple[str, UUID, str, int]
"""Tenant, session id, epoch and number of a version."""

SPARSE_VERSIONS = 32
"""Number of consecutive versions of a small session of which at least one has a document, with sparse snapshots."""


class StoredSnapshot(NamedTuple):
    """The columns of `sync_events` for a document.

    `snapshot` has the document or the splices. With splices, `whole_version` is the last version before with a document
    in its row, and `document_bytes` the size of the document of this row. Otherwise both are None.
    """

    snapshot: bytes
    whole_version: int | None
    document_bytes: int | None


async def choose_snapshots(transaction: Transaction, rows: Sequence[EventRow]) -> list[StoredSnapshot] | None:
    """Return the snapshots of the rows of a batch. Return None if all rows store their documents.

    No row of the batch may be in Postgres. The sessions of rows with changes are locked until the end of the
    transaction, so that retention does not remove the versions before.
    """
    if all(row.change is None for row in rows):
        return None
    known = await _load_versions_before(transaction, rows)
    return [_choose(row, known) for row in rows]


def _choose(row: EventRow, known: dict[_Version, tuple[bytes, int]]) -> StoredSnapshot:
    """Return the snapshot of a row. `known` has the hash and `whole_version` of versions, and gets those of the row."""
    version, change = row.version, row.change
    if change is not None:
        hash_before, whole_version = known.get((*row.session_key, row.epoch, version - 1), (b"", 0))
        is_due = change.is_found_by_drain and version - whole_version >= SPARSE_VERSIONS
        if hash_before == change.hash_before and not is_due:
            known[(*row.session_key, row.epoch, version)] = row.payload_hash, whole_version
            return StoredSnapshot(change.splices, whole_version, len(row.snapshot))
    known[(*row.session_key, row.epoch, version)] = row.payload_hash, version
    return StoredSnapshot(row.snapshot, None, None)


async def _load_versions_before(
    transaction: Transaction, rows: Iterable[EventRow]
) -> dict[_Version, tuple[bytes, int]]:
    """Return the hash and the `whole_version` of the versions before the rows with changes that are not in `rows`."""
    in_batch: set[_Version] = set()
    needed: list[_Version] = []
    for row in rows:
        before = (*row.session_key, row.epoch, row.version - 1)
        if row.change is not None and before not in in_batch:
            needed.append(before)
        in_batch.add(row[:4])
    if not needed:
        return {}
    tenants, session_ids, epochs, versions = map(list, zip(*needed, strict=True))
    statement = load_statements("batch_writer.sql", "synckairos.audit")["versions_before"]
    values = {"tenants": tenants, "session_ids": session_ids, "epochs": epochs, "versions": versions}
    found = await transaction.fetch(statement, values, binary=True)
    return {(row[0], row[1], row[2], row[3]): (bytes(row[4]), row[5]) for row in found}
