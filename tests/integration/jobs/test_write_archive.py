"""Archive jobs: the archive of an ended session has every row byte for byte, and only the newest archive is kept."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.clock.commands import Start, UpdateMetadata
from synckairos.errors import StoreUnavailable
from synckairos.jobs.ended_session_row import SessionNotFinished
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import (
    T0,
    JobComponents,
    count_rows,
    finish_and_drain,
    insert_conflict,
    object_path,
    open_job_components,
    read_trail,
)
from tests.integration.session_committer import chess


@pytest.mark.pooler
async def test_an_archive_has_every_row_byte_for_byte(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit, 700)  # more rows than one fetch of the cursor returns
    record = await jobs.archiver.archive(life.session_id)
    assert (record.status, record.version, record.events) == ("ready", 703, 703)
    content = object_path(audit, record).read_bytes()
    assert len(content) == record.size_bytes
    archive = await audit.history.cold_reader.read_archive(record)
    assert {line.version: line.document for line in archive.read_events()} == {
        (life.state.epoch, version): document for version, document in life.documents.items()
    }
    assert archive.newest_line.document == life.documents[703]
    names = "version, event_type, status::text, actor, command, command_id, fingerprint, args::text, payload_hash"
    rows = await audit.rows(f"SELECT {names} FROM sync_events ORDER BY version")
    for row, line in zip(rows, archive.events, strict=True):
        get = line.row.get
        values = [get(name) for name in ("version", "event_type", "status", "actor", "command", "command_id")]
        args = orjson.dumps(get("args")).decode() if "args" in line.row else None
        assert [*values, get("fingerprint"), args, line.stored_payload_hash] == [*row]
    # Other programs can read it: plain gzip of plain lines. A second archive has the same bytes.
    head, *lines = gzip.decompress(content).splitlines()
    assert (orjson.loads(head)["format"], len(lines)) == ("synckairos-archive/1", 703)
    await jobs.archiver.archive(life.session_id, force=True)
    assert object_path(audit, record).read_bytes() == content


async def test_a_session_that_has_not_ended_is_not_archived(audit: AuditParts, jobs: JobComponents) -> None:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0)
    await audit.drain()
    for session_id in (life.session_id, str(uuid4())):
        with pytest.raises(SessionNotFinished):
            await jobs.archiver.archive(session_id)
    assert await audit.rows("SELECT 1 FROM sync_archives") == []


async def test_a_session_changed_after_its_archive_is_archived_again(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    first = await jobs.archiver.archive(life.session_id)
    assert await jobs.archiver.archive(life.session_id) == first
    assert not await jobs.job_table.find_tenants_with_work("archive", 0)
    await audit.committer.apply(life, UpdateMetadata({"note": "later"}), T0 + 90_000)
    await audit.drain()
    assert await jobs.job_table.find_tenants_with_work("archive", 0)
    second = await jobs.archiver.archive(life.session_id)
    assert not await jobs.job_table.find_tenants_with_work("archive", 0)
    assert (second.version, second.events) == (first.version + 1, first.events + 1)
    assert not object_path(audit, first).exists()
    latest = await audit.history.cold_reader.read_latest_version([second])
    assert latest.snapshot.document == life.documents[second.version]


async def test_an_archive_without_its_mark_gets_the_mark(audit: AuditParts, jobs: JobComponents) -> None:
    """A worker of an older release saves archives without the mark `archived`."""
    life = await finish_and_drain(audit)
    record = await jobs.archiver.archive(life.session_id)
    await audit.database.execute("UPDATE sync_sessions SET archived = false")
    assert await jobs.archiver.archive(life.session_id) == record
    assert not await jobs.job_table.find_tenants_with_work("archive", 0)


async def test_the_slower_of_two_workers_does_not_replace_the_archive_of_the_faster(
    audit: AuditParts, jobs: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await finish_and_drain(audit)
    await jobs.archiver.archive(life.session_id)
    put = jobs.cold_storage.write_bytes

    async def put_slowly(path: str, content: bytes) -> Any:
        monkeypatch.undo()
        written = await put(path, content)
        await insert_conflict(audit)
        await jobs.archiver.archive(life.session_id, force=True)
        return written

    monkeypatch.setattr(jobs.cold_storage, "write_bytes", put_slowly)
    record = await jobs.archiver.archive(life.session_id, force=True)
    assert len((await audit.history.cold_reader.read_archive(record)).conflicts) == 1


async def test_an_archive_in_other_compressed_bytes_does_not_replace_an_equal_one(
    audit: AuditParts, jobs: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compression library of another worker can compress the same lines to different bytes."""
    life = await finish_and_drain(audit)
    build = jobs.builder.build_archive

    async def build_slowly(*args: Any) -> Any:
        built = await build(*args)
        monkeypatch.undo()
        await jobs.archiver.archive(life.session_id)
        return replace(built, content=gzip.compress(gzip.decompress(built.content), 1))

    monkeypatch.setattr(jobs.builder, "build_archive", build_slowly)
    record = await jobs.archiver.archive(life.session_id)
    archive = await audit.history.cold_reader.read_archive(record)
    assert archive.newest_line.document == life.documents[life.state.version]


@pytest.mark.pooler
async def test_a_session_removed_while_it_is_archived_keeps_a_complete_archive(
    audit: AuditParts, jobs: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await finish_and_drain(audit)
    await jobs.archiver.archive(life.session_id)
    build = jobs.builder.build_archive

    async def remove_before_build(*args: Any) -> Any:
        monkeypatch.undo()
        assert await jobs.retention.archive_and_delete(life.session_id, 0)
        await audit.committer.apply(life, UpdateMetadata({"note": "later"}), T0 + 90_000)
        await audit.drain()
        return await build(*args)

    monkeypatch.setattr(jobs.builder, "build_archive", remove_before_build)
    await jobs.archiver.archive(life.session_id, force=True)
    documents = list(life.documents.values())
    assert [event.document for event in await read_trail(audit, life.session_id)] == documents
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    assert [event.document for event in await read_trail(audit, life.session_id)] == documents


async def test_an_archive_that_cannot_be_written_is_recorded_as_failed(audit: AuditParts, tmp_path: Path) -> None:
    life = await finish_and_drain(audit)
    before = await count_rows(audit)
    broken = tmp_path / "broken"
    broken.write_text("a file instead of a folder")
    async with open_job_components(audit, str(broken)) as jobs:
        with pytest.raises(StoreUnavailable, match="object store"):
            await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == before
    (record,) = await audit.history.read_archive_records(life.session_id)
    assert (record.status, record.path) == ("failed", None)
    assert record.error is not None
