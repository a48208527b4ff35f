"""Reading sessions back from cold storage, as the archive's other tables would have told them."""

import asyncio
from collections.abc import Iterable, Sequence
from hashlib import sha256

from synckairos.errors import StoreUnavailable, SyncKairosError
from synckairos.history.cold.bundle import Bundle, BundleDamaged, BundleLine, parse_bundle
from synckairos.history.cold.object_store import ColdStorage, ObjectMissing
from synckairos.history.records import ArchiveRecord, AuditedVersion, TrailEvent
from synckairos.wire.idempotency_record import IdempotencyRecord
from synckairos.wire.snapshot import Snapshot

_LARGE = 1 << 16  # bytes; what takes longer to unpack than a thread takes to begin
_RECORDS = 100
_PATIENCE_S = 10.0


class ArchiveDamaged(SyncKairosError):
    """The object isn't what was filed: missing, cut off or changed. Somebody has to look at it."""

    code = "ARCHIVE_DAMAGED"


class ColdReader:
    """Archives by what was filed about them. Raises StoreUnavailable and ArchiveDamaged."""

    def __init__(self, objects: ColdStorage) -> None:
        self._objects = objects

    async def read_bundle(self, filed: ArchiveRecord, *, lean: bool = False) -> Bundle:
        """Fetch an archive, its checksum and every document's verified; `lean` for what it holds alone."""
        assert filed.path is not None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                content = await self._objects.get(filed.path)
            if len(content) > _LARGE:
                return await asyncio.to_thread(_verified, content, filed.checksum, lean)
            return _verified(content, filed.checksum, lean)
        except TimeoutError:
            raise StoreUnavailable(f"The object store didn't answer within {_PATIENCE_S:.0f} s") from None
        except (ObjectMissing, BundleDamaged) as fault:
            told = "it is missing" if isinstance(fault, ObjectMissing) else fault
            raise ArchiveDamaged(f"The archive of session {filed.session_id} can't be read: {told}") from fault

    async def latest_version(self, archives: Sequence[ArchiveRecord]) -> AuditedVersion:
        """Return the version a session ended with, and the newest 100 commands' records, of the newest archive."""
        filed = archives[0]
        bundle = await self.read_bundle(filed)
        newest = bundle.newest
        deleted, at_ms = bool(bundle.head["deleted"]), filed.archived_at_ms
        records = _records(line for line in bundle.events if line.occurred_at_ms >= filed.created_at_ms)
        snapshot = Snapshot(*newest.version, newest.document, deleted=deleted)
        return AuditedVersion(filed.session_id, snapshot, at_ms, records)

    async def version_document(self, filed: Iterable[ArchiveRecord], epoch: str, version: int) -> bytes | None:
        """Return the document of one version, None where none of these archives has it."""
        for each in filed:
            for line in (await self.read_bundle(each)).events:
                if line.version == (epoch, version):
                    return line.document
        return None

    async def version_at(self, filed: Iterable[ArchiveRecord], at_ms: int) -> AuditedVersion | None:
        """Return the newest version in effect at an instant, of archives from the newest to the oldest."""
        for each in filed:
            for line in reversed((await self.read_bundle(each)).events):
                if line.occurred_at_ms <= at_ms:
                    deleted = bool(line.row.get("deleted"))
                    snapshot = Snapshot(*line.version, line.document, deleted=deleted)
                    return AuditedVersion(each.session_id, snapshot, each.archived_at_ms)
        return None

    async def events(
        self, filed: Sequence[ArchiveRecord], after: tuple[int, int, str], limit: int, snapshots: bool
    ) -> list[TrailEvent]:
        """Return up to `limit` versions of these archives that come after a place in the trail, oldest first."""
        bundles = [await self.read_bundle(each) for each in filed]
        # What was on its way when one life was archived may be in the next one's archive as well.
        lines = {line.version: line for bundle in bundles for line in bundle.events if line.key > after}
        return [line.event(snapshots) for line in sorted(lines.values(), key=lambda line: line.key)[:limit]]


def _verified(content: bytes, checksum: bytes, lean: bool) -> Bundle:
    if sha256(content).digest() != checksum:
        raise BundleDamaged("its bytes aren't what its checksum says")
    return parse_bundle(content, lean=lean)


def _records(lines: Iterable[BundleLine]) -> dict[str, bytes]:
    """Render what was decided for the newest command ids, oldest first."""
    found = {}
    for line in [line for line in lines if "command_id" in line.row][-_RECORDS:]:
        row = line.row
        record = IdempotencyRecord(row.get("fingerprint", ""), *line.version, row.get("expired_participant_id"))
        found[row["command_id"]] = record.render()
    return found
