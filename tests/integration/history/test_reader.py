"""Reads of history from a real Postgres: the published documents, audit trails, lists and time reports."""

from typing import Any
from uuid import uuid4

import pytest

from synckairos.clock.commands import Complete, Delete, Pause, RemoveParticipant, Resume, Start, Switch
from synckairos.errors import ValidationFailed
from synckairos.history.audit_trail import AuditTrail
from synckairos.history.records import TimeReportSpec, TrailEvent, UsedTimeBucket
from synckairos.store.read_cache import ReadCache
from synckairos.wire.idempotency_record import IdempotencyRecord
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import ALICE, BOB, HOUR_MS, SessionCommitter, SessionLife, chess

T0 = 1_700_000_000_123  # 2023-11-14 22:13:20.123 UTC, 23:13:20.123 in Berlin
DAY_MS = 24 * HOUR_MS


async def sum_times(audit: AuditParts, participant_id: str, **fields: Any) -> list[UsedTimeBucket]:
    """Return the rows of the time report of a participant, without the outbox."""
    return await audit.history.used_time.sum_by_bucket(TimeReportSpec(participant_ids=(participant_id,), **fields))


async def play_session(committer: SessionCommitter, at_ms: int = T0, **more: Any) -> SessionLife:
    """Commit a session.

    The turns: Alice one minute, Bob two minutes, a pause of five minutes, Bob two minutes, Alice one minute.
    """
    life = await committer.create(chess(**more), at_ms)
    minute = at_ms + 1
    for minutes, command in (
        (0, Start()),
        (1, Switch()),
        (3, Pause()),
        (8, Resume()),
        (10, Switch()),
        (11, Complete()),
    ):
        await committer.apply(life, command, minute + minutes * 60_000)
    return life


@pytest.mark.pooler
async def test_latest_version_has_the_document_and_the_idempotency_records(audit: AuditParts) -> None:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0 + 1, command_id="first")
    await audit.committer.apply(life, Switch(), T0 + 2, command_id="second")
    assert await audit.history.read_latest_version(life.session_id) is None
    await audit.drain()
    archived = await audit.history.read_latest_version(life.session_id)
    assert archived is not None
    assert (archived.snapshot.epoch, archived.snapshot.version, archived.snapshot.deleted) == (
        life.state.epoch,
        3,
        False,
    )
    assert archived.snapshot.document == life.documents[3]
    assert {name: IdempotencyRecord.parse(record) for name, record in archived.records.items()} == {
        "first": IdempotencyRecord("print of first", life.state.epoch, 2),
        "second": IdempotencyRecord("print of second", life.state.epoch, 3),
    }


async def test_latest_version_of_a_deleted_and_of_a_recreated_session(audit: AuditParts) -> None:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Delete(), T0 + 5, command_id="gone")
    await audit.drain()
    archived = await audit.history.read_latest_version(life.session_id)
    assert archived is not None
    assert (archived.snapshot.version, archived.snapshot.deleted) == (2, True)
    again = await audit.committer.create(chess(), T0 + 9, life.session_id, life.snapshot)
    await audit.drain()
    archived = await audit.history.read_latest_version(life.session_id)
    assert archived is not None
    assert (archived.snapshot.epoch, archived.snapshot.version, archived.snapshot.deleted, archived.records) == (
        again.state.epoch,
        1,
        False,
        {},
    )


@pytest.mark.parametrize("session_id", ["01980000-0000-7000-8000-000000000000", "no uuid", ""])
async def test_reads_of_an_unknown_session_return_nothing(audit: AuditParts, session_id: str) -> None:
    assert await audit.history.read_latest_version(session_id) is None
    assert await audit.history.read_version_document(session_id, "e", 1) is None
    assert await audit.history.read_version_at_instant(session_id, T0) is None
    assert (await audit.history.read_events_page(session_id)).items == ()


async def test_version_at_returns_the_version_in_effect_at_the_instant(audit: AuditParts) -> None:
    life = await play_session(audit.committer)
    await audit.drain()

    async def version_at(at_ms: int) -> int | None:
        archived = await audit.history.read_version_at_instant(life.session_id, at_ms)
        return None if archived is None else archived.snapshot.version

    assert [await version_at(T0 + ms) for ms in (-1, 0, 1, 60_000, 60_001, DAY_MS)] == [None, 1, 2, 2, 3, 7]
    assert await version_at(-(2**62)) is None
    assert await version_at(2**62) == 7


@pytest.mark.pooler
async def test_the_trail_is_complete_while_versions_are_in_the_outbox(audit: AuditParts) -> None:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0 + 1000)
    await audit.drain()
    for move in range(5):
        await audit.committer.apply(life, Switch(), T0 + 2000 + move)
    trail = AuditTrail(audit.history, audit.outbox, ReadCache(audit.pipe, audit.keys))
    seen: list[TrailEvent] = []
    cursor = None
    for _ in range(10):
        page = await trail.read_page(life.session_id, cursor=cursor, limit=3, snapshots=True)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
        if len(seen) == 3:
            await audit.drain()
    assert [event.version for event in seen] == [1, 2, 3, 4, 5, 6, 7]
    assert {event.version: event.document for event in seen} == life.documents
    assert (seen[2].event_type, seen[2].participant_id, seen[2].time_used_ms) == ("cycle_switched", ALICE, 1000)
    assert (await trail.read_page(life.session_id)).items[0].document is None


async def test_outbox_entries_of_a_session_are_its_own_and_none_after_a_drain(audit: AuditParts) -> None:
    life, _ = await play_session(audit.committer), await play_session(audit.committer)
    waiting = await audit.outbox.read_session_entries(life.session_id)
    assert {entry.version: entry.document for entry in waiting} == life.documents
    assert [entry.version for entry in waiting] == sorted(life.documents)
    await audit.drain()
    assert await audit.outbox.read_session_entries(life.session_id) == []


async def test_sessions_are_listed_newest_first_by_cursor(audit: AuditParts) -> None:
    lives = [await audit.committer.create(chess(), T0 + at // 2) for at in range(7)]
    await audit.committer.apply(lives[3], Start(), T0 + 100)
    await audit.committer.apply(lives[5], Delete(), T0 + 100)
    await audit.drain()
    expected = sorted(
        ((life.state.rules.created_at_ms, life.session_id) for life in lives if not life.state.deleted), reverse=True
    )
    seen, cursor = [], None
    while True:
        page = await audit.history.read_sessions_page(cursor=cursor, limit=2)
        seen += [(item.created_at_ms, item.session_id) for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == expected
    running = await audit.history.read_sessions_page(status="running")
    assert [(item.session_id, item.snapshot and item.snapshot.document) for item in running.items] == [
        (lives[3].session_id, lives[3].documents[2])
    ]
    known = await audit.history.read_sessions_page(known_ids=[lives[3].session_id])
    assert [item.created_at_ms for item in known.items] == [created_at_ms for created_at_ms, _ in expected]
    assert {item.session_id for item in known.items if item.snapshot is None} == {lives[3].session_id}
    assert (await audit.history.read_sessions_page(sync_mode="global")).items == ()


@pytest.mark.pooler
async def test_participant_sessions_are_listed_newest_first_with_their_values(audit: AuditParts) -> None:
    old = await play_session(audit.committer, T0 - 40 * DAY_MS)
    life = await play_session(audit.committer, metadata={"project": "x"})
    paused = await audit.committer.create(chess(), T0 + DAY_MS)
    await audit.committer.apply(paused, Start(), T0 + DAY_MS + 1)
    await audit.committer.apply(paused, Pause(), T0 + DAY_MS + 1001)
    gone = await play_session(audit.committer, T0 + DAY_MS)
    await audit.committer.apply(gone, Delete(), T0 + 2 * DAY_MS)
    await audit.drain()
    now_ms = T0 + 2 * DAY_MS

    page = await audit.history.participant_sessions.read_page(BOB, since_ms=now_ms - 30 * DAY_MS)
    assert [item.session_id for item in page.items] == [paused.session_id, life.session_id]
    assert (page.items[0].paused_ms, page.items[0].at_ms) == (0, T0 + DAY_MS + 1001), "the pause has not ended"
    item = page.items[1]
    assert (item.time_used_ms, item.paused_ms, item.cycle_count) == (4 * 60_000, 5 * 60_000, 1)
    assert (item.sync_mode, item.status, item.version) == ("per_participant", "completed", 7)
    assert (item.started_at_ms, item.completed_at_ms) == (T0 + 1, T0 + 1 + 11 * 60_000)
    assert item.metadata == b'{"project":"x"}'

    first = await audit.history.participant_sessions.read_page(BOB, since_ms=0, limit=2)
    rest = await audit.history.participant_sessions.read_page(BOB, since_ms=0, cursor=first.next_cursor)
    assert [item.session_id for item in rest.items] == [old.session_id]
    assert rest.next_cursor is None


async def test_a_removed_participant_keeps_the_session_and_its_time(audit: AuditParts) -> None:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0)
    await audit.committer.apply(life, Switch(), T0 + 7000)
    await audit.committer.apply(life, RemoveParticipant(ALICE), T0 + 8000)
    await audit.committer.apply(life, Complete(), T0 + 9000)
    await audit.drain()
    (item,) = (await audit.history.participant_sessions.read_page(ALICE, since_ms=0)).items
    assert item.time_used_ms == 7000
    (slot,) = await sum_times(audit, ALICE, from_ms=0, to_ms=T0 + DAY_MS, now_ms=T0 + DAY_MS)
    assert slot.time_used_ms == 7000
    assert await audit.rows("SELECT left_at IS NOT NULL FROM sync_participants ORDER BY participant_id") == [
        (True,),
        (False,),
    ]


@pytest.mark.pooler
async def test_time_by_session_day_and_week(audit: AuditParts) -> None:
    first = await play_session(audit.committer, metadata={"project": "x"})
    second = await play_session(audit.committer, T0 + 7 * DAY_MS, metadata={"project": "y"})
    await audit.drain()
    span: dict[str, Any] = {"from_ms": T0 - DAY_MS, "to_ms": T0 + 30 * DAY_MS, "now_ms": T0 + 30 * DAY_MS}
    four_minutes = 4 * 60_000

    by_session = await sum_times(audit, BOB, **span, bucket="session")
    assert sorted(by_session, key=lambda each: each.bucket) == sorted(
        (UsedTimeBucket(life.session_id, four_minutes, 1) for life in (first, second)), key=lambda each: each.bucket
    )
    assert await sum_times(audit, BOB, **span) == [
        UsedTimeBucket("2023-11-14", four_minutes, 1),
        UsedTimeBucket("2023-11-21", four_minutes, 1),
    ]
    assert await sum_times(audit, BOB, **span, bucket="week", metadata_key="project") == [
        UsedTimeBucket("2023-W46", four_minutes, 1, ("x",)),
        UsedTimeBucket("2023-W47", four_minutes, 1, ("y",)),
    ]
    assert await sum_times(audit, BOB, **(span | {"to_ms": T0 + DAY_MS}), metadata_key="none") == [
        UsedTimeBucket("2023-11-14", four_minutes, 1, (None,))
    ]


async def test_time_is_split_at_local_midnight_and_cut_to_the_range(audit: AuditParts) -> None:
    # 22:59:50 UTC is ten seconds before midnight in Berlin. Alice's turn lasts 25 h, over that midnight and the next.
    begin = 1_700_002_790_000
    life = await audit.committer.create(chess(48 * HOUR_MS), begin)
    await audit.committer.apply(life, Start(), begin)
    await audit.committer.apply(life, Switch(), begin + 25 * HOUR_MS)
    await audit.drain()
    span: dict[str, Any] = {"from_ms": begin - DAY_MS, "to_ms": begin + 3 * DAY_MS, "now_ms": begin + 25 * HOUR_MS}

    berlin = await sum_times(audit, ALICE, **span, tz="Europe/Berlin")
    assert [(each.bucket, each.time_used_ms) for each in berlin] == [
        ("2023-11-14", 10_000),
        ("2023-11-15", DAY_MS),
        ("2023-11-16", HOUR_MS - 10_000),
    ]
    cut = await sum_times(
        audit, ALICE, from_ms=begin + HOUR_MS, to_ms=begin + 2 * HOUR_MS, now_ms=begin + 25 * HOUR_MS, bucket="week"
    )
    assert cut == [UsedTimeBucket("2023-W46", HOUR_MS, 1)]


async def test_a_running_turn_counts_up_to_now(audit: AuditParts) -> None:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0)
    await audit.drain()
    (slot,) = await sum_times(audit, ALICE, from_ms=T0, to_ms=T0 + DAY_MS, now_ms=T0 + 90_000)
    assert slot.time_used_ms == 90_000


async def test_a_day_of_23_hours_has_23_hours(audit: AuditParts) -> None:
    # Clocks in Berlin went forward on 2024-03-31 at 01:00 UTC.
    begin = 1_711_839_600_000  # 2024-03-31 00:00 in Berlin
    life = await audit.committer.create(chess(48 * HOUR_MS), begin)
    await audit.committer.apply(life, Start(), begin)
    await audit.committer.apply(life, Switch(), begin + 30 * HOUR_MS)
    await audit.drain()
    found = await sum_times(
        audit, ALICE, from_ms=begin, to_ms=begin + 2 * DAY_MS, now_ms=begin + 2 * DAY_MS, tz="Europe/Berlin"
    )
    assert [(each.bucket, each.time_used_ms // HOUR_MS) for each in found] == [("2024-03-31", 23), ("2024-04-01", 7)]


@pytest.mark.parametrize("tz", ["Mars/Olympus", "", "UTC; DROP", "foo+3", "Europe/Berlin\n"])
async def test_an_unknown_time_zone_is_refused(audit: AuditParts, tz: str) -> None:
    with pytest.raises(ValidationFailed):
        await sum_times(audit, ALICE, from_ms=0, to_ms=T0, now_ms=T0, tz=tz)


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsMl0", "ä", "WzEsIm5vdXVpZCJd"])
async def test_an_invalid_cursor_or_limit_is_refused(audit: AuditParts, cursor: str) -> None:
    with pytest.raises(ValidationFailed):
        await audit.history.read_sessions_page(cursor=cursor)
    with pytest.raises(ValidationFailed):
        await audit.history.read_events_page(str(uuid4()), cursor=cursor)
    with pytest.raises(ValidationFailed):
        await audit.history.read_sessions_page(limit=201)
