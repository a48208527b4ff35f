"""Keys that grow with a session have a bound and a life. Other tests show those of the caches and of the outbox."""

from uuid import uuid4

from synckairos.clock.commands import Cancel, Create, NewParticipant, Pause, Switch
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest
from synckairos.store.lua_scripts import LuaScript
from tests.integration.parts import Parts


async def start(parts: Parts) -> str:
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=60_000) for _ in range(2))
    return await parts.start_session(Create(SyncMode.PER_PARTICIPANT, people))


async def test_version_history_and_sets_of_sessions_are_bounded(parts: Parts, settings: Settings) -> None:
    session_id, keys = await start(parts), parts.store.keys
    lengths = []
    for _ in range(settings.history_length + 10):
        await parts.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, Switch(), "switch"))
        lengths.append(await parts.pipe.call("LLEN", keys.history(session_id)))
    assert lengths[: settings.history_length - 2] == [*range(3, settings.history_length + 1)]
    assert min(lengths[settings.history_length - 2 :]) == settings.history_length
    assert max(lengths) == settings.history_length * 9 // 8
    assert len(list(await parts.store.read_history(session_id))) == settings.history_length
    for key in (keys.deadlines(0), keys.live_sessions(0)):
        assert await parts.pipe.call("ZRANGE", key, 0, -1) == [session_id.encode()]
    await parts.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, Cancel(), "cancel"))
    for key in (keys.deadlines(0), keys.live_sessions(0)):
        assert await parts.pipe.call("ZCARD", key) == 0


async def test_session_of_two_takes_at_most_12_kilobytes_after_40_switches(parts: Parts) -> None:
    session_id, store = await start(parts), parts.store
    for _ in range(40):
        await parts.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, Switch(), "switch"))
    keys = (store.keys.session(session_id), store.keys.history(session_id))
    shared = (store.keys.deadlines(0), store.keys.live_sessions(0), store.keys.outbox_participants(0))
    assert sum([await parts.pipe.call("MEMORY", "USAGE", key, "SAMPLES", 0) for key in (*keys, *shared)]) <= 12 << 10
    versions = [message.snapshot.version for message in await store.read_history(session_id)]
    assert versions == list(range(42, 42 - len(versions), -1))
    assert len(versions) == 32


async def test_evicted_session_leaves_the_live_sessions_when_they_are_listed(parts: Parts) -> None:
    session_id, keys = await start(parts), parts.store.keys
    await parts.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, Pause(), "pause"))
    await parts.pipe.call("DEL", keys.session(session_id))
    assert await parts.store.live.list_live(10, max_bytes=1 << 20) == []
    assert await parts.pipe.call("ZCARD", keys.live_sessions(0)) == 0


async def test_session_that_was_restored_meanwhile_stays_in_the_live_sessions(parts: Parts) -> None:
    session_id, keys = await start(parts), parts.store.keys
    names = [keys.live_sessions(0), keys.session(session_id)]
    assert await LuaScript("live_session_remove_evicted")(parts.pipe, names, [session_id]) == 0
    assert await parts.pipe.call("ZRANGE", keys.live_sessions(0), 0, -1) == [session_id.encode()]


async def test_reserved_command_id_expires(parts: Parts) -> None:
    await parts.store.reserve_command_id("create:1", "value", 60)
    assert 0 < await parts.pipe.call("TTL", parts.store.keys.reserved_command_id("create:1")) <= 60
