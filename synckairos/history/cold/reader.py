"""Reads of archived sessions from cold storage.

The results are equal to the results that Postgres returned before retention removed the rows.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.history.cold.archive_format import Archive, ArchiveBytesDamaged, ArchiveLine, parse_archive
from synckairos.history.cold.object_store import ColdStorage, ObjectMissing
from synckairos.history.page_size import cut_to_page
from synckairos.history.records import ArchiveRecord, AuditedVersion, TrailEvent
from synckairos.limits.running_request import run_in_thread
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.snapshot import SessionSnapshot

T = TypeVar("T")

COLD_TIMEOUT_S = 10.0
"""Seconds after which the read of one archive fails."""

_LARGE_BYTES = 1 << 16
"""Bytes of an object above which decompression runs in a thread, because it takes longer than the start of a thread."""
_MAX_RECORDS = 100
"""Maximum number of idempotency records that are returned with a version."""


class ArchiveDamaged(SyncKairosError):
    """An archive object is missing, incomplete or changed. The operator must restore the object."""

    code = "ARCHIVE_DAMAGED"


class ColdReader:
    """Reader of the archive objects that archive records name.

    All methods raise StoreUnavailable if cold storage is unreachable, and ArchiveDamaged if an archive cannot be read.
    """

    def __init__(self, cold_storage: ColdStorage, timeout_s: float = COLD_TIMEOUT_S) -> None:
        self._cold_storage = cold_storage
        self._timeout_s = timeout_s

    async def read_archive(self, record: ArchiveRecord) -> Archive:
        """Read the object of an archive record, and verify its checksum and the hash of each document.

        The `path` of the record must not be None.
        """
        assert record.path is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                content = await self._cold_storage.get(record.path)
            return await _run(content, lambda: _verified(content, record.checksum))
        except TimeoutError:
            raise StoreUnavailable(f"Cold storage did not answer within {self._timeout_s:.0f} s") from None
        except (ObjectMissing, ArchiveBytesDamaged) as fault:
            reason = "the object is missing" if isinstance(fault, ObjectMissing) else fault
            raise ArchiveDamaged(f"The archive of session {record.session_id} cannot be read: {reason}") from fault

    async def read_latest_version(self, records: Sequence[ArchiveRecord]) -> AuditedVersion:
        """Return a session's newest version with the idempotency records of its newest 100 commands.

        The method reads only the first of `records`, which must be the newest archive.
        """
        record = records[0]
        archive = await self.read_archive(record)
        newest = archive.newest_line
        deleted = bool(archive.head["deleted"])
        idempotency_records = _render_records(
            line for line in archive.events if line.occurred_at_ms >= record.created_at_ms
        )
        snapshot = SessionSnapshot(*newest.version, newest.document, deleted=deleted)
        return AuditedVersion(record.session_id, snapshot, idempotency_records)

    async def read_version_document(self, records: Iterable[ArchiveRecord], epoch: str, version: int) -> bytes | None:
        """Return the document of one version as JSON bytes. Return None if no archive of `records` has this version."""
        for each in records:
            archive = await self.read_archive(each)
            if any(line.version == (epoch, version) for line in archive.events):
                return (await _read_documents(archive, {(epoch, version)}))[epoch, version]
        return None

    async def read_version_at_instant(self, records: Iterable[ArchiveRecord], at_ms: int) -> AuditedVersion | None:
        """Return the newest version that was committed at or before `at_ms`, an instant in ms since the Unix epoch.

        Return None if all versions are later. `records` must be ordered from the newest to the oldest archive.
        """
        for each in records:
            archive = await self.read_archive(each)
            for line in reversed(archive.events):
                if line.occurred_at_ms <= at_ms:
                    deleted = bool(line.row.get("deleted"))
                    document = (await _read_documents(archive, {line.version}))[line.version]
                    snapshot = SessionSnapshot(*line.version, document, deleted=deleted)
                    return AuditedVersion(each.session_id, snapshot)
        return None

    async def read_events(
        self, records: Sequence[ArchiveRecord], after: tuple[int, int, str], limit: int, snapshots: bool
    ) -> list[TrailEvent]:
        """Return the first `limit` events that are later than the audit trail position `after`, oldest first.

        `snapshots`: whether the events have documents. The result then also ends with the event after the one at which
        the documents reach `MAX_PAGE_BYTES`.
        """
        archives = [await self.read_archive(each) for each in records]
        # If a session was deleted and created again, two archives can contain the same version: it was in the outbox
        # when the first archive was written.
        found = {
            line.version: (line, archive) for archive in archives for line in archive.events if line.sort_key > after
        }
        lines = sorted((line for line, _ in found.values()), key=lambda line: line.sort_key)[:limit]
        if not snapshots:
            return [line.to_trail_event(snapshots) for line in lines]
        before_last = cut_to_page(lines, limit, lambda line: int(line.row["state_bytes"]))
        lines = lines[: len(before_last) + 1]
        documents: dict[tuple[str, int], bytes] = {}
        for archive in archives:
            documents |= await _read_documents(
                archive, {line.version for line in lines if found[line.version][1] is archive}
            )
        return [ArchiveLine(line.row, documents[line.version], b"").to_trail_event(snapshots) for line in lines]


async def _run(content: bytes, read: Callable[[], T]) -> T:
    """Call a function that decompresses an object, in a thread if the object is large. Return the result."""
    return await run_in_thread(read) if len(content) > _LARGE_BYTES else read()


async def _read_documents(archive: Archive, versions: set[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
    """Return the documents of these versions of an archive. Only these documents are in memory."""

    def read() -> dict[tuple[str, int], bytes]:
        found: dict[tuple[str, int], bytes] = {}
        for line in archive.read_events():
            if len(found) == len(versions):
                break
            if line.version in versions:
                found[line.version] = line.document
        return found

    return await _run(archive.content, read)


def _verified(content: bytes, checksum: bytes) -> Archive:
    if sha256(content).digest() != checksum:
        raise ArchiveBytesDamaged("the bytes do not match the checksum")
    return parse_archive(content)


def _render_records(lines: Iterable[ArchiveLine]) -> dict[str, bytes]:
    """Return the rendered idempotency records of the newest commands in `lines`, by command id, oldest first."""
    found = {}
    for line in [line for line in lines if "command_id" in line.row][-_MAX_RECORDS:]:
        row = line.row
        record = IdempotencyRecord(row.get("fingerprint", ""), *line.version, row.get("expired_participant_id"))
        found[row["command_id"]] = record.render()
    return found
