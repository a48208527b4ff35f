"""A session made again under its id while something of its life before is in cold storage, or still on its way."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from synckairos.clock.commands import Complete, Delete, Start, Switch
from synckairos.history.records import TrailEvent
from synckairos.jobs.archive import SessionNotFinished
from synckairos.jobs.retention import ArchiveIncomplete
from synckairos.jobs.runner import PermanentJobFailure
from synckairos.jobs.table import JobClaim
from synckairos.wire.instants import to_datetime
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import T0, JobComponents, finished, open_job_components
from tests.integration.session_committer import SessionLife, chess

AGAIN = T0 + 100_000


@pytest.fixture
async def cold(audit: AuditParts) -> AsyncIterator[JobComponents]:
    async with open_job_components(audit) as opened:
        yield opened


async def gone(audit: AuditParts, cold: JobComponents) -> SessionLife:
    """Play a session to its end and have it leave Postgres."""
    life = await finished(audit.committer)
    await audit.drain()
    assert await cold.retention.remove(life.session_id, 0)
    return life


async def deleted(audit: AuditParts, life: SessionLife) -> SessionLife:
    """Delete it: a row that is on its way when its others are gone."""
    return await audit.committer.apply(life, Delete(), AGAIN - 10_000)


async def made_again(
    audit: AuditParts, before: SessionLife, *, at_ms: int = AGAIN, to_the_end: bool = True
) -> SessionLife:
    life = await audit.committer.create(chess(), at_ms, before.session_id, before.snapshot)
    await audit.committer.apply(life, Start(), at_ms + 1000, "first again")
    await audit.committer.apply(life, Switch(), at_ms + 2000)
    if to_the_end:
        await audit.committer.apply(life, Complete(), at_ms + 3000)
    return life


async def left_in_postgres(audit: AuditParts) -> int:
    rows = await audit.rows("SELECT (SELECT count(*) FROM sync_events) + (SELECT count(*) FROM sync_sessions)")
    return int(rows[0][0])


async def trail(audit: AuditParts, session_id: str, limit: int = 200) -> list[TrailEvent]:
    found: list[TrailEvent] = []
    cursor: str | None = None
    while True:
        page = await audit.history.events(session_id, cursor=cursor, limit=limit, snapshots=True)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def is_whole(audit: AuditParts, *lives: SessionLife) -> None:
    """Hold what is answered against all that ever happened: the trail, the end, each instant, each document."""
    session_id, last = lives[-1].session_id, lives[-1]
    expected = [(life.state.epoch, version, life.documents[version]) for life in lives for version in life.documents]
    for limit in (200, 3):
        told = await trail(audit, session_id, limit)
        assert [(event.epoch, event.version, event.document) for event in told] == expected
    for event in told:
        past = await audit.history.version_at(session_id, event.occurred_at_ms)
        assert past is not None
        assert (past.snapshot.epoch, past.snapshot.version, past.snapshot.document) == (
            event.epoch,
            event.version,
            event.document,
        )
        assert await audit.history.version_document(session_id, event.epoch, event.version) == event.document
    latest = await audit.history.latest_version(session_id)
    assert latest is not None
    assert (latest.snapshot.epoch, latest.snapshot.version, latest.snapshot.deleted) == (
        last.state.epoch,
        last.state.version,
        last.state.deleted,
    )
    assert latest.snapshot.document == last.documents[last.state.version]
    assert list(latest.records) == ["first again"]


async def test_what_came_late_of_the_life_before_leaves_with_the_next(audit: AuditParts, cold: JobComponents) -> None:
    first = await deleted(audit, await gone(audit, cold))
    second = await made_again(audit, first)
    await audit.drain()
    everything = JobClaim(1, "retention", {"after_s": 0}, 1, "somebody")
    assert await cold.handlers.run(everything) == {"done": 1, "left": 0, "failed": 0}
    assert await left_in_postgres(audit) == 0
    assert await cold.job_table.list_jobs() == []
    await is_whole(audit, first, second)
    newest, oldest = await audit.history.archive_records(first.session_id)
    assert (newest.removed, newest.error, newest.events) == (True, None, len(second.documents) + 1)
    assert (oldest.removed, oldest.version) == (True, first.state.version - 1)
    assert (await audit.history.cold_reader.latest_version([newest])).snapshot.document == second.documents[
        second.state.version
    ]


async def test_all_lives_before_count(audit: AuditParts, cold: JobComponents) -> None:
    lives = [await gone(audit, cold)]
    for number in (1, 2):
        await audit.committer.apply(lives[-1], Delete(), T0 + number * 100_000 - 10_000)
        lives.append(await made_again(audit, lives[-1], at_ms=T0 + number * 100_000))
        await audit.drain()
        assert await cold.retention.remove(lives[-1].session_id, 0)
    assert await left_in_postgres(audit) == 0
    await is_whole(audit, *lives)


@pytest.mark.parametrize("missing", [2, 6])
async def test_what_no_life_before_has_is_missing(audit: AuditParts, cold: JobComponents, missing: int) -> None:
    first = await finished(audit.committer)
    await audit.drain()
    await cold.archiver.archive(first.session_id)
    # Not by retention, and the archive isn't all there is: it doesn't count.
    await audit.database.execute("DELETE FROM sync_events WHERE version <= %s", [missing])
    second = await made_again(audit, await deleted(audit, first))
    await audit.drain()
    with pytest.raises(
        ArchiveIncomplete, match=f"what comes before version {missing + 1} of epoch {first.state.epoch}"
    ):
        await cold.retention.remove(first.session_id, 0)
    assert await audit.rows("SELECT count(*) FROM sync_events") == [(7 - missing + len(second.documents),)]


async def test_nothing_leaves_while_a_version_of_the_life_before_lies_isolated(
    audit: AuditParts, cold: JobComponents
) -> None:
    first = await deleted(audit, await gone(audit, cold))
    second = await made_again(audit, first)
    await audit.database.execute("ALTER TABLE sync_events ADD CONSTRAINT broken CHECK (NOT deleted)")
    assert await audit.drain(retry_delays_s=()) == len(second.documents)
    assert not await cold.retention.remove(first.session_id, 0)
    # Came it after all had left, it would be the newest that Postgres knows of.
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT broken")
    assert await audit.failed_entries.retry_set_aside() == 1
    assert await audit.drain() == 1
    assert await cold.retention.remove(first.session_id, 0)
    assert await left_in_postgres(audit) == 0
    await is_whole(audit, first, second)


async def test_a_job_for_one_that_was_made_again_ends_without_an_alarm(audit: AuditParts, cold: JobComponents) -> None:
    first = await finished(audit.committer)
    second = await made_again(audit, await deleted(audit, first), to_the_end=False)
    await audit.drain()
    claim = JobClaim(1, "retention", {"session_id": first.session_id, "after_s": 0}, 1, "somebody")
    result = await cold.handlers.run(claim)
    assert (result["removed"], "isn't over" in result["left"]) == (False, True)
    archive = JobClaim(2, "archive", {"session_id": first.session_id, "after_s": 0}, 1, "somebody")
    with pytest.raises(PermanentJobFailure, match="isn't over"):  # as far as anybody knows it never was
        await cold.handlers.run(archive)
    await audit.database.execute(
        "INSERT INTO sync_archives (session_id, created_at, status) VALUES (%s, %s, 'failed')",
        [first.session_id, to_datetime(T0)],
    )
    result = await cold.handlers.run(archive)
    assert (result["archived"], "made again" in result["left"]) == (False, True)
    await audit.committer.apply(second, Complete(), AGAIN + 3000)
    await audit.drain()
    assert await cold.handlers.run(claim) == {"session_id": first.session_id, "removed": True}
    await is_whole(audit, first, second)


async def test_an_archive_is_of_one_life(
    audit: AuditParts, cold: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is made again between the look at it and the reading of its rows is left for the next look."""
    first = await finished(audit.committer)
    await audit.drain()
    pack = cold.archiver._pack

    async def late(*args: Any) -> Any:
        monkeypatch.undo()
        second = await made_again(audit, await deleted(audit, first))
        assert await audit.drain() == 1 + len(second.documents)
        return await pack(*args)

    monkeypatch.setattr(cold.archiver, "_pack", late)
    with pytest.raises(SessionNotFinished, match="made again"):
        await cold.archiver.archive(first.session_id)
    filed = await cold.archiver.archive(first.session_id)
    assert (filed.status, filed.version, filed.events) == ("ready", 4, 11)
    newest, oldest = await audit.history.archive_records(first.session_id)
    assert (newest.path, oldest.path, oldest.status) == (filed.path, None, "failed")
