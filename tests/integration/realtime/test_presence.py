"""Who is there, told to those who watch: over all instances, in few frames, and right again after a loss."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.realtime import presence
from synckairos.realtime.presence import PresenceTracker
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.watcher import Subscription
from synckairos.store.connect import open_redis
from synckairos.store.keys import Keys
from synckairos.store.presence import Beat, PresenceStore
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import Command, RedisPipe
from synckairos.wire.presence_counts import PresenceCounts, PresenceIdentity
from synckairos.wire.websocket_frames import text_payload
from tests.integration.realtime.instances import Instance, serving, take, take_presence, watching
from tests.integration.realtime.raw import RawClient, raw_client
from tests.integration.realtime.test_v3_slow import join, stall
from tests.integration.realtime.v3_client import v3_client
from tests.waiting import eventually

ANYBODY = Principal()
SMALL = 4_096


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "ROUND_S", 0.1)
    monkeypatch.setattr(presence, "BEAT_S", 0.2)


async def test_both_dialects_are_counted_over_all_instances(instance: Instance, other_instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as here, v3_client(other_instance) as there:
        await here.send("SUBSCRIBE", session_id=session_id)
        assert (await here.take())["type"] == "STATE_SYNC"
        alone = await take_presence(here.socket, 1)
        assert set(alone) == {"type", "session_id", "server_time_ms", "clients", "roles", "participants"}
        assert (alone["session_id"], alone["roles"]) == (session_id, {"admin": 1})
        await there.ask("SUBSCRIBE", session_id=session_id)
        for client in (here, there):
            await take_presence(client.socket, 2)
        async with watching(other_instance, session_id) as old:
            for client in (here, there):
                await take_presence(client.socket, 3)
            assert [(await take(old))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
        for client in (here, there):
            await take_presence(client.socket, 2)
        await there.ask("UNSUBSCRIBE", session_id=session_id)
        await take_presence(here.socket, 1)


async def test_who_names_a_participant_is_believed_where_nobody_is_known(settings: Settings) -> None:
    async with (
        serving(settings, principal=ANYBODY) as here,
        serving(settings, principal=ANYBODY) as there,
        v3_client(here) as white,
        v3_client(there) as white_too,
        v3_client(there) as viewer,
    ):
        session_id, participant_id = await here.create(), str(uuid4())
        for client in (white, white_too):
            await client.ask("SUBSCRIBE", session_id=session_id, participant_id=participant_id)
        await viewer.ask("SUBSCRIBE", session_id=session_id)
        told = await take_presence(white.socket, 3)
        assert told["roles"] == {"participant": 2, "viewer": 1}
        assert told["participants"] == [participant_id]
        await viewer.ask("SUBSCRIBE", session_id=session_id, participant_id=str(uuid4()))
        while len(told["participants"]) < 2:
            told = await take_presence(white.socket, 3)
        assert told["roles"] == {"participant": 3}


async def test_who_is_known_is_nobody_else(settings: Settings) -> None:
    known = Principal(subject=str(uuid4()), role="participant")
    async with serving(settings, principal=known) as instance, v3_client(instance) as client:
        session_id = await instance.create()
        refused = await client.ask("SUBSCRIBE", session_id=session_id, participant_id=str(uuid4()))
        assert (refused["type"], refused["code"]) == ("ERROR", "FORBIDDEN")
        await client.ask("SUBSCRIBE", session_id=session_id)
        told = await take_presence(client.socket, 1)
        assert told["participants"] == [known.subject]
        assert told["roles"] == {"participant": 1}


async def test_who_doesnt_want_to_know_counts_all_the_same(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as quiet, v3_client(instance) as other:
        await quiet.ask("SUBSCRIBE", session_id=session_id, presence=False)
        await other.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(other.socket, 2)
        await quiet.send("PING", t0=1)
        assert (await quiet.socket.recv()).startswith('{"type":"PONG"')  # type: ignore[arg-type]


async def test_asking_again_is_answered_again(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        for _ in range(2):
            await client.ask("SUBSCRIBE", session_id=session_id)
            await take_presence(client.socket, 1)


async def test_a_crowd_costs_a_watcher_few_frames(instance: Instance) -> None:
    session_id = await instance.create()
    async with AsyncExitStack() as crowd:
        first = await crowd.enter_async_context(v3_client(instance))
        await first.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(first.socket, 1)
        began_s = time.monotonic()
        for _ in range(60):
            client = await crowd.enter_async_context(v3_client(instance))
            await client.ask("SUBSCRIBE", session_id=session_id, presence=False)
        frames = 1
        while '"clients":61,' not in str(await first.socket.recv()):
            frames += 1
        assert frames <= (time.monotonic() - began_s) / presence.ROUND_S + 2


async def test_a_slow_reader_is_told_the_newest_after_the_state(instance: Instance) -> None:
    session_id = await instance.create()
    async with raw_client(instance.server.port, SMALL) as slow, v3_client(instance) as watcher:
        await join(slow, session_id)
        await watcher.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(watcher.socket, 2)
        await _hear(slow, ("PRESENCE", 2))
        last = await stall(instance, session_id)
        for _ in range(3):
            async with v3_client(instance) as passing:
                await passing.ask("SUBSCRIBE", session_id=session_id)
                await take_presence(watcher.socket, 3)
            await take_presence(watcher.socket, 2)
        await watcher.ask("UNSUBSCRIBE", session_id=session_id)

        async def is_known() -> bool:
            return instance.hub.presence.present(session_id) == PresenceCounts({"admin": 1})

        await eventually(is_known)
        told = await _hear(slow, ("PRESENCE", 1))
        presences = [count for kind, count in told if kind == "PRESENCE"]
        assert len(presences) <= 3, told  # what its kernel had, and the newest
        assert [version for kind, version in told if kind == "STATE"][-1] >= last


async def _hear(client: RawClient, last: tuple[str, int]) -> list[tuple[str, int]]:
    """Read up to what is to come last; return all that was told."""
    told: list[tuple[str, int]] = []
    while not told or told[-1] != last:
        frame = await client.frame()
        assert frame is not None
        told += _told(frame[1])
    return told


def _told(payload: bytes) -> list[tuple[str, int]]:
    message = orjson.loads(payload)
    match message["type"]:
        case "PRESENCE":
            return [("PRESENCE", message["clients"])]
        case "STATE_SYNC" | "STATE_UPDATE" | "STATE_DELTA":
            return [("STATE", message["version"])]
        case _:
            return []


async def test_a_message_that_was_lost_is_missed_and_made_up_for(instance: Instance) -> None:
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    async with v3_client(instance) as client:
        await client.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(client.socket, 1)
        # As another instance would write it, whose word of it got lost.
        await pipe.call("ZADD", keys.instances, await instance.sessions.now_ms() + 60_000, "another")
        await pipe.call("HSET", keys.presence(session_id), "another", PresenceCounts({"viewer": 4}).render())
        await pipe.call("INCR", keys.presence_changes)
        await take_presence(client.socket, 5)


async def test_what_redis_lost_is_written_again(instance: Instance, other_instance: Instance) -> None:
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    async with v3_client(instance) as here, v3_client(other_instance) as there, v3_client(other_instance) as third:
        for client in (here, there):
            await client.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(here.socket, 2)
        await pipe.call("DEL", keys.instances, keys.presence(session_id), keys.presence_changes)
        await third.ask("SUBSCRIBE", session_id=session_id)
        for client in (here, there, third):
            await take_presence(client.socket, 3)
        assert len(await pipe.call("HKEYS", keys.presence(session_id))) == 2


async def test_what_a_failover_lost_is_written_again(instance: Instance, other_instance: Instance) -> None:
    """Of what the other instance wrote last nothing is on the replica; both instances are."""
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    async with v3_client(instance) as here, v3_client(other_instance) as there:
        await here.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(here.socket, 1)
        names = keys.presence(session_id), keys.presence_changes
        replicated = [await pipe.call("DUMP", name) for name in names]
        await there.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(here.socket, 2)
        for name, value in zip(names, replicated, strict=True):
            await pipe.call("RESTORE", name, 0, value, "REPLACE")

        async def are_both_there() -> bool:
            return len(await pipe.call("HKEYS", keys.presence(session_id))) == 2

        await eventually(are_both_there)


async def test_what_a_failover_lost_is_written_again_though_a_beat_was_under_way(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another instance said since makes the count look as if nothing had been lost."""
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    key = keys.presence(session_id)
    async with v3_client(instance) as client:
        await client.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(client.socket, 1)
        beat, has_beaten, was_heard = PresenceStore.beat, asyncio.Event(), asyncio.Event()

        async def slowly(store: PresenceStore, **how: bool) -> Beat:
            found = await beat(store, **how)
            has_beaten.set()
            await was_heard.wait()
            return found

        monkeypatch.setattr(PresenceStore, "beat", slowly)
        await has_beaten.wait()
        await pipe.call("DEL", key)
        await pipe.call("ZADD", keys.instances, await instance.sessions.now_ms() + 60_000, "another")
        await pipe.call("HSET", key, "another", PresenceCounts({"viewer": 4}).render())
        again = await pipe.call("GET", keys.presence_changes)
        await pipe.call("PUBLISH", keys.presence_told, again + f" another {session_id}".encode())
        await take_presence(client.socket, 5)
        was_heard.set()

        async def are_both_there() -> bool:
            return len(await pipe.call("HKEYS", key)) == 2

        await eventually(are_both_there)


class Watching:
    """A watcher that keeps what it was shown, and may do something at that moment."""

    def __init__(self) -> None:
        self.principal = ANYBODY
        self.subscriptions: dict[str, Subscription] = {}
        self.shown: list[bytes] = []
        self.at_once: Callable[[], object] = lambda: None

    def enter(self, there: PresenceTracker, session_id: str) -> Subscription:
        subscription = self.subscriptions[session_id] = Subscription(self, session_id)
        there.enter(subscription, PresenceIdentity("viewer"), wants=True)
        return subscription

    def show(self, frame: bytes) -> bool:
        self.shown.append(frame)
        self.at_once()
        return True

    def take(self, subscription: Subscription, update: SessionUpdate) -> None: ...
    def check(self, now: float) -> None: ...
    def going_away(self, spread_s: float) -> None: ...
    def send_away(self) -> None: ...


async def test_who_comes_for_a_session_that_was_left_is_shown_nothing_before_it_is_known(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "BYTES_A_SECOND", 1)  # what changes after the first round waits
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        redis = open_redis(settings.redis_url, settings.redis_timeout_s)
        subscriber = PubSubConnection(redis, pipe, settings.key_prefix, lambda *_: None, lambda *_: None)
        store = PresenceStore(pipe, subscriber, Keys(settings.key_prefix))
        await store.beat(may_bury=True)
        there, left = PresenceTracker(store, subscriber.server_time), []
        for _ in range(2):
            Watching().enter(there, "watched")
            left.append(Watching().enter(there, "left"))
            await there.farewell()
        for subscription in left:
            there.leave(subscription)
        newcomer, other = Watching(), Watching()
        other.at_once = lambda: newcomer.subscriptions or newcomer.enter(there, "left")
        other.enter(there, "watched")
        await there.farewell()
        assert (len(other.shown), newcomer.shown) == (1, [])
        await there.farewell()
        assert [orjson.loads(text_payload(each))["clients"] for each in newcomer.shown] == [1]


async def test_who_was_taken_for_dead_is_there_again_although_others_clear_up_after_it(
    settings: Settings, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other instance sees it dead, and clears its field away just when that was written again."""
    session_id, pipe = await instance.create(), instance.parts.pipe
    keys = instance.parts.store.keys
    async with serving(settings) as other, v3_client(instance) as here, v3_client(other) as there:
        await here.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(here.socket, 1)
        (buried,) = await pipe.call("HKEYS", keys.presence(session_id))
        await there.ask("SUBSCRIBE", session_id=session_id)
        for client in (here, there):
            await take_presence(client.socket, 2)
        known = set(await pipe.call("HKEYS", keys.presence(session_id)))
        seen, written = asyncio.Event(), asyncio.Event()
        call_many = other.parts.pipe.call_many

        async def slowly(commands: list[Command]) -> list[Any]:
            if any(command[0] == "HDEL" for command in commands):
                seen.set()
                await written.wait()
            return await call_many(commands)

        monkeypatch.setattr(other.parts.pipe, "call_many", slowly)
        await pipe.call("ZREM", keys.instances, buried)
        await pipe.call("INCR", keys.presence_changes)  # a word that was lost: everybody looks again
        async with asyncio.timeout(10):
            await seen.wait()

        async def is_back() -> bool:
            return bool(set(await pipe.call("HKEYS", keys.presence(session_id))) - known)

        await eventually(is_back)
        written.set()
        await take_presence(there.socket, 2)

        async def is_cleared() -> bool:
            names = await pipe.call("HKEYS", keys.presence(session_id))
            return buried not in names and len(names) == 2

        await eventually(is_cleared)


async def test_an_instance_that_stops_takes_its_clients_out_before_it_goes(
    settings: Settings, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await instance.create()
    key, pipe = instance.parts.store.keys.presence(session_id), instance.parts.pipe
    async with serving(settings) as other, v3_client(other) as first, v3_client(other) as second:
        await first.ask("SUBSCRIBE", session_id=session_id)
        await take_presence(first.socket, 1)
        monkeypatch.setattr(presence, "ROUND_S", 60)  # after the next round none comes by itself
        await second.ask("SUBSCRIBE", session_id=session_id)

        async def is_written() -> bool:
            return [PresenceCounts.parse(each).clients for each in await pipe.call("HVALS", key)] == [2]

        await eventually(is_written)
        other.server.stop()
        await other.done
    assert not await pipe.call("EXISTS", key)
