"""Restoring of sessions: evicted sessions return unchanged, and sessions of lost data continue under a new epoch."""

from uuid import uuid4

import pytest

from synckairos.clock.commands import Cancel, Create, NewParticipant, Pause, Start, Switch, UpdateMetadata
from synckairos.clock.model import Status, SyncMode
from synckairos.clock.transition import EventType
from synckairos.config import Settings
from synckairos.errors import InvalidTransition, ReplayedRefusal, SessionNotFound
from synckairos.frozen_replace import replace
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.store.commit_script import MAX_RECORDS, RECORDS_TTL_MS, RECORDS_TTL_SLACK_MS
from synckairos.store.outbox import MIN_STAY_AFTER_DEADLINE_MS
from synckairos.wire.idempotency_record import IdempotencyRecord
from tests.integration.data_loss import CALLER, create_started, draining, switch, wait_until_drained
from tests.integration.parts import open_parts
from tests.waiting import eventually


async def test_read_after_data_loss_recovers_at_the_next_version_under_a_new_epoch(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_id = await create_started(parts)
        first_answer = await switch(parts, session_id, "switch-1")
        before = await parts.sessions.read(TIMEKEEPER, session_id)
        await wait_until_drained(parts)
        await parts.pipe.call("FLUSHALL")
        after = await parts.sessions.read(TIMEKEEPER, session_id)
        assert after.snapshot.version == before.snapshot.version + 1
        assert after.snapshot.epoch != before.snapshot.epoch
        was, now = before.session, after.session
        # A turn cannot be taken back past a recovery, so the recovered turn leads to no version.
        turn = replace(was.turn, began_version=None)
        assert now == replace(was, version=after.snapshot.version, epoch=after.snapshot.epoch, turn=turn)
        assert await switch(parts, session_id, "switch-1") == first_answer
        await wait_until_drained(parts)
        events = (await parts.history.read_events_page(session_id)).items
        assert [(event.version, event.event_type) for event in events][-2:] == [
            (3, EventType.CYCLE_SWITCHED),
            (4, EventType.SESSION_RECOVERED),
        ]


async def test_final_session_is_restored_unchanged_after_data_loss(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
        created = await parts.sessions.create(CreateRequest(CALLER, spec))
        session_id = created.session.session_id
        await parts.sessions.execute(CommandRequest(CALLER, session_id, Start(), "start"))
        await parts.rewind(session_id, 5_000)
        over = await parts.sessions.read(TIMEKEEPER, session_id)
        assert over.session.status is Status.EXPIRED
        await wait_until_drained(parts)
        await parts.pipe.call("FLUSHALL")
        assert (await parts.sessions.read(TIMEKEEPER, session_id)).snapshot.document == over.snapshot.document


async def test_evicted_session_is_restored_unchanged(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_id = await create_started(parts)
        before = await parts.sessions.read(TIMEKEEPER, session_id)
        await wait_until_drained(parts)
        await parts.pipe.call("DEL", parts.store.keys.session(session_id), parts.store.keys.history(session_id))
        after = await parts.sessions.read(TIMEKEEPER, session_id)
        assert (after.snapshot.epoch, after.snapshot.version, after.snapshot.document) == (
            before.snapshot.epoch,
            before.snapshot.version,
            before.snapshot.document,
        )


async def test_creation_key_of_an_evicted_session_is_replayed(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        request = CreateRequest(CALLER, Create(SyncMode.GLOBAL, total_time_ms=60_000), command_id="c", fingerprint="f")
        created = await parts.sessions.create(request)
        session_id = created.session.session_id
        await parts.sessions.execute(CommandRequest(CALLER, session_id, Start(), "start"))
        await wait_until_drained(parts)
        keys = parts.store.keys
        await parts.pipe.call(
            "DEL", keys.session(session_id), keys.history(session_id), keys.idempotency_records(session_id)
        )
        again = await parts.sessions.create(request)
        assert again.replayed
        assert again.snapshot.document == created.snapshot.document
        assert (await parts.sessions.read(TIMEKEEPER, session_id)).snapshot.version == 2


async def test_idempotency_records_stay_until_the_session_is_final(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_id = await create_started(parts)
        refused = CommandRequest(CALLER, session_id, Start(), "start", command_id="again", fingerprint="f")
        with pytest.raises(InvalidTransition):
            await parts.sessions.execute(refused)
        await switch(parts, session_id)
        await wait_until_drained(parts)
        keys = parts.store.keys

        async def has_ttl() -> bool:
            return bool(await parts.pipe.call("PTTL", keys.session(session_id)) > 0)

        await eventually(has_ttl)
        week_ms = await parts.pipe.call("PTTL", keys.idempotency_records(session_id))
        assert RECORDS_TTL_MS - 60_000 < week_ms <= RECORDS_TTL_MS + RECORDS_TTL_SLACK_MS
        with pytest.raises(ReplayedRefusal):
            await parts.sessions.execute(refused)
        await parts.sessions.execute(CommandRequest(CALLER, session_id, Cancel(), "cancel"))
        await wait_until_drained(parts)
        await eventually(has_ttl)
        assert await parts.pipe.call("PTTL", keys.idempotency_records(session_id)) > 0


async def test_running_session_without_a_deadline_leaves_after_a_week_and_returns_with_its_reading(
    own_settings: Settings,
) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        spec = Create(SyncMode.COUNT_UP, (NewParticipant(str(uuid4())),))
        session_id = (await parts.sessions.create(CreateRequest(CALLER, spec))).session.session_id
        await parts.sessions.execute(CommandRequest(CALLER, session_id, Start(), "start"))

        async def is_audited() -> bool:
            return bool(await parts.pipe.call("HGET", parts.store.keys.session(session_id), "audited") == b"2")

        await eventually(is_audited)
        keys = parts.store.keys
        assert RECORDS_TTL_MS - 60_000 < await parts.pipe.call("PTTL", keys.session(session_id)) <= RECORDS_TTL_MS
        before = await parts.sessions.read(TIMEKEEPER, session_id)
        await parts.pipe.call("DEL", keys.session(session_id), keys.history(session_id))
        after = await parts.sessions.read(TIMEKEEPER, session_id)
        assert after.snapshot.document == before.snapshot.document
        assert session_id in [each for _, each, _ in await parts.store.live.list_live(10, max_bytes=1 << 20)]


async def test_session_keeps_at_most_a_thousand_idempotency_records(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts:
        session_id = await create_started(parts)
        key = parts.store.keys.idempotency_records(session_id)
        epoch = (await parts.sessions.read(TIMEKEEPER, session_id)).session.epoch
        old = {f"old-{at}": IdempotencyRecord("f", epoch, at).render() for at in range(10, 1_000)}
        await parts.pipe.call("HSET", key, *(each for pair in old.items() for each in pair))
        await parts.pipe.call("HSET", key, "other-epoch", IdempotencyRecord("f", "e", 9_999).render())
        for version in range(3, 11):  # the records are counted when a version ends with 0
            request = CommandRequest(
                CALLER, session_id, Switch(), "switch", command_id=f"version-{version}", fingerprint="f"
            )
            await parts.sessions.execute(request)
            assert await parts.pipe.call("HLEN", key) <= MAX_RECORDS
        kept = await parts.pipe.call("HKEYS", key)
        assert 500 <= len(kept) <= 501
        assert b"version-10" in kept
        assert b"old-999" in kept
        assert not {b"other-epoch", b"old-10", b"old-498"} & set(kept)


async def test_full_records_remove_refusals_before_accepted_commands(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts:
        session_id = await create_started(parts)
        key = parts.store.keys.idempotency_records(session_id)
        press = CommandRequest(CALLER, session_id, Switch(), "switch", command_id="accepted", fingerprint="f")
        session = (await parts.sessions.execute(press)).session
        refused = IdempotencyRecord.from_refusal("f", session.epoch, session.version, InvalidTransition("no")).render()
        records = {f"refused-{at}": refused for at in range(998)}
        records["timed-out"] = IdempotencyRecord("f", session.epoch, 1, expired_participant_id="p").render()
        await parts.pipe.call("HSET", key, *(each for pair in records.items() for each in pair))
        again = CommandRequest(CALLER, session_id, Start(), "start", command_id="again", fingerprint="f")
        with pytest.raises(InvalidTransition):
            await parts.sessions.execute(again)
        kept = await parts.pipe.call("HKEYS", key)
        assert 500 <= len(kept) <= 501
        assert {b"timed-out", b"accepted", b"again"} < set(kept)
        assert (await parts.sessions.execute(press)).replayed


async def test_records_stay_until_an_hour_after_a_distant_deadline(own_settings: Settings) -> None:
    stay_ms = RECORDS_TTL_MS + MIN_STAY_AFTER_DEADLINE_MS
    async with open_parts(own_settings) as parts:
        session_id, keys = await create_started(parts), parts.store.keys
        key = keys.idempotency_records(session_id)

        async def is_long() -> bool:
            return bool(stay_ms - 60_000 < await parts.pipe.call("PTTL", key) <= stay_ms + RECORDS_TTL_SLACK_MS)

        async def execute(command: Pause | Start | UpdateMetadata, verb: str, command_id: str | None) -> None:
            request = CommandRequest(CALLER, session_id, command, verb, command_id=command_id, fingerprint="f")
            await parts.sessions.execute(request)

        await execute(Pause(max_ms=RECORDS_TTL_MS), "pause", "pause-1")
        assert await is_long()
        with pytest.raises(InvalidTransition):
            await execute(Start(), "start", "start-1")
        assert await is_long()
        await parts.pipe.call("PEXPIRE", key, RECORDS_TTL_MS)
        async with draining(own_settings):
            await eventually(is_long)
        await parts.pipe.call("DEL", keys.session(session_id), keys.history(session_id), key)
        await parts.sessions.read(TIMEKEEPER, session_id)
        assert await is_long()
        await parts.pipe.call("PEXPIRE", key, RECORDS_TTL_MS)
        await execute(UpdateMetadata({"a": 1}), "update_metadata", None)
        assert await is_long()
        await parts.pipe.call("FLUSHALL")
        assert (await parts.sessions.read(TIMEKEEPER, session_id)).session.status is Status.PAUSED
        assert await is_long()


async def test_read_of_a_session_that_never_existed_is_refused(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts:
        with pytest.raises(SessionNotFound):
            await parts.sessions.read(TIMEKEEPER, str(uuid4()))
