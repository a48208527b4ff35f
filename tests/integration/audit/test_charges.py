"""Charges: Postgres has the charges of each version, and their sums are the used times that sessions show."""

import orjson
import pytest

from synckairos.audit import charge_fill
from synckairos.audit.charge_fill import ChargeFiller
from synckairos.audit.entry_rows import BatchRows
from synckairos.clock.commands import Amend, Complete, Create, Delete, NewParticipant, Pause, Resume, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.history.records import TimeReportSpec
from synckairos.history.time_report import TimeReporter
from synckairos.principal import Principal
from tests.integration.audit_parts import AuditParts
from tests.integration.audited_service import (
    AuditedService,
    create_short_session,
    delete_all_redis_keys,
    send_command,
)
from tests.integration.random_player import T0 as PLAYED_AT
from tests.integration.session_committer import ALICE, BOB, SessionLife, chess

CALLER = Principal.anonymous_admin()
T0 = 1_700_000_000_000
DAY_MS = 86_400_000

CHARGES = """
SELECT session_id, epoch, version, participant_id, began_at, ended_at, is_void FROM sync_every_charge()
ORDER BY session_id, epoch, version, participant_id, began_at
"""
USED_AND_CHARGED = """
SELECT p.session_id, p.participant_id, p.time_used_ms, coalesce((
    SELECT sum(1000 * extract(epoch FROM c.ended_at - c.began_at))::bigint
    FROM sync_every_charge() AS c
    WHERE c.session_id = p.session_id AND c.participant_id = p.participant_id AND NOT c.is_void
        AND (c.epoch = s.epoch OR c.began_at >= s.created_at)
), 0) AS charged_ms
FROM sync_participants AS p
JOIN sync_sessions AS s ON s.session_id = p.session_id AND (p.began_at >= s.created_at OR p.began_at = s.started_at)
-- A participant that left and joined again begins with a used time of 0, but the earlier time was used too.
WHERE NOT EXISTS (
    SELECT FROM sync_events AS l
    JOIN sync_events AS j ON j.session_id = l.session_id AND j.epoch = l.epoch AND j.participant_id = l.participant_id
    WHERE l.session_id = p.session_id AND l.participant_id = p.participant_id AND l.occurred_at >= s.created_at
        AND l.event_type = 'participant_removed' AND j.event_type = 'participant_added' AND j.version > l.version
)
"""
INCOMPLETE = (
    "SELECT session_id FROM sync_sessions WHERE (charged_epoch, charged_version) IS DISTINCT FROM (epoch, version)"
)


async def forget_charges(audit: AuditParts, condition: str = "true") -> None:
    """Bring the tables into the state after a drain of the previous release, which writes no charges."""
    await audit.database.execute(f"DELETE FROM sync_further_charges WHERE {condition}".encode())
    await audit.database.execute(f"DELETE FROM sync_charges WHERE {condition}".encode())
    await audit.database.execute(b"UPDATE sync_sessions SET charged_epoch = NULL, charged_version = NULL")


async def report(audit: AuditParts, participant_id: str, now_ms: int) -> dict[str, int]:
    """Return the used time of a participant in ms by session, at `now_ms`."""
    spec = TimeReportSpec(0, now_ms, now_ms, participant_ids=(participant_id,), bucket="session")
    found, is_away = await TimeReporter(audit.history, audit.outbox).report_used_time(spec)
    assert not is_away
    return {each.bucket: each.time_used_ms for each in found}


async def write_as_previous_release(audit: AuditParts) -> None:
    """Rewrite all outbox entries into the form of the previous release, whose entries do not say what they charge."""
    outbox = audit.keys.outbox(0)
    entries = await audit.pipe.call("XRANGE", outbox, "-", "+")
    await audit.pipe.call("DEL", outbox)
    for entry_id, fields in entries:
        values = dict(zip(fields[::2], fields[1::2], strict=True))
        event = orjson.loads(values[b"event"])
        event.pop("charges")
        values[b"event"] = orjson.dumps(event)
        await audit.pipe.call("XADD", outbox, entry_id, *(part for pair in values.items() for part in pair))


@pytest.fixture
def filler(audit: AuditParts) -> ChargeFiller:
    return ChargeFiller(audit.writer.pool)


async def test_sums_of_charges_are_the_used_times_of_random_sessions(audit: AuditParts, filler: ChargeFiller) -> None:
    service = AuditedService(audit)
    for seed in range(60):
        await service.play(seed)
        if seed % 20 == 19:
            await audit.drain(batch_entries=7)
    assert await audit.rows(INCOMPLETE) == []
    charged = await audit.rows(CHARGES)
    assert len(charged) > 300
    used = {(str(row[0]), str(row[1])): row[2:] for row in await audit.rows(USED_AND_CHARGED)}
    assert len(used) > 100
    assert [each for each in used.items() if each[1][0] != each[1][1]] == []
    # All clocks of ended sessions stand still, so their rows of the report are the used times.
    ended = await audit.rows("SELECT session_id::text, deleted_at FROM sync_sessions WHERE completed_at IS NOT NULL")
    assert len(ended) > 10
    for (session_id, participant_id), (used_ms, _) in used.items():
        if session_id in (deleted := dict(ended)):
            found = await report(audit, participant_id, PLAYED_AT + DAY_MS)
            assert found.get(session_id, 0) == (used_ms if deleted[session_id] is None else 0)
    # The fill derives the same charges from the documents.
    await forget_charges(audit)
    assert await filler.fill_all_sessions() > 50
    assert await audit.rows(CHARGES) == charged
    assert await audit.rows(INCOMPLETE) == []
    assert await filler.fill_all_sessions() == 0


async def test_compensated_lag_is_charged_to_nobody(audit: AuditParts) -> None:
    """Case C2: of 2,003 elapsed ms, 120 ms are compensated."""
    committer = audit.committer
    life = await committer.create(chess(lag_compensation=True), T0)
    await committer.apply(life, Start(), T0)
    await committer.apply(life, Switch(lag_ms=120, measured_lag_ms=200), T0 + 2_003)
    await committer.apply(life, Complete(), T0 + 3_003)
    for _ in range(2):
        assert life.state.participants[0].used_ms == 1_883
        assert await report(audit, ALICE, T0 + DAY_MS) == {life.session_id: 1_883}
        assert await report(audit, BOB, T0 + DAY_MS) == {life.session_id: 1_000}
        await audit.drain()


@pytest.mark.parametrize(("policy", "outage_ms"), [("charge", 3_000), ("freeze", 0), ("credit:2000", 3_000)])
@pytest.mark.parametrize("is_filled", [False, True])
async def test_an_outage_is_charged_as_the_policy_says(
    audit: AuditParts, filler: ChargeFiller, policy: str, outage_ms: int, is_filled: bool
) -> None:
    service = AuditedService(audit, OutageChargePolicy.parse(policy))
    session_id = await create_short_session(service)  # the second participant has the turn
    await delete_all_redis_keys(audit)
    service.store.at_ms += 3_000
    await send_command(service, session_id, "switch")
    for is_drained in (False, True):
        if is_drained:
            await audit.drain()
            if is_filled:
                await forget_charges(audit)
                await filler.fill_all_sessions()
        session = (await service.sessions.read(CALLER, session_id)).session
        used = {each.participant_id: each.used_ms for each in session.participants}
        assert sorted(used.values()) == sorted([2_000, 1_000 + outage_ms])
        for participant_id, used_ms in used.items():
            assert await report(audit, participant_id, service.store.at_ms) == {session_id: used_ms}
    assert await audit.rows(INCOMPLETE) == []
    assert (await service.verify(session_id)).findings == ()


async def test_charges_of_lost_versions_are_void(audit: AuditParts, filler: ChargeFiller) -> None:
    committer = audit.committer
    life = await committer.create(chess(), T0)
    await committer.apply(life, Start(), T0)
    await committer.apply(life, Switch(), T0 + 1_000)
    await audit.drain()
    base = SessionLife(life.state, life.snapshot, {})
    await committer.apply(life, Switch(), T0 + 5_000)
    await committer.apply(life, Switch(), T0 + 9_000)
    lost = await audit.pipe.call("XRANGE", audit.keys.outbox(0), "-", "+")
    await delete_all_redis_keys(audit)
    life = await committer.recover(base, "zzzzzzzzzzzz0000", T0 + 10_000)
    await committer.apply(life, Complete(), T0 + 12_000)
    expected = {ALICE: 1_000, BOB: 11_000}
    await audit.drain()

    async def check() -> None:
        for participant_id, used_ms in expected.items():
            assert await report(audit, participant_id, T0 + DAY_MS) == {life.session_id: used_ms}

    await check()
    # Versions of the lost epoch that reach Postgres late do not count.
    for _, fields in lost:
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields)
    await audit.drain()
    await check()
    assert await audit.rows("SELECT version FROM sync_charges WHERE is_void ORDER BY version") == [(4,), (5,)]
    await forget_charges(audit)
    await filler.fill_all_sessions()
    await check()


async def test_the_fill_voids_amended_charges_of_an_earlier_session_with_the_same_id(
    audit: AuditParts, filler: ChargeFiller
) -> None:
    committer, spec = audit.committer, Create(SyncMode.COUNT_UP, (NewParticipant(ALICE),), edition=2)
    life = await committer.create(spec, T0)
    await committer.apply(life, Start(), T0)
    await committer.apply(life, Complete(), T0 + 9_000)
    await committer.apply(life, Amend(completed_at_ms=T0 + 4_000, breaks=()), T0 + 10_000)
    await committer.apply(life, Delete(), T0 + 11_000)
    again = await committer.create(spec, T0 + 20_000, life.session_id, life.snapshot)
    await committer.apply(again, Start(), T0 + 20_000)
    await committer.apply(again, Complete(), T0 + 22_000)
    await audit.drain()
    charged = await audit.rows(CHARGES)
    assert [row[-1] for row in charged].count(True) == 1
    await forget_charges(audit)
    await filler.fill_all_sessions()
    assert await audit.rows(CHARGES) == charged


async def test_versions_of_the_previous_release_are_charged_before_and_after_the_fill(
    audit: AuditParts, filler: ChargeFiller
) -> None:
    """Instances of both releases commit, and a drain of either release writes."""
    committer = audit.committer
    life = await committer.create(chess(), T0)
    await committer.apply(life, Start(), T0)
    await committer.apply(life, Switch(), T0 + 1_000)
    await audit.drain()
    await committer.apply(life, Switch(), T0 + 3_000)
    await committer.apply(life, Pause(), T0 + 6_000)
    await write_as_previous_release(audit)
    await committer.apply(life, Resume(), T0 + 7_000)
    now_ms = T0 + 8_000
    expected = {ALICE: 1_000 + 3_000 + 1_000, BOB: 2_000}

    async def check() -> None:
        for participant_id, used_ms in expected.items():
            assert await report(audit, participant_id, now_ms) == {life.session_id: used_ms}

    await check()

    async def after_commit(rows: BatchRows) -> None:
        filler.note_incomplete_sessions(rows)

    await audit.drain(after_commit=after_commit)
    assert await audit.rows(INCOMPLETE) != []
    await check()
    await filler.fill_noted_sessions()
    assert await audit.rows(INCOMPLETE) == []
    await check()
    # A drain of the previous release writes the next version. Then a drain of this release writes another version.
    await committer.apply(life, Switch(), T0 + 9_000)
    await audit.drain()
    await forget_charges(audit, "version = 7")
    await audit.database.execute(b"UPDATE sync_sessions SET charged_epoch = epoch, charged_version = 6")
    await committer.apply(life, Switch(), T0 + 10_000)
    now_ms, expected = T0 + 12_000, {ALICE: 4_000 + 2_000 + 2_000, BOB: 2_000 + 1_000}
    await check()
    await audit.drain()
    assert await audit.rows(INCOMPLETE) != []
    await check()
    assert await filler.fill_all_sessions() == 1
    await check()


async def test_a_fill_that_stops_continues_after_its_last_step(
    audit: AuditParts, filler: ChargeFiller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charge_fill, "_VERSIONS_PER_STEP", 3)
    session_id = await create_short_session(AuditedService(audit))
    charged = await audit.rows(CHARGES)
    await forget_charges(audit)
    async with audit.writer.pool.transaction() as transaction:
        assert await charge_fill.SessionFill(transaction, session_id).fill_next_versions()
    assert await audit.rows("SELECT charged_version FROM sync_sessions") == [(3,)]
    await filler.fill_session(session_id)
    assert await audit.rows(CHARGES) == charged
    await filler.fill_session(session_id)
    assert await audit.rows(INCOMPLETE) == []


async def test_the_fill_waits_for_a_failed_entry(audit: AuditParts, filler: ChargeFiller) -> None:
    session_id = await create_short_session(AuditedService(audit))
    charged = await audit.rows(CHARGES)
    await audit.database.execute(b"CREATE TABLE failed AS SELECT * FROM sync_events WHERE version = 4")
    await audit.database.execute(b"DELETE FROM sync_events WHERE version = 4")
    await forget_charges(audit)
    assert await filler.fill_all_sessions() == 1
    assert await audit.rows("SELECT charged_version FROM sync_sessions") == [(3,)]
    await audit.database.execute(b"INSERT INTO sync_events SELECT * FROM failed")
    await filler.fill_session(session_id)
    assert await audit.rows(CHARGES) == charged
    assert await audit.rows(INCOMPLETE) == []


async def test_a_changed_charge_is_a_finding_of_the_verification(audit: AuditParts) -> None:
    service = AuditedService(audit)
    session_id = await create_short_session(service)
    await audit.database.execute(b"UPDATE sync_charges SET ended_at = ended_at + interval '1 s' WHERE version = 4")
    ((kind, version, text),) = await service.findings(session_id)
    assert (kind, version) == ("mismatch", 4)
    assert text.startswith("charges are [[")
    await audit.database.execute(b"UPDATE sync_sessions SET charged_version = 4")  # not all filled in yet
    assert await service.findings(session_id) == []
