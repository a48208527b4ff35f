"""The store with invalid data in its keys: scripts remove derived data, and such sessions are postponed."""

import asyncio
from uuid import uuid4

import pytest

from synckairos.background.timekeeper import BROKEN_LEASE_MS, Timekeeper
from synckairos.clock.commands import Create, NewParticipant, Pause, Switch
from synckairos.clock.model import Status, SyncMode
from synckairos.config import Settings
from synckairos.errors import InvalidStoredData
from synckairos.principal import TIMEKEEPER, Principal
from synckairos.service.requests import CommandRequest
from synckairos.store.connect import make_redis_client
from synckairos.store.deadlines import Deadlines
from synckairos.store.session_index_rebuild import SessionIndexRebuilder
from tests.integration.parts import Parts
from tests.principals import make_principal
from tests.waiting import eventually


def two_players(total_ms: int = 60_000) -> Create:
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=total_ms) for _ in range(2))
    return Create(SyncMode.PER_PARTICIPANT, people)


async def switch(parts: Parts, session_id: str, command_id: str | None = None) -> int:
    answer = await parts.sessions.execute(
        CommandRequest(Principal.anonymous_admin(), session_id, Switch(), "switch", command_id=command_id)
    )
    return answer.session.version


@pytest.mark.parametrize("name", ["history", "outbox", "outbox_bytes", "deadlines", "live_sessions"])
async def test_commit_with_a_key_of_another_type_drops_the_key_and_commits_as_a_whole(parts: Parts, name: str) -> None:
    session_id, keys = await parts.start_session(two_players()), parts.store.keys
    key = keys.history(session_id) if name == "history" else getattr(keys, name)(0)
    await parts.pipe.call("DEL", key)
    await parts.pipe.call("HSET" if name == "outbox_bytes" else "SET", key, "x", *("y",) * (name == "outbox_bytes"))
    assert await switch(parts, session_id) == 3
    assert (await parts.pipe.call("XLEN", keys.outbox(0))) >= 1
    assert (await parts.pipe.call("LLEN", keys.history(session_id))) >= 1
    assert await parts.pipe.call("ZSCORE", keys.deadlines(0), session_id)


async def test_commit_to_an_empty_outbox_ignores_an_absurd_count_of_bytes(parts: Parts) -> None:
    session_id, keys = await parts.start_session(two_players()), parts.store.keys
    await parts.pipe.call("DEL", keys.outbox(0))
    await parts.pipe.call("SET", keys.outbox_bytes(0), 2**62)
    assert await switch(parts, session_id) == 3


@pytest.mark.parametrize("ids_left", [0, 1])
async def test_commit_to_an_outbox_without_enough_ids_writes_nothing_until_it_is_drained(
    parts: Parts, ids_left: int
) -> None:
    session_id, keys = await parts.start_session(two_players()), parts.store.keys
    await parts.sessions.execute(
        CommandRequest(Principal.anonymous_admin(), session_id, Pause(max_ms=1), "pause", command_id="p")
    )
    due_ms = int(await parts.pipe.call("HGET", keys.session(session_id), "due"))

    async def is_due() -> bool:
        return await parts.store.now_ms() > due_ms

    await eventually(is_due)  # then the switch adds two versions: the end of the pause, and its own
    entries = [entry_id for entry_id, _ in await parts.pipe.call("XRANGE", keys.outbox(0), "-", "+")]
    last = f"{2**64 - 1}-{2**64 - 1 - ids_left}"
    await parts.pipe.call("XADD", keys.outbox(0), last, "x", "y")
    await parts.pipe.call("XDEL", keys.outbox(0), last)
    index = ("ZRANGE", keys.indexed_outbox_entries(0), 0, -1)
    lists = (("XRANGE", keys.outbox(0), "-", "+"), ("LRANGE", keys.history(session_id), 0, -1))
    reads = (*lists, ("HGETALL", keys.session(session_id)), ("GET", keys.outbox_bytes(0)), index)
    before = [await parts.pipe.call(*each) for each in reads]
    with pytest.raises(InvalidStoredData):
        await switch(parts, session_id)
    assert [await parts.pipe.call(*each) for each in reads] == before
    await parts.pipe.call("XDEL", keys.outbox(0), *entries)
    assert await switch(parts, session_id) == 5
    assert await parts.pipe.call("XLEN", keys.outbox(0)) == 2


@pytest.mark.parametrize("field", ["state", "version", "epoch", "due"])
async def test_session_with_a_field_of_random_bytes_is_refused_alone(parts: Parts, field: str) -> None:
    damaged, other = await parts.start_session(two_players()), await parts.start_session(two_players())
    await parts.pipe.call("HSET", parts.store.keys.session(damaged), field, b"\xff\x00{[")
    with pytest.raises(InvalidStoredData):
        await parts.sessions.read(TIMEKEEPER, damaged)
    with pytest.raises(InvalidStoredData):
        await switch(parts, damaged)
    assert await switch(parts, other) == 3


async def test_command_of_a_participant_to_a_session_without_a_valid_document_is_refused_as_invalid_data(
    parts: Parts,
) -> None:
    spec = two_players()
    session_id, person = await parts.start_session(spec), spec.participants[0].participant_id
    caller = make_principal("participant", person, participant_id=person)
    command = Switch(current_participant_id=person)
    await parts.sessions.execute(CommandRequest(caller, session_id, command, "switch", command_id="press-1"))
    await parts.pipe.call("HSET", parts.store.keys.session(session_id), "state", "{}")
    for command_id in ("press-1", "press-2"):
        with pytest.raises(InvalidStoredData):
            await parts.sessions.execute(CommandRequest(caller, session_id, command, "switch", command_id=command_id))


async def test_records_of_another_type_refuse_commands_with_an_id_and_write_nothing(parts: Parts) -> None:
    session_id, keys = await parts.start_session(two_players()), parts.store.keys
    await parts.pipe.call("DEL", keys.idempotency_records(session_id))
    await parts.pipe.call("SET", keys.idempotency_records(session_id), "x")
    with pytest.raises(InvalidStoredData):
        await switch(parts, session_id, "press-1")
    assert (await parts.sessions.read(TIMEKEEPER, session_id)).session.version == 2


async def test_rebuilt_index_has_the_deadlines_and_live_sessions_again(parts: Parts) -> None:
    ids, keys = {await parts.start_session(two_players()) for _ in range(3)}, parts.store.keys
    scores = await parts.pipe.call("ZRANGE", keys.deadlines(0), 0, -1, "WITHSCORES")
    live = await parts.pipe.call("ZRANGE", keys.live_sessions(0), 0, -1, "WITHSCORES")
    for key in (keys.deadlines(0), keys.live_sessions(0)):
        await parts.pipe.call("DEL", key)
    await parts.pipe.call("SET", keys.index_rebuild_mark(0), "1")
    index = SessionIndexRebuilder(parts.pipe, keys)
    assert await index.is_rebuild_due(0)
    assert await index.rebuild(0) == len(ids)
    assert not await index.is_rebuild_due(0)
    assert await parts.pipe.call("ZRANGE", keys.deadlines(0), 0, -1, "WITHSCORES") == scores
    assert await parts.pipe.call("ZRANGE", keys.live_sessions(0), 0, -1, "WITHSCORES") == live


async def test_timekeeper_postpones_a_session_with_invalid_data_and_expires_the_others(
    parts: Parts, settings: Settings
) -> None:
    damaged, wrong_type, other = [await parts.start_session(two_players(150)) for _ in range(3)]
    keys = parts.store.keys
    await parts.pipe.call("HSET", keys.session(damaged), "state", b"\xff")
    await parts.pipe.call("DEL", keys.session(wrong_type))
    await parts.pipe.call("SET", keys.session(wrong_type), "x")
    for score, member in (("-inf", b"\xfe"), (0, b"no id")):
        await parts.pipe.call("ZADD", keys.deadlines(0), score, member)
    redis = make_redis_client(settings.redis_url, 2)
    task = asyncio.create_task(Timekeeper(parts.sessions, Deadlines(parts.pipe, redis, keys), 1).run())

    async def is_done() -> bool:
        return (await parts.sessions.read(TIMEKEEPER, other)).session.status is Status.EXPIRED and await are_postponed()

    async def are_postponed() -> bool:
        now_ms = await parts.store.now_ms()
        scores = [await parts.pipe.call("ZSCORE", keys.deadlines(0), each) for each in (damaged, wrong_type)]
        return all(score is not None and float(score) > now_ms + BROKEN_LEASE_MS / 2 for score in scores)

    try:
        await eventually(is_done)
        await parts.pipe.call("PUBLISH", keys.wake_up_channel, b"\xff")
        assert await parts.pipe.call("ZCARD", keys.deadlines(0)) == 2
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await redis.aclose()
