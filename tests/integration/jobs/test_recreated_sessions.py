"""Sessions that are created again when their earlier versions are in cold storage or in the outbox."""

from typing import Any

import pytest

from synckairos.clock.commands import Complete, Delete, Start, Switch
from synckairos.jobs.ended_session_row import SessionNotFinished
from synckairos.jobs.retention import ArchiveIncomplete
from synckairos.jobs.runner import PermanentJobFailure
from synckairos.jobs.table import ClaimedJob
from synckairos.wire.instants import ms_to_datetime
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import T0, JobComponents, finish_session, read_trail
from tests.integration.session_committer import SessionLife, chess

RECREATED_AT = T0 + 100_000


async def finish_and_remove(audit: AuditParts, jobs: JobComponents) -> SessionLife:
    """Commit a whole session, drain it, and remove it from Postgres."""
    life = await finish_session(audit.committer)
    await audit.drain()
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    return life


async def delete_session(audit: AuditParts, life: SessionLife) -> SessionLife:
    """Delete the session. Its tombstone is in the outbox, and retention has removed its other rows."""
    return await audit.committer.apply(life, Delete(), RECREATED_AT - 10_000)


async def recreate(
    audit: AuditParts, before: SessionLife, *, at_ms: int = RECREATED_AT, finish: bool = True
) -> SessionLife:
    life = await audit.committer.create(chess(), at_ms, before.session_id, before.snapshot)
    await audit.committer.apply(life, Start(), at_ms + 1000, "first again")
    await audit.committer.apply(life, Switch(), at_ms + 2000)
    if finish:
        await audit.committer.apply(life, Complete(), at_ms + 3000)
    return life


async def count_rows_left(audit: AuditParts) -> int:
    rows = await audit.rows("SELECT (SELECT count(*) FROM sync_events) + (SELECT count(*) FROM sync_sessions)")
    return int(rows[0][0])


async def assert_history_is_complete(audit: AuditParts, *lives: SessionLife) -> None:
    """Compare the audit trail, the newest version, each instant and each document with the committed versions."""
    session_id, last = lives[-1].session_id, lives[-1]
    expected = [(life.state.epoch, version, life.documents[version]) for life in lives for version in life.documents]
    for limit in (200, 3):
        events = await read_trail(audit, session_id, limit)
        assert [(event.epoch, event.version, event.document) for event in events] == expected
    for event in events:
        past = await audit.history.read_version_at_instant(session_id, event.occurred_at_ms)
        assert past is not None
        assert (past.snapshot.epoch, past.snapshot.version, past.snapshot.document) == (
            event.epoch,
            event.version,
            event.document,
        )
        assert await audit.history.read_version_document(session_id, event.epoch, event.version) == event.document
    latest = await audit.history.read_latest_version(session_id)
    assert latest is not None
    assert (latest.snapshot.epoch, latest.snapshot.version, latest.snapshot.deleted) == (
        last.state.epoch,
        last.state.version,
        last.state.deleted,
    )
    assert latest.snapshot.document == last.documents[last.state.version]
    assert list(latest.records) == ["first again"]


async def test_a_late_version_of_the_earlier_life_is_removed_with_the_next_life(
    audit: AuditParts, jobs: JobComponents
) -> None:
    first = await delete_session(audit, await finish_and_remove(audit, jobs))
    second = await recreate(audit, first)
    await audit.drain()
    everything = ClaimedJob(1, "retention", {"after_s": 0}, 1, "worker-1")
    assert await jobs.handlers.run(everything) == {"done": 1, "left": 0, "failed": 0}
    assert await count_rows_left(audit) == 0
    assert await jobs.job_table.list_jobs() == []
    await assert_history_is_complete(audit, first, second)
    newest, oldest = await audit.history.read_archive_records(first.session_id)
    assert (newest.removed, newest.error, newest.events) == (True, None, len(second.documents) + 1)
    assert (oldest.removed, oldest.version) == (True, first.state.version - 1)
    assert (await audit.history.cold_reader.read_latest_version([newest])).snapshot.document == second.documents[
        second.state.version
    ]


async def test_the_archives_of_all_earlier_lives_complete_the_newest(audit: AuditParts, jobs: JobComponents) -> None:
    lives = [await finish_and_remove(audit, jobs)]
    for number in (1, 2):
        await audit.committer.apply(lives[-1], Delete(), T0 + number * 100_000 - 10_000)
        lives.append(await recreate(audit, lives[-1], at_ms=T0 + number * 100_000))
        await audit.drain()
        assert await jobs.retention.archive_and_delete(lives[-1].session_id, 0)
    assert await count_rows_left(audit) == 0
    await assert_history_is_complete(audit, *lives)


@pytest.mark.parametrize("missing", [2, 6])
async def test_a_version_that_no_earlier_archive_has_is_missing(
    audit: AuditParts, jobs: JobComponents, missing: int
) -> None:
    first = await finish_session(audit.committer)
    await audit.drain()
    await jobs.archiver.archive(first.session_id)
    # Not deleted by retention. So the archive is not the only copy and does not count.
    await audit.database.execute("DELETE FROM sync_events WHERE version <= %s", [missing])
    second = await recreate(audit, await delete_session(audit, first))
    await audit.drain()
    with pytest.raises(
        ArchiveIncomplete, match=f"the version before version {missing + 1} of epoch {first.state.epoch}"
    ):
        await jobs.retention.archive_and_delete(first.session_id, 0)
    assert await audit.rows("SELECT count(*) FROM sync_events") == [(7 - missing + len(second.documents),)]


async def test_a_session_with_a_failed_entry_of_its_earlier_life_is_retained(
    audit: AuditParts, jobs: JobComponents
) -> None:
    first = await delete_session(audit, await finish_and_remove(audit, jobs))
    second = await recreate(audit, first)
    await audit.database.execute("ALTER TABLE sync_events ADD CONSTRAINT broken CHECK (NOT deleted)")
    assert await audit.drain(retry_delays_s=()) == len(second.documents)
    assert not await jobs.retention.archive_and_delete(first.session_id, 0)
    # If it arrived after the removal, it would be the newest version in Postgres.
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT broken")
    assert await audit.failed_entries.retry_set_aside() == 1
    assert await audit.drain() == 1
    assert await jobs.retention.archive_and_delete(first.session_id, 0)
    assert await count_rows_left(audit) == 0
    await assert_history_is_complete(audit, first, second)


async def test_a_job_for_a_recreated_session_ends_without_an_alert(audit: AuditParts, jobs: JobComponents) -> None:
    first = await finish_session(audit.committer)
    second = await recreate(audit, await delete_session(audit, first), finish=False)
    await audit.drain()
    claim = ClaimedJob(1, "retention", {"session_id": first.session_id, "after_s": 0}, 1, "worker-1")
    result = await jobs.handlers.run(claim)
    assert (result["removed"], "has not ended" in result["left"]) == (False, True)
    archive = ClaimedJob(2, "archive", {"session_id": first.session_id, "after_s": 0}, 1, "worker-1")
    with pytest.raises(PermanentJobFailure, match="has not ended"):  # no record says that it ever ended
        await jobs.handlers.run(archive)
    await audit.database.execute(
        "INSERT INTO sync_archives (session_id, created_at, status) VALUES (%s, %s, 'failed')",
        [first.session_id, ms_to_datetime(T0)],
    )
    result = await jobs.handlers.run(archive)
    assert (result["archived"], "created again" in result["left"]) == (False, True)
    await audit.committer.apply(second, Complete(), RECREATED_AT + 3000)
    await audit.drain()
    assert await jobs.handlers.run(claim) == {"session_id": first.session_id, "removed": True}
    await assert_history_is_complete(audit, first, second)


async def test_a_session_recreated_while_it_is_archived_is_not_archived(
    audit: AuditParts, jobs: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is created again before its rows are read. This job fails, and the next job archives the session."""
    first = await finish_session(audit.committer)
    await audit.drain()
    build = jobs.builder.build_archive

    async def recreate_before_build(*args: Any) -> Any:
        monkeypatch.undo()
        second = await recreate(audit, await delete_session(audit, first))
        assert await audit.drain() == 1 + len(second.documents)
        return await build(*args)

    monkeypatch.setattr(jobs.builder, "build_archive", recreate_before_build)
    with pytest.raises(SessionNotFinished, match="created again"):
        await jobs.archiver.archive(first.session_id)
    record = await jobs.archiver.archive(first.session_id)
    assert (record.status, record.version, record.events) == ("ready", 4, 11)
    newest, oldest = await audit.history.read_archive_records(first.session_id)
    assert (newest.path, oldest.path, oldest.status) == (record.path, None, "failed")
