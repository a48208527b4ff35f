"""Reads from cold storage: damage is noticed, and a replaced archive is read in its newer form."""

import gzip
from typing import Any

import pytest

from synckairos.clock.commands import UpdateMetadata
from synckairos.history.cold.archive_format import ArchiveBytesDamaged, parse_archive
from synckairos.history.cold.reader import ArchiveDamaged
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import T0, JobComponents, count_rows, finish_and_drain, object_path
from tests.integration.session_committer import ACTOR


async def test_a_damaged_or_missing_archive_raises_archive_damaged(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    record = await jobs.archiver.archive(life.session_id)
    path = object_path(audit, record)
    content = path.read_bytes()
    other_byte = bytes([content[50] ^ 0xFF])
    for damaged in (content[:-9], content[:50] + other_byte + content[51:], gzip.compress(b'{"format":"another"}\n')):
        path.write_bytes(damaged)
        with pytest.raises(ArchiveDamaged):
            await audit.history.cold_reader.read_archive(record)
        with pytest.raises(ArchiveBytesDamaged):
            parse_archive(damaged)
    before, state, after = gzip.decompress(content).partition(b'"state":{')
    changed = before + state + after.replace(b'"status":"pending"', b'"status":"running"', 1)
    with pytest.raises(ArchiveBytesDamaged, match="hash"):
        parse_archive(gzip.compress(changed))
    # Lines that are valid but have another actor: only the checksum of the object shows it.
    actor = f'"actor":"{ACTOR}"'.encode()
    changed = gzip.decompress(content).replace(actor, actor.upper().replace(b"ACTOR", b"actor"), 1)
    assert parse_archive(gzip.compress(changed)).newest_line.document == life.documents[life.state.version]
    path.write_bytes(gzip.compress(changed))
    rows_before = await count_rows(audit)
    with pytest.raises(ArchiveDamaged, match="checksum"):
        await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == rows_before
    path.unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        await audit.history.cold_reader.read_archive(record)


async def test_a_read_during_the_replacement_of_an_archive_uses_the_newer_one(
    audit: AuditParts, jobs: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await finish_and_drain(audit)
    epoch, cold_storage = life.state.epoch, audit.cold_storage
    assert await jobs.retention.archive_and_delete(life.session_id, 0)

    async def read_version_at() -> bytes | None:
        past = await audit.history.read_version_at_instant(life.session_id, T0)
        return None if past is None else past.snapshot.document

    async def read_document() -> bytes | None:
        return await audit.history.read_version_document(life.session_id, epoch, 1)

    async def read_first_event() -> bytes | None:
        return (await audit.history.read_events_page(life.session_id, limit=1, snapshots=True)).items[0].document

    async def read_latest() -> bytes | None:
        latest = await audit.history.read_latest_version(life.session_id)
        return None if latest is None else latest.snapshot.document

    for read in (read_version_at, read_document, read_first_event):
        await audit.committer.apply(life, UpdateMetadata({"of": life.state.version}), T0 + 90_000)
        await audit.drain()
        with monkeypatch.context() as patch:
            get = cold_storage.get

            async def replace_before_get(path: str, patch: pytest.MonkeyPatch = patch, get: Any = get) -> bytes:
                patch.undo()
                assert await jobs.retention.archive_and_delete(life.session_id, 0)
                content: bytes = await get(path)
                return content

            patch.setattr(cold_storage, "get", replace_before_get)
            assert await read() == life.documents[1]
            assert cold_storage.get == get
    assert await read_latest() == life.documents[life.state.version]


async def test_a_version_in_two_archives_is_one_event(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    record = await jobs.archiver.archive(life.session_id)
    events = await audit.history.cold_reader.read_events([record, record], (-1, 0, ""), 200, False)
    assert [event.version for event in events] == list(range(1, record.version + 1))
