"""Jobs for many sessions: a session that fails gets a separate job, and the other sessions are done."""

from pathlib import Path

import pytest

from synckairos.clock.commands import UpdateMetadata
from synckairos.config import LONGEST_S
from synckairos.errors import StoreUnavailable
from synckairos.jobs.retention import ArchiveIncomplete
from synckairos.jobs.table import ClaimedJob
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import T0, JobComponents, finish_and_drain, open_job_components


def claim_all(type_: str, after_s: int = 0) -> ClaimedJob:
    """Return the claim of a job for all sessions that ended at least `after_s` seconds ago."""
    return ClaimedJob(1, type_, {"after_s": after_s}, 1, "worker-1")


async def test_the_longest_allowed_ages_are_within_the_range_of_postgres(
    audit: AuditParts, jobs: JobComponents
) -> None:
    await finish_and_drain(audit)
    for type_ in ("archive", "retention"):
        assert not await jobs.job_table.find_tenants_with_work(type_, LONGEST_S)
        result = await jobs.handlers.run(claim_all(type_, LONGEST_S))
        assert result == {"done": 0, "left": 0, "failed": 0}


@pytest.mark.pooler
async def test_a_session_that_cannot_be_archived_gets_its_own_job(audit: AuditParts, jobs: JobComponents) -> None:
    lives = [await finish_and_drain(audit) for _ in range(4)]
    bad = lives[1].session_id
    await audit.database.execute("UPDATE sync_events SET snapshot = '{}' WHERE session_id = %s", [bad])
    assert await jobs.handlers.run(claim_all("archive")) == {"done": 3, "left": 0, "failed": 1}
    (job,) = await jobs.job_table.list_jobs()
    assert (job.type, job.params["session_id"]) == ("archive", bad)
    for life in lives:
        (record,) = await audit.history.read_archive_records(life.session_id)
        assert record.status == ("failed" if life.session_id == bad else "ready")
    # The failed session is skipped for an hour, and the others are done.
    assert await jobs.handlers.run(claim_all("archive")) == {"done": 0, "left": 0, "failed": 0}


async def test_a_session_with_an_incomplete_archive_is_skipped_for_an_hour(
    audit: AuditParts, jobs: JobComponents
) -> None:
    bad, good = await finish_and_drain(audit), await finish_and_drain(audit)
    await audit.database.execute("DELETE FROM sync_events WHERE session_id = %s AND version = 2", [bad.session_id])
    assert await jobs.job_table.find_tenants_with_work("retention", 0)
    assert await jobs.handlers.run(claim_all("retention")) == {"done": 1, "left": 0, "failed": 1}
    (job,) = await jobs.job_table.list_jobs()
    assert (job.type, job.params["session_id"]) == ("retention", bad.session_id)
    # Scheduled jobs skip it. A job for this session shows the reason.
    assert not await jobs.job_table.find_tenants_with_work("retention", 0)
    assert await jobs.handlers.run(claim_all("retention")) == {"done": 0, "left": 0, "failed": 0}
    with pytest.raises(ArchiveIncomplete, match="version 2"):
        await jobs.retention.archive_and_delete(bad.session_id, 0)
    (record,) = await audit.history.read_archive_records(bad.session_id)
    assert (record.status, "version 2" in (record.error or "")) == ("ready", True)
    (record,) = await audit.history.read_archive_records(good.session_id)
    assert (record.removed, record.error) == (True, None)


async def test_a_retained_session_is_skipped_by_retention_but_not_by_archive(
    audit: AuditParts, jobs: JobComponents
) -> None:
    life = await finish_and_drain(audit)
    await audit.committer.apply(life, UpdateMetadata({"note": "in the outbox"}), T0 + 90_000)
    assert await jobs.handlers.run(claim_all("retention")) == {"done": 0, "left": 1, "failed": 0}
    assert not await jobs.job_table.find_tenants_with_work("retention", 0)
    # A later version is archived without that delay.
    await audit.drain()
    assert await jobs.job_table.find_tenants_with_work("archive", 0)
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    # A session of which Postgres has only a late version, and whose archive is missing, is skipped too.
    await audit.committer.apply(life, UpdateMetadata({"note": "late"}), T0 + 91_000)
    await audit.drain()
    (record,) = await audit.history.read_archive_records(life.session_id)
    assert record.path is not None
    await jobs.cold_storage.delete(record.path)
    assert await jobs.handlers.run(claim_all("retention")) == {"done": 0, "left": 0, "failed": 1}
    assert not await jobs.job_table.find_tenants_with_work("retention", 0)
    assert not await jobs.job_table.find_tenants_with_work("archive", 0)


async def test_a_job_without_its_object_store_fails_and_changes_nothing(audit: AuditParts, tmp_path: Path) -> None:
    await finish_and_drain(audit)
    (tmp_path / "broken").write_text("a file instead of a folder")
    async with open_job_components(audit, str(tmp_path / "broken")) as jobs:
        for type_ in ("archive", "retention"):
            with pytest.raises(StoreUnavailable):
                await jobs.handlers.run(claim_all(type_))
        assert await jobs.job_table.list_jobs() == []
    assert await audit.rows("SELECT count(*) FROM sync_events") == [(6,)]
