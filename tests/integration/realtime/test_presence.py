"""Presence: watchers on all instances are counted, with few frames, and correctly after losses in Redis."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.realtime.presence import PresenceTracker
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.timings import RealtimeTimeLimits
from synckairos.realtime.watcher_interface import Subscription
from synckairos.revocations.credential_ends import EndReason
from synckairos.store.connect import make_redis_client
from synckairos.store.keys import Keys
from synckairos.store.presence import HeartbeatResult, PresenceStore
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import RedisCommand, RedisPipe
from synckairos.wire.presence_counts import PresenceCounts, PresenceIdentity
from synckairos.wire.websocket_frames import extract_text_payload
from tests.integration.realtime.instances import SHORT_REALTIME, Instance, receive, receive_presence, serving, watching
from tests.integration.realtime.raw_client import RawClient, raw_client
from tests.integration.realtime.test_v3_slow_clients import join, stall
from tests.integration.realtime.v3_client import v3_client
from tests.principals import make_principal
from tests.waiting import eventually

ANONYMOUS = Principal.anonymous_admin()
SMALL = 4_096


TIMINGS = replace(SHORT_REALTIME, presence_round_s=0.1, presence_beat_s=0.2)


@pytest.fixture
def realtime_timings() -> RealtimeTimeLimits:
    return TIMINGS


async def test_presence_counts_clients_of_both_dialects_on_all_instances(
    instance: Instance, other_instance: Instance
) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as here, v3_client(other_instance) as there:
        await here.send("SUBSCRIBE", session_id=session_id)
        assert (await here.receive())["type"] == "STATE_SYNC"
        alone = await receive_presence(here.socket, 1)
        assert set(alone) == {"type", "session_id", "server_time_ms", "clients", "roles", "participants"}
        assert (alone["session_id"], alone["roles"]) == (session_id, {"admin": 1})
        await there.request("SUBSCRIBE", session_id=session_id)
        for client in (here, there):
            await receive_presence(client.socket, 2)
        async with watching(other_instance, session_id) as old:
            for client in (here, there):
                await receive_presence(client.socket, 3)
            assert [(await receive(old))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
        for client in (here, there):
            await receive_presence(client.socket, 2)
        await there.request("UNSUBSCRIBE", session_id=session_id)
        await receive_presence(here.socket, 1)


async def test_declared_participant_is_accepted_without_authentication(settings: Settings) -> None:
    async with (
        serving(settings, principal=ANONYMOUS, realtime_timings=TIMINGS) as here,
        serving(settings, principal=ANONYMOUS, realtime_timings=TIMINGS) as there,
        v3_client(here) as white,
        v3_client(there) as white_again,
        v3_client(there) as viewer,
    ):
        session_id, participant_id = await here.create(), str(uuid4())
        for client in (white, white_again):
            await client.request("SUBSCRIBE", session_id=session_id, participant_id=participant_id)
        await viewer.request("SUBSCRIBE", session_id=session_id)
        received = await receive_presence(white.socket, 3)
        assert received["roles"] == {"participant": 2, "viewer": 1}
        assert received["participants"] == [participant_id]
        await viewer.request("SUBSCRIBE", session_id=session_id, participant_id=str(uuid4()))
        while len(received["participants"]) < 2:
            received = await receive_presence(white.socket, 3)
        assert received["roles"] == {"participant": 3}


async def test_authenticated_client_cannot_declare_another_participant(settings: Settings) -> None:
    person = str(uuid4())
    known = make_principal("participant", person, participant_id=person)
    async with serving(settings, principal=known, realtime_timings=TIMINGS) as instance, v3_client(instance) as client:
        session_id = await instance.create()
        refused = await client.request("SUBSCRIBE", session_id=session_id, participant_id=str(uuid4()))
        assert (refused["type"], refused["code"]) == ("ERROR", "FORBIDDEN")
        await client.request("SUBSCRIBE", session_id=session_id)
        received = await receive_presence(client.socket, 1)
        assert received["participants"] == [known.subject]
        assert received["roles"] == {"participant": 1}


async def test_client_without_presence_frames_is_counted(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as quiet, v3_client(instance) as other:
        await quiet.request("SUBSCRIBE", session_id=session_id, presence=False)
        await other.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(other.socket, 2)
        await quiet.send("PING", t0=1)
        assert (await quiet.socket.recv()).startswith('{"type":"PONG"')  # type: ignore[arg-type]


async def test_second_subscribe_gets_presence_again(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        for _ in range(2):
            await client.request("SUBSCRIBE", session_id=session_id)
            await receive_presence(client.socket, 1)


async def test_many_new_clients_cause_few_presence_frames(instance: Instance) -> None:
    session_id = await instance.create()
    async with AsyncExitStack() as crowd:
        first = await crowd.enter_async_context(v3_client(instance))
        await first.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(first.socket, 1)
        started_s = time.monotonic()
        for _ in range(60):
            client = await crowd.enter_async_context(v3_client(instance))
            await client.request("SUBSCRIBE", session_id=session_id, presence=False)
        frames = 1
        while '"clients":61,' not in str(await first.socket.recv()):
            frames += 1
        assert frames <= (time.monotonic() - started_s) / TIMINGS.presence_round_s + 2


async def test_slow_client_gets_only_the_newest_presence_after_the_state(instance: Instance) -> None:
    session_id = await instance.create()
    async with raw_client(instance.server.port, SMALL) as slow, v3_client(instance) as watcher:
        await join(slow, session_id)
        await watcher.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(watcher.socket, 2)
        await _read_until(slow, ("PRESENCE", 2))
        last = await stall(instance, session_id)
        for _ in range(3):
            async with v3_client(instance) as passing:
                await passing.request("SUBSCRIBE", session_id=session_id)
                await receive_presence(watcher.socket, 3)
            await receive_presence(watcher.socket, 2)
        async with v3_client(instance) as third, v3_client(instance) as fourth:
            for client in (third, fourth):
                await client.request("SUBSCRIBE", session_id=session_id, presence=False)
            await receive_presence(watcher.socket, 4)
            received = await _read_until(slow, ("PRESENCE", 4))
        presences = [count for kind, count in received if kind == "PRESENCE"]
        assert len(presences) <= 3, received  # the frames in the kernel's buffer, and the newest frame
        assert [version for kind, version in received if kind == "STATE"][-1] >= last


async def _read_until(client: RawClient, last: tuple[str, int]) -> list[tuple[str, int]]:
    """Read messages until `last`. Return the presences and the states."""
    received: list[tuple[str, int]] = []
    while not received or received[-1] != last:
        frame = await client.frame()
        assert frame is not None
        received += _parse(frame[1])
    return received


def _parse(payload: bytes) -> list[tuple[str, int]]:
    message = orjson.loads(payload)
    match message["type"]:
        case "PRESENCE":
            return [("PRESENCE", message["clients"])]
        case "STATE_SYNC" | "STATE_UPDATE" | "STATE_DELTA":
            return [("STATE", message["version"])]
        case _:
            return []


async def test_lost_change_message_is_detected_and_all_counts_read_again(instance: Instance) -> None:
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(client.socket, 1)
        # Simulates a write of another instance whose change message was lost.
        await pipe.call("ZADD", keys.instance_heartbeats, await instance.sessions.now_ms() + 60_000, "another")
        await pipe.call("HSET", keys.presence(session_id), "another", PresenceCounts({"viewer": 4}).render())
        await pipe.call("INCR", keys.presence_message_count)
        await receive_presence(client.socket, 5)


async def test_counts_are_written_again_after_redis_lost_all_presence_data(
    instance: Instance, other_instance: Instance
) -> None:
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    async with v3_client(instance) as here, v3_client(other_instance) as there, v3_client(other_instance) as third:
        for client in (here, there):
            await client.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(here.socket, 2)
        await pipe.call("DEL", keys.instance_heartbeats, keys.presence(session_id), keys.presence_message_count)
        await third.request("SUBSCRIBE", session_id=session_id)
        for client in (here, there, third):
            await receive_presence(client.socket, 3)
        assert len(await pipe.call("HKEYS", keys.presence(session_id))) == 2


async def test_counts_are_written_again_after_a_failover(instance: Instance, other_instance: Instance) -> None:
    """The replica lacks the last write of the other instance, but both instances are registered on it."""
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    async with v3_client(instance) as here, v3_client(other_instance) as there:
        await here.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(here.socket, 1)
        names = keys.presence(session_id), keys.presence_message_count
        replicated = [await pipe.call("DUMP", name) for name in names]
        await there.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(here.socket, 2)
        for name, value in zip(names, replicated, strict=True):
            await pipe.call("RESTORE", name, 0, value, "REPLACE")

        async def has_both_instances() -> bool:
            return len(await pipe.call("HKEYS", keys.presence(session_id))) == 2

        await eventually(has_both_instances)


async def test_counts_are_written_again_after_a_failover_during_a_heartbeat(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later message of another instance raises the counter, so that the counter does not show the loss."""
    session_id = await instance.create()
    pipe, keys = instance.parts.pipe, instance.parts.store.keys
    key = keys.presence(session_id)
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(client.socket, 1)
        beat, has_beat, may_return = PresenceStore.send_heartbeat, asyncio.Event(), asyncio.Event()

        async def delayed(store: PresenceStore, **options: bool) -> HeartbeatResult:
            found = await beat(store, **options)
            has_beat.set()
            await may_return.wait()
            return found

        monkeypatch.setattr(PresenceStore, "send_heartbeat", delayed)
        await has_beat.wait()
        await pipe.call("DEL", key)
        await pipe.call("ZADD", keys.instance_heartbeats, await instance.sessions.now_ms() + 60_000, "another")
        await pipe.call("HSET", key, "another", PresenceCounts({"viewer": 4}).render())
        again = await pipe.call("GET", keys.presence_message_count)
        await pipe.call("PUBLISH", keys.presence_channel, again + f" another {session_id}".encode())
        await receive_presence(client.socket, 5)
        may_return.set()

        async def has_both_instances() -> bool:
            return len(await pipe.call("HKEYS", key)) == 2

        await eventually(has_both_instances)


class FrameWatcher:
    """A watcher that keeps its frames, and calls `on_frame` for each frame."""

    def __init__(self) -> None:
        self.principal = ANONYMOUS
        self.subscriptions: dict[str, Subscription] = {}
        self.frames: list[bytes] = []
        self.on_frame: Callable[[], object] = lambda: None

    def join(self, tracker: PresenceTracker, session_id: str) -> Subscription:
        subscription = self.subscriptions[session_id] = Subscription(self, session_id)
        tracker.add(subscription, PresenceIdentity("viewer"), wants_frames=True)
        return subscription

    def try_send_frame(self, frame: bytes) -> bool:
        self.frames.append(frame)
        self.on_frame()
        return True

    def notify_of_update(self, subscription: Subscription, update: SessionUpdate) -> None: ...
    def check_liveness(self, now_s: float) -> None: ...
    def warn_of_end(self, within_ms: int) -> None: ...
    def end_with_credential(self, reason: EndReason) -> None: ...
    def end_without_right(self, subscription: Subscription) -> None: ...
    def end_undecided(self, subscription: Subscription) -> None: ...
    def apply_rights(self) -> None: ...
    def announce_shutdown(self, spread_s: float) -> None: ...
    def close_for_shutdown(self) -> None: ...


async def test_new_watcher_of_a_session_without_watchers_gets_no_frame_before_its_first_round(
    settings: Settings,
) -> None:
    timings = replace(TIMINGS, presence_bytes_per_s=1)  # frames after the first round are delayed
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
        subscriber = PubSubConnection(redis, pipe, settings.key_prefix, lambda *_: None, lambda *_: None)
        store = PresenceStore(pipe, subscriber, Keys(settings.key_prefix))
        await store.send_heartbeat(may_remove_dead=True)
        tracker, left = PresenceTracker(store, subscriber.server_time, timings), []
        for _ in range(2):
            FrameWatcher().join(tracker, "watched")
            left.append(FrameWatcher().join(tracker, "left"))
            await tracker.withdraw_counts()
        for subscription in left:
            tracker.remove(subscription)
        newcomer, other = FrameWatcher(), FrameWatcher()
        other.on_frame = lambda: newcomer.subscriptions or newcomer.join(tracker, "left")
        other.join(tracker, "watched")
        await tracker.withdraw_counts()
        assert (len(other.frames), newcomer.frames) == (1, [])
        await tracker.withdraw_counts()
        assert [orjson.loads(extract_text_payload(each))["clients"] for each in newcomer.frames] == [1]


async def test_instance_taken_for_dead_is_counted_again_although_another_clears_its_old_name(
    settings: Settings, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another instance finds this instance dead. It removes the field in the moment when the field is written again."""
    session_id, pipe = await instance.create(), instance.parts.pipe
    keys = instance.parts.store.keys
    async with (
        serving(settings, realtime_timings=TIMINGS) as other,
        v3_client(instance) as here,
        v3_client(other) as there,
    ):
        await here.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(here.socket, 1)
        (buried,) = await pipe.call("HKEYS", keys.presence(session_id))
        await there.request("SUBSCRIBE", session_id=session_id)
        for client in (here, there):
            await receive_presence(client.socket, 2)
        known = set(await pipe.call("HKEYS", keys.presence(session_id)))
        clearing, is_written = asyncio.Event(), asyncio.Event()
        call_many = other.parts.pipe.call_many

        async def delayed(commands: list[RedisCommand]) -> list[Any]:
            if any(command[0] == "HDEL" for command in commands):
                clearing.set()
                await is_written.wait()
            return await call_many(commands)

        call_independent = pipe.call_many_independent

        async def delayed_write(commands: list[RedisCommand]) -> list[Any]:
            # The other instance must read the counts first. Otherwise the total never changes and no frame is sent.
            if any(command[0] == "HSET" for command in commands):
                await clearing.wait()
            return await call_independent(commands)

        monkeypatch.setattr(pipe, "call_many_independent", delayed_write)
        monkeypatch.setattr(other.parts.pipe, "call_many", delayed)
        await pipe.call("ZREM", keys.instance_heartbeats, buried)
        await pipe.call("INCR", keys.presence_message_count)  # a lost message: all instances read all counts
        async with asyncio.timeout(10):
            await clearing.wait()

        async def is_back() -> bool:
            return bool(set(await pipe.call("HKEYS", keys.presence(session_id))) - known)

        await eventually(is_back)
        is_written.set()
        await receive_presence(there.socket, 2)

        async def is_cleared() -> bool:
            names = await pipe.call("HKEYS", keys.presence(session_id))
            return buried not in names and len(names) == 2

        await eventually(is_cleared)


async def test_stopping_instance_removes_its_counts(settings: Settings, instance: Instance) -> None:
    session_id = await instance.create()
    key, pipe = instance.parts.store.keys.presence(session_id), instance.parts.pipe
    one_round = replace(TIMINGS, presence_round_s=60)  # so long that only the shutdown can remove the counts
    async with serving(settings, realtime_timings=one_round) as other, v3_client(other) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await receive_presence(client.socket, 1)
        assert [PresenceCounts.parse(each).total_clients for each in await pipe.call("HVALS", key)] == [1]
        other.server.stop()
        await other.done
    assert not await pipe.call("EXISTS", key)
