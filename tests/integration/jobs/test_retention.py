"""Retention jobs: rows are deleted only if a complete and verified archive has them, and history can still be read."""

from typing import Any

import pytest

from synckairos.audit.verify import open_verifier
from synckairos.clock.commands import Delete, UpdateMetadata
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.history.cold.reader import ArchiveDamaged
from synckairos.jobs.ended_session_row import SessionNotFinished
from synckairos.jobs.retention import ArchiveIncomplete
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import (
    T0,
    TABLES,
    JobComponents,
    count_rows,
    finish_and_drain,
    finish_session,
    insert_conflict,
    object_path,
    read_trail,
)
from tests.integration.session_committer import chess


@pytest.mark.pooler
async def test_a_removed_session_is_read_from_its_archive(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit, 5)
    latest_before = await audit.history.read_latest_version(life.session_id)
    trail_before = await read_trail(audit, life.session_id)
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == [0] * len(TABLES)
    latest = await audit.history.read_latest_version(life.session_id)
    assert latest is not None
    assert latest_before is not None
    assert latest.snapshot == latest_before.snapshot
    assert latest.records == latest_before.records
    assert latest.records
    assert await read_trail(audit, life.session_id) == trail_before
    assert await read_trail(audit, life.session_id, limit=2) == trail_before
    past = await audit.history.read_version_at_instant(life.session_id, T0 + 2500)
    assert past is not None
    assert past.snapshot.document == life.documents[3]
    assert await audit.history.read_version_at_instant(life.session_id, T0 - 1) is None
    assert await audit.history.read_version_document(life.session_id, life.state.epoch, 2) == life.documents[2]
    assert await audit.history.read_version_document(life.session_id, life.state.epoch, 99) is None


@pytest.mark.pooler
async def test_a_change_after_the_removal_is_added_to_the_archive(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    before = await read_trail(audit, life.session_id)
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    await audit.committer.apply(life, UpdateMetadata({"note": "later"}), T0 + 90_000)
    await audit.drain()
    after = await read_trail(audit, life.session_id)
    assert after[:-1] == before
    assert after[-1].event_type == "metadata_updated"
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == [0] * len(TABLES)
    assert await read_trail(audit, life.session_id) == after
    assert await read_trail(audit, life.session_id, limit=1) == after
    (record,) = await audit.history.read_archive_records(life.session_id)
    assert (record.version, record.events, record.removed) == (life.state.version, len(after), True)


async def test_verification_of_a_removed_session_begins_after_its_archive(
    audit: AuditParts, jobs: JobComponents
) -> None:
    life = await finish_and_drain(audit)
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    for at_ms in (T0 + 90_000, T0 + 91_000):
        await audit.committer.apply(life, UpdateMetadata({"at": at_ms}), at_ms)
    await audit.drain()
    async with open_verifier(audit.settings.database_url, OutageChargePolicy("charge")) as verifier:
        verified = await verifier.verify_session(life.session_id)
        assert verified is not None
        assert [(each.version, each.kind) for each in verified.findings if each.kind == "taken"] == [(7, "taken")]
        assert "gap" not in {each.kind for each in verified.findings}
    await audit.database.execute("DELETE FROM sync_events WHERE version = 7")
    async with open_verifier(audit.settings.database_url, OutageChargePolicy("charge")) as verifier:
        verified = await verifier.verify_session(life.session_id)
        assert verified is not None
        assert "gap" in {each.kind for each in verified.findings}


async def test_a_removed_tombstone_stays_in_the_trail_of_the_next_life(audit: AuditParts, jobs: JobComponents) -> None:
    first = await finish_session(audit.committer)
    await audit.committer.apply(first, Delete(), T0 + 60_000)
    await audit.drain()
    assert await jobs.retention.archive_and_delete(first.session_id, 0)
    latest = await audit.history.read_latest_version(first.session_id)
    assert latest is not None
    assert latest.snapshot.deleted
    second = await audit.committer.create(chess(), T0 + 70_000, first.session_id, first.snapshot)
    await audit.drain()
    latest = await audit.history.read_latest_version(first.session_id)
    assert latest is not None
    assert (latest.snapshot.version, latest.snapshot.deleted) == (1, False)
    epochs = [event.epoch for event in await read_trail(audit, second.session_id)]
    assert epochs == [first.state.epoch] * first.state.version + [second.state.epoch]


async def test_a_session_with_a_version_in_the_outbox_is_retained(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    before = await count_rows(audit)
    await audit.committer.apply(life, UpdateMetadata({"note": "in the outbox"}), T0 + 90_000)
    assert not await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == before
    await audit.drain()
    assert await jobs.retention.archive_and_delete(life.session_id, 0)


async def test_a_session_with_pending_webhook_deliveries_is_retained(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    await audit.database.execute(
        "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, session_id, event_type)"
        " SELECT gen_random_uuid(), gen_random_uuid(), session_id, 'session_completed' FROM sync_sessions"
    )
    before = await jobs.archiver.archive(life.session_id)
    assert not await jobs.retention.archive_and_delete(life.session_id, 0)
    (record,) = await audit.history.read_archive_records(life.session_id)
    assert record.archived_at_ms == before.archived_at_ms
    assert record.error == "Stays: the session has pending webhook deliveries"
    await audit.database.execute("UPDATE webhook_deliveries SET status = 'delivered'")
    assert await jobs.retention.archive_and_delete(life.session_id, 0)


async def test_a_session_that_ended_later_is_not_removed(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    with pytest.raises(SessionNotFinished):
        await jobs.retention.archive_and_delete(life.session_id, 100 * 365 * 86_400)
    assert (await count_rows(audit))[0] == 1


async def test_nothing_is_deleted_if_the_archive_or_a_row_is_damaged(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    before = await count_rows(audit)
    record = await jobs.archiver.archive(life.session_id)
    path = object_path(audit, record)
    content = path.read_bytes()
    path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    with pytest.raises(ArchiveDamaged):
        await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == before
    path.write_bytes(content)
    # A row that differs from the archive. The number of rows and their versions are the same.
    await audit.database.execute("UPDATE sync_events SET payload_hash = 'another' WHERE version = 2")
    with pytest.raises(ValueError, match="version 2"):
        await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == before
    assert path.read_bytes() == content


async def test_nothing_is_deleted_if_versions_are_missing(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_and_drain(audit)
    await audit.database.execute("DELETE FROM sync_events WHERE version = 3")
    before = await count_rows(audit)
    with pytest.raises(ArchiveIncomplete, match="version 3"):
        await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await count_rows(audit) == before


async def test_conflicts_are_removed_with_their_session_and_stay_in_the_archive(
    audit: AuditParts, jobs: JobComponents
) -> None:
    life = await finish_and_drain(audit)
    await insert_conflict(audit)
    for _ in range(2):
        assert await jobs.retention.archive_and_delete(life.session_id, 0)
        assert await count_rows(audit) == [0] * len(TABLES)
        (record,) = await audit.history.read_archive_records(life.session_id)
        archive = await audit.history.cold_reader.read_archive(record)
        (conflict,) = (line for line in archive.read_lines() if line.row["kind"] == "conflict")
        assert [line.row for line in archive.conflicts] == [conflict.row]
        assert (conflict.document, conflict.row["event"], conflict.row["version"]) == (b"{}", {"a": 1}, 2)
        # They also stay when a later version is added to the archive.
        await audit.committer.apply(life, UpdateMetadata({"of": life.state.version}), T0 + 90_000)
        await audit.drain()


@pytest.mark.pooler
async def test_rows_are_deleted_only_if_the_verified_archive_is_the_recorded_one(
    audit: AuditParts, jobs: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await finish_and_drain(audit)
    delete = jobs.rows.delete

    async def replace_before_delete(*args: Any) -> bool:
        monkeypatch.undo()
        await audit.database.execute("UPDATE sync_archives SET path = 'an/unverified/object'")
        return await delete(*args)

    monkeypatch.setattr(jobs.rows, "delete", replace_before_delete)
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    assert [event.document for event in await read_trail(audit, life.session_id)] == list(life.documents.values())
