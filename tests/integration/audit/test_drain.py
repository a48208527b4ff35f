"""The drain on real stores: each version is written once after any interruption, and no entry delays other entries."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from synckairos.audit.drain import OutboxDrain
from synckairos.clock.commands import Delete, Pause, Resume, Start, Switch, UpdateMetadata
from synckairos.errors import StoreUnavailable
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.keys import Keys
from synckairos.store.outbox import Outbox, WrittenVersion
from synckairos.store.sessions import SessionStore
from synckairos.store.store_generation import make_session_epoch, new_generation
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import ACTOR, ALICE, BOB, HOUR_MS, SessionCommitter, SessionLife, chess
from tests.waiting import eventually

T0 = 1_700_000_000_123


async def play(audit: AuditParts, moves: int = 4, at_ms: int = T0, **more: Any) -> SessionLife:
    life = await audit.committer.create(chess(**more), at_ms)
    await audit.committer.apply(life, Start(), at_ms + 1000)
    for move in range(moves):
        await audit.committer.apply(life, Switch(), at_ms + 2000 + 1000 * move)
    return life


async def test_a_drain_writes_one_row_per_version_with_the_bytes_of_its_document(audit: AuditParts) -> None:
    life = await play(audit)
    assert await audit.drain() == 6
    rows = await audit.rows(
        "SELECT version, epoch, event_type, occurred_at, snapshot, payload_hash, actor, command, args, deleted"
        " FROM sync_events WHERE session_id = %s ORDER BY version",
        life.session_id,
    )
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row[1] for row in rows} == {life.state.epoch}
    assert [row[2] for row in rows] == ["session_created", "session_started", *["cycle_switched"] * 4]
    assert [round(row[3].timestamp() * 1000) for row in rows] == [
        T0,
        *(T0 + ms for ms in (1000, 2000, 3000, 4000, 5000)),
    ]
    assert {row[0]: row[4] for row in rows} == life.documents
    assert all(row[5] == hashlib.sha256(row[4]).digest() for row in rows)
    assert rows[2][6:] == (ACTOR, "switch", {"at": T0 + 2000}, False)
    assert await audit.outbox.is_empty(0)
    assert await audit.drain() == 0


@pytest.mark.pooler
async def test_projections_hold_the_newest_version_after_several_batches(audit: AuditParts) -> None:
    life = await play(audit, moves=3, metadata={"project": "x"})
    await audit.drain(batch_entries=2)
    ((session_id, version, mode, status, metadata),) = await audit.rows(
        "SELECT session_id, version, sync_mode, status, metadata FROM sync_sessions"
    )
    assert (session_id, version, mode, status) == (UUID(life.session_id), 5, "per_participant", "running")
    assert metadata == {"project": "x"}
    people = await audit.rows(
        "SELECT participant_id::text, time_used_ms, cycle_count, left_at FROM sync_participants ORDER BY 1"
    )
    assert people == [(ALICE, 2000, 2, None), (BOB, 1000, 1, None)]


async def test_entries_drained_a_second_time_write_nothing(audit: AuditParts) -> None:
    life = await play(audit)
    entries = await audit.pipe.call("XRANGE", audit.keys.outbox(0), "-", "+")
    await audit.drain()
    for _, fields in entries:
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields)
    assert await audit.drain() == 0
    assert len(await audit.rows("SELECT 1 FROM sync_events")) == len(life.documents)
    assert await audit.rows("SELECT 1 FROM sync_conflicts") == []
    assert await audit.outbox.is_empty(0)


@pytest.mark.pooler
async def test_a_batch_with_known_and_new_versions_writes_the_new_ones(audit: AuditParts) -> None:
    life = await play(audit)
    entries = await audit.pipe.call("XRANGE", audit.keys.outbox(0), "-", "+")
    await audit.drain()
    await audit.committer.apply(life, Switch(), T0 + 20_000)
    for _, fields in entries:
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields)
    await audit.committer.apply(life, Switch(), T0 + 21_000)
    assert await audit.drain() == 2
    rows = await audit.rows("SELECT version, snapshot FROM sync_events")
    assert len(rows) == 8
    assert dict(rows) == life.documents
    assert await audit.rows("SELECT version FROM sync_sessions") == [(8,)]
    assert await audit.rows("SELECT 1 FROM sync_conflicts") == []
    assert await audit.outbox.is_empty(0)


@pytest.mark.pooler
async def test_a_version_with_different_content_is_kept_as_a_conflict_and_counted(audit: AuditParts) -> None:
    life = await play(audit, moves=0)
    await audit.drain()
    other = orjson.loads(life.documents[2]) | {"metadata": {"never": "seen"}}
    fields = ("session_id", life.session_id, "epoch", life.state.epoch, "version", 2)
    event = orjson.dumps({"event_type": "session_started", "occurred_at_ms": T0})
    for _ in range(2):
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields, "event", event, "state", orjson.dumps(other))
    assert await audit.drain() == 0
    ((version, snapshot),) = await audit.rows("SELECT version, snapshot FROM sync_conflicts")
    assert (version, snapshot) == (2, orjson.dumps(other))
    ((kept,),) = await audit.rows("SELECT snapshot FROM sync_events WHERE version = 2")
    assert kept == life.documents[2]
    assert (await audit.outbox.measure_backlog()).tally.conflicts == 1


async def test_a_session_gets_a_ttl_only_when_its_newest_version_is_audited(audit: AuditParts) -> None:
    life = await play(audit, moves=1)
    session = audit.keys.session(life.session_id)
    assert await audit.pipe.call("PTTL", session) == -1
    batch = await audit.outbox.read(0, 2, 1 << 20)
    await audit.outbox.remove_written(
        0,
        [delivery.entry_id for delivery in batch],
        [WrittenVersion(life.session_id, life.state.epoch, 2)],
        3_600_000,
        size_bytes=sum(delivery.size_bytes for delivery in batch),
    )
    assert await audit.pipe.call("HGET", session, "audited") == b"2"
    assert await audit.pipe.call("PTTL", session) == -1
    assert await audit.drain() == 1
    assert await audit.pipe.call("HGET", session, "audited") == b"3"
    for key in (session, audit.keys.history(life.session_id)):
        assert 0 < await audit.pipe.call("PTTL", key) <= 3_600_000
    await audit.committer.apply(life, UpdateMetadata({"a": 1}), T0 + 10_000)
    assert await audit.pipe.call("PTTL", session) == -1


async def test_the_ttl_of_a_session_ends_an_hour_after_its_deadline(audit: AuditParts) -> None:
    seconds, _ = await audit.pipe.call("TIME")
    now_ms = int(seconds) * 1000
    life = await play(audit, moves=0, at_ms=now_ms, budget_ms=5 * HOUR_MS)
    await audit.drain()
    ttl_ms = await audit.pipe.call("PTTL", audit.keys.session(life.session_id))
    assert 6 * HOUR_MS - 60_000 < ttl_ms <= 6 * HOUR_MS + 2000


async def test_a_drain_does_not_recreate_a_session_missing_in_redis(audit: AuditParts) -> None:
    life = await play(audit)
    await audit.pipe.call("DEL", audit.keys.session(life.session_id))
    await audit.drain()
    assert await audit.pipe.call("EXISTS", audit.keys.session(life.session_id)) == 0


async def test_a_session_created_again_replaces_its_projection(audit: AuditParts) -> None:
    life = await play(audit)
    await audit.committer.apply(life, Delete(), T0 + 50_000)
    again = await audit.committer.create(chess(), T0 + 50_000, life.session_id, life.snapshot)
    await audit.drain()
    assert await audit.rows("SELECT epoch, version, deleted_at FROM sync_sessions") == [(again.state.epoch, 1, None)]
    assert len(await audit.rows("SELECT 1 FROM sync_events")) == len(life.documents) + 1


async def test_a_late_version_does_not_move_a_projection_back(audit: AuditParts) -> None:
    life = await play(audit)
    entries = await audit.pipe.call("XRANGE", audit.keys.outbox(0), "-", "+")
    await audit.pipe.call("XDEL", audit.keys.outbox(0), entries[2][0])
    await audit.drain()
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *entries[2][1])
    assert await audit.drain() == 1
    assert await audit.rows("SELECT version FROM sync_sessions") == [(6,)]
    people = await audit.rows("SELECT sum(cycle_count)::int FROM sync_participants")
    assert people == [(4,)]
    assert await audit.pipe.call("HGET", audit.keys.session(life.session_id), "audited") == b"6"


async def take_entries(audit: AuditParts, first: int) -> list[list[bytes]]:
    """Remove all entries except the `first` oldest entries from the outbox, as if a stuck worker had read them.

    Return them.
    """
    entries = (await audit.pipe.call("XRANGE", audit.keys.outbox(0), "-", "+"))[first:]
    await audit.pipe.call("XDEL", audit.keys.outbox(0), *(entry_id for entry_id, _ in entries))
    return [fields for _, fields in entries]


async def add_entries(audit: AuditParts, late: list[list[bytes]]) -> None:
    for fields in late:
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields)
    assert await audit.drain() == len(late)


async def test_late_versions_of_a_lost_epoch_do_not_change_projections(audit: AuditParts) -> None:
    life = await play(audit, moves=0)
    known = replace(life)
    for move in range(4):
        await audit.committer.apply(life, Switch(), T0 + 2000 + 1000 * move)
    late = await take_entries(audit, 2)
    await audit.drain()
    await audit.pipe.call("DEL", audit.keys.session(life.session_id))
    again = await audit.committer.recover(known, make_session_epoch(new_generation(1)), T0 + 9_000)
    await audit.committer.apply(again, Switch(), T0 + 10_000)
    await audit.drain()
    projections = "SELECT epoch, version, updated_at FROM sync_sessions"
    people = "SELECT participant_id, time_used_ms, cycle_count FROM sync_participants ORDER BY 1"
    before = [await audit.rows(query) for query in (projections, people)]
    assert before[0][0][:2] == (again.state.epoch, 4)
    await add_entries(audit, late)
    assert [await audit.rows(query) for query in (projections, people)] == before
    archived = await audit.history.read_latest_version(life.session_id)
    assert archived is not None
    assert archived.snapshot.document == again.documents[4]
    # A late version does not undo a deletion.
    await audit.committer.apply(again, Delete(), T0 + 11_000)
    await audit.drain()
    await audit.rows("DELETE FROM sync_events WHERE epoch = %s AND version = 6 RETURNING 1", life.state.epoch)
    await add_entries(audit, late[-1:])
    assert await audit.rows("SELECT epoch, version, deleted_at IS NULL FROM sync_sessions") == [
        (again.state.epoch, 5, False)
    ]


@pytest.mark.parametrize("is_late", [False, True])
async def test_of_two_epochs_from_one_version_the_projection_has_the_later_life(
    audit: AuditParts, is_late: bool
) -> None:
    life = await play(audit, moves=0)
    await audit.drain()
    lives = []
    for generation in (new_generation(1), new_generation(2)):
        await audit.pipe.call("DEL", audit.keys.session(life.session_id))
        lives.append(await audit.committer.recover(life, make_session_epoch(generation), T0 + 9_000))
        await audit.committer.apply(lives[-1], Switch(), T0 + 10_000)
    first, second = lives
    late = await take_entries(audit, 0)
    # The first epoch was lost before a drain saw it. Its versions arrive late, or just before those of the second.
    for part in (late[2:], late[:2]) if is_late else (late[:2], late[2:]):
        await add_entries(audit, part)
    assert await audit.rows("SELECT epoch, version FROM sync_sessions") == [(second.state.epoch, 4)]
    assert first.state.epoch < second.state.epoch


async def test_two_concurrent_drains_write_every_version_once(audit: AuditParts) -> None:
    lives = [await play(audit, moves=10) for _ in range(10)]
    drains = [audit.new_drain(batch_entries=7), audit.new_drain(batch_entries=5)]
    counts = await asyncio.gather(*(drain.drain_partition(0) for drain in drains * 3))
    assert (
        sum(counts) == sum(len(life.documents) for life in lives) == len(await audit.rows("SELECT 1 FROM sync_events"))
    )
    assert await audit.outbox.is_empty(0)


async def test_a_partition_that_is_never_empty_does_not_delay_another(audit: AuditParts) -> None:
    keys = Keys(audit.settings.key_prefix, 2)
    store = SessionStore(audit.pipe, keys, audit.settings.history_length)
    ids = {keys.partition_of(session_id): session_id for session_id in (str(uuid4()) for _ in range(30))}
    for partition in (0, 1):
        await SessionCommitter(store).create(chess(), T0, ids[partition])
    ((_, fields),) = await audit.pipe.call("XRANGE", keys.outbox(0), "-", "+")

    async def feed() -> None:
        while True:
            await audit.pipe.call("XADD", keys.outbox(0), "*", *fields)

    drain = OutboxDrain(
        Outbox(audit.pipe, keys), FailedEntries(audit.pipe, keys), audit.writer, session_ttl_s=3600, max_concurrent=1
    )
    feeding = asyncio.create_task(feed())
    never_empty = asyncio.create_task(drain.drain_partition(0))
    try:
        await eventually(lambda: audit.rows("SELECT 1 FROM sync_events"))
        assert await asyncio.wait_for(drain.drain_partition(1), 20) == 1
        assert not never_empty.done()
    finally:
        feeding.cancel()
        never_empty.cancel()
        await asyncio.gather(feeding, never_empty, return_exceptions=True)


async def test_a_document_with_u0000_is_written(audit: AuditParts) -> None:
    life = await play(audit, moves=1, metadata={"nul\0": ["a\0b", {"deep": "\\u0000"}]})
    assert await audit.drain() == 3
    ((metadata,),) = await audit.rows("SELECT metadata FROM sync_sessions")
    assert metadata == {"nul\ufffd": ["a\ufffdb", {"deep": "\\u0000"}]}
    assert await audit.history.read_version_document(life.session_id, life.state.epoch, 3) == life.documents[3]


async def add_rejected_entry(audit: AuditParts, life: SessionLife, version: int) -> None:
    """Add a valid entry to the outbox that Postgres rejects."""
    event = orjson.dumps({"event_type": "x", "occurred_at_ms": T0, "time_used_ms": 2**63})
    fields = ("session_id", life.session_id, "epoch", "rejected", "version", version)
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields, "event", event, "state", life.documents[version])


async def test_a_rejected_entry_is_set_aside_after_five_retries(audit: AuditParts) -> None:
    before = await play(audit)
    await add_rejected_entry(audit, before, 2)
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", "some", "junk")
    after = await play(audit)
    drain = audit.new_drain()
    assert await drain.drain_partition(0) == len(before.documents) + len(after.documents)
    for _ in range(4):
        await drain.drain_partition(0)
        backlog = await audit.outbox.measure_backlog()
        assert (backlog.retrying, backlog.set_aside) == (2, 0)
    await drain.drain_partition(0)
    backlog = await audit.outbox.measure_backlog()
    assert (backlog.entries, backlog.retrying, backlog.set_aside, backlog.tally.isolated) == (0, 0, 2, 2)
    listed = await audit.failed_entries.load_set_aside_entries()
    assert [each.retries for each in listed] == [5, 5]
    assert {each.entry.fields.get(b"some") for each in listed} == {None, b"junk"}
    rejected = next(each for each in listed if b"state" in each.entry.fields)
    assert rejected.entry.parse().document == before.documents[2]
    assert await audit.failed_entries.retry_set_aside() == 2
    await drain.drain_partition(0)
    assert [each.retries for each in await audit.failed_entries.load_all(0)] == [1, 1]
    assert await audit.failed_entries.retry_set_aside("0-0") == 0


async def test_a_failed_entry_is_retried_after_its_delay(audit: AuditParts) -> None:
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", "some", "junk")
    drain = audit.new_drain(retry_delays_s=(100, 200))
    await drain.drain_partition(0)
    await drain.drain_partition(0)
    (isolated,) = await audit.failed_entries.load_all(0)
    assert isolated.retries == 0
    assert isolated.next_attempt_at_ms == isolated.first_failed_at_ms + 100_000


@pytest.mark.pooler
async def test_an_entry_retried_after_the_repair_is_written(audit: AuditParts) -> None:
    life = await play(audit)
    await audit.database.execute("ALTER TABLE sync_events ADD CONSTRAINT broken CHECK (version <> 3)")
    assert await audit.drain(retry_delays_s=()) == 5
    assert (await audit.outbox.measure_backlog()).set_aside == 1
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT broken")
    assert await audit.failed_entries.retry_set_aside() == 1
    assert await audit.drain() == 1
    assert len(await audit.rows("SELECT 1 FROM sync_events")) == len(life.documents)
    backlog = await audit.outbox.measure_backlog()
    assert (backlog.set_aside, backlog.retrying, backlog.tally.drained) == (0, 0, 6)
    keys = await audit.pipe.call("KEYS", f"{audit.keys.outbox(0)}*")
    assert set(keys) <= {audit.keys.outbox(0).encode() + suffix for suffix in (b"", b":tally", b":participants")}


async def test_a_session_with_a_failed_entry_gets_no_ttl_until_all_its_versions_are_audited(audit: AuditParts) -> None:
    life = await play(audit)
    session = audit.keys.session(life.session_id)

    async def audited_and_ttl() -> tuple[bytes, bool]:
        """Return the audited version, and whether the session has a TTL."""
        return await audit.pipe.call("HGET", session, "audited"), await audit.pipe.call("PTTL", session) > 0

    await audit.database.execute("ALTER TABLE sync_events ADD CONSTRAINT broken CHECK (version NOT IN (3, 5))")
    await audit.drain(retry_delays_s=())
    assert await audited_and_ttl() == (b"2", False)
    await audit.committer.apply(life, Switch(), T0 + 20_000)
    await audit.drain(retry_delays_s=())
    assert await audited_and_ttl() == (b"2", False)
    # One entry is repaired, then the other. The session gets a TTL only when all its versions are audited.
    third, fifth = await audit.failed_entries.load_set_aside_entries()
    assert (third.entry.parse().version, fifth.entry.parse().version) == (3, 5)
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT broken")
    await audit.failed_entries.retry_set_aside(third.entry.entry_id)
    await audit.drain()
    assert await audited_and_ttl() == (b"4", False)
    await audit.failed_entries.retry_set_aside()
    await audit.drain()
    assert await audited_and_ttl() == (b"7", True)
    assert await audit.pipe.call("EXISTS", audit.keys.failed_entry_versions(0)) == 0
    assert await audit.pipe.call("HEXISTS", session, "beyond") == 0


async def test_a_session_with_a_conflict_in_its_newest_version_gets_no_ttl(audit: AuditParts) -> None:
    """A failover lost version 3, and Redis issued the number again.

    The session must stay in Redis: after an eviction, the wrong version 3 would be restored.
    """
    life = await play(audit, moves=0)
    before = replace(life, documents=dict(life.documents))
    await audit.committer.apply(life, Switch(), T0 + 2000)
    await audit.drain()
    session = audit.keys.session(life.session_id)
    await audit.pipe.call("HSET", session, "version", 2, "state", before.documents[2], "audited", 2)
    await audit.committer.apply(before, UpdateMetadata({"a": 1}), T0 + 3000)
    for _ in range(2):  # the second run simulates a drain that died before it settled the batch
        entries = await audit.pipe.call("XRANGE", audit.keys.outbox(0), "-", "+")
        await audit.drain()
        assert await audit.pipe.call("HGET", session, "audited") == b"2"
        assert await audit.pipe.call("PTTL", session) == -1
        for _, fields in entries:
            await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields)
    assert await audit.rows("SELECT version, snapshot FROM sync_conflicts") == [(3, before.documents[3])]
    await audit.committer.apply(before, Switch(), T0 + 4000)
    await audit.drain()
    assert await audit.pipe.call("HGET", session, "audited") == b"4"
    assert await audit.pipe.call("PTTL", session) > 0


async def test_a_batch_of_many_sessions_is_settled_in_slices(audit: AuditParts) -> None:
    lives = [await play(audit, moves=0) for _ in range(7)]
    outbox = Outbox(audit.pipe, audit.keys, settled_per_call=3)
    assert await replace(audit, outbox=outbox).drain() == 14
    for life in lives:
        assert await audit.pipe.call("HGET", audit.keys.session(life.session_id), "audited") == b"2"
    assert await audit.outbox.is_empty(0)
    tally = (await audit.outbox.measure_backlog()).tally
    assert (tally.drained, tally.batches) == (14, 1)


@pytest.mark.pooler
async def test_a_drain_without_its_tables_fails_and_keeps_the_entries(audit: AuditParts) -> None:
    await play(audit)
    await audit.database.execute("ALTER TABLE sync_events RENAME TO elsewhere")
    with pytest.raises(StoreUnavailable, match="migrate"):
        await audit.drain()
    await audit.database.execute("ALTER TABLE elsewhere RENAME TO sync_events")
    backlog = await audit.outbox.measure_backlog()
    assert (backlog.entries, backlog.tally.isolated) == (6, 0)
    assert await audit.drain() == 6


async def test_a_drain_on_a_read_only_connection_fails_and_the_next_one_reconnects(audit: AuditParts) -> None:
    await play(audit)
    async with audit.writer.acquire_partition_writer(0):
        pass
    # A demoted primary makes its open connections read-only.
    await audit.writer.pool.fetch(b"SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable):
        await audit.drain()
    assert await audit.drain() == 6
    assert (await audit.outbox.measure_backlog()).tally.isolated == 0


@pytest.mark.parametrize(
    ("default", "drains_by"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
async def test_the_drain_commits_synchronously_whatever_the_default_of_the_database(
    audit: AuditParts, default: str, drains_by: str
) -> None:
    name = audit.database.info.dbname
    await audit.database.execute(f"ALTER DATABASE {name} SET synchronous_commit = {default}".encode())
    async with audit.writer.acquire_partition_writer(0) as writer:
        assert writer is not None
        found = await writer.transaction.fetch(b"SHOW synchronous_commit")
    assert found == [(drains_by,)]


async def test_reading_the_outbox_is_limited_by_entries_and_bytes(audit: AuditParts) -> None:
    await play(audit, moves=40)
    assert len(await audit.outbox.read(0, 10, 1 << 30)) == 10
    few = await audit.outbox.read(0, 1000, 1)
    assert 1 <= len(few) <= 16
    everything = await audit.outbox.read(0, 1000, 1 << 30)
    assert len(everything) == 42
    rest = await audit.outbox.read(0, 1000, 1 << 30, everything[9].entry_id)
    assert rest == everything[10:]


async def test_rows_show_whose_time_runs_before_and_after_a_pause(audit: AuditParts) -> None:
    life = await play(audit, moves=0)
    await audit.committer.apply(life, Pause(), T0 + 3000)
    await audit.committer.apply(life, Resume(), T0 + 5000)
    await audit.drain()
    rows = await audit.rows("SELECT status, running_participant_id::text FROM sync_events ORDER BY version")
    assert rows == [("pending", None), ("running", ALICE), ("paused", None), ("running", ALICE)]
