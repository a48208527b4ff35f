"""How watching ends: whatever was asked is answered, and whoever watched is told, before the socket is closed."""

from contextlib import suppress
from uuid import uuid4

import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from synckairos.clock.commands import Delete, Start, Switch
from synckairos.config import Settings
from synckairos.realtime import connection as connections
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.watcher import Subscription
from synckairos.store import feed as feeds
from tests.integration.realtime.instances import SOMEBODY, Instance, serving, take, watching
from tests.integration.realtime.raw import raw_client
from tests.integration.realtime.store_proxy import store_proxy
from tests.integration.realtime.test_v3_slow import SMALL, join, masked, message_of, stall
from tests.integration.realtime.v3_client import V3Client, v3_client
from tests.waiting import eventually


async def closing(client: V3Client) -> tuple[int, list[dict[str, object]]]:
    """Take all that comes until the server closes; return its code and what came."""
    came: list[dict[str, object]] = []
    with suppress(ConnectionClosed):
        while True:
            came.append(await client.take())
    assert client.socket.close_code is not None
    return client.socket.close_code, came


async def test_who_deletes_what_it_watches_is_answered(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.ask("SUBSCRIBE", session_id=session_id)
        await client.send("COMMAND", id="end", session_id=session_id, command="delete")
        await client.send("COMMAND", id="late", session_id=session_id, command="start")
        code, came = await closing(client)
        assert code == 4510
        assert {each["type"] for each in came} == {"EVENT", "ACK", "ERROR"}
        assert [each["reply_to"] for each in came if "reply_to" in each] == ["end", "late"]


async def test_what_follows_a_session_that_is_not_there_is_answered(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.send("SUBSCRIBE", session_id=str(uuid4()))
        assert (await client.ask("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
        await instance.command(session_id, Start())
        assert (await client.take())["version"] == 2


async def test_a_slow_v2_reader_is_told_of_the_deletion(instance: Instance) -> None:
    session_id = await instance.create()
    async with raw_client(instance.server.port, SMALL) as slow:
        assert b" 101 " in await slow.upgrade(f"/ws?sessionId={session_id}")
        await stall(instance, session_id)
        await instance.command(session_id, Delete())
        kinds = []
        while (frame := await slow.frame()) is not None and frame[0] == 1:
            kinds.append(orjson.loads(frame[1])["type"])
        assert kinds[-1] == "SESSION_DELETED"
        assert frame is not None
        assert int.from_bytes(frame[1][:2], "big") == 1000


async def test_a_deletion_nobody_heard_of_is_told(settings: Settings) -> None:
    async with store_proxy(settings.redis_url) as proxy:
        few = {"redis_url": proxy.url, "queue_redis_url": proxy.url, "history_length": 2}
        async with serving(settings.model_copy(update=few)) as instance, v3_client(instance) as client:
            session_id, other_id = await instance.create(), await instance.create()
            await instance.command(session_id, Start())
            await client.ask("SUBSCRIBE", session_id=session_id)
            await client.ask("SUBSCRIBE", session_id=other_id)
            proxy.loses = lambda message: b":feed:" in message
            for _ in range(3):
                await instance.command(session_id, Switch())
            await instance.command(session_id, Delete())
            event = await client.take()
            assert (event["type"], event["event_type"]) == ("EVENT", "session_deleted")
            assert (event["session_id"], event["version"]) == (session_id, 6)


class Joining:
    """A watcher that is still asking for what it missed."""

    def __init__(self) -> None:
        self.principal = SOMEBODY
        self.subscriptions: dict[str, Subscription] = {}
        self.taken: list[SessionUpdate] = []

    def take(self, subscription: Subscription, update: SessionUpdate) -> None:
        self.taken.append(update)

    def show(self, frame: bytes) -> bool:
        return False

    def check(self, now: float) -> None: ...
    def going_away(self, spread_s: float) -> None: ...
    def send_away(self) -> None: ...


@pytest.mark.parametrize("has_state", [True, False])
async def test_a_deletion_nobody_heard_of_is_told_who_is_just_joining(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, has_state: bool
) -> None:
    monkeypatch.setattr(feeds, "LOOK_S", 0.05)
    async with store_proxy(settings.redis_url) as proxy:
        few = {"redis_url": proxy.url, "queue_redis_url": proxy.url, "history_length": 2}
        async with serving(settings.model_copy(update=few)) as instance, v3_client(instance) as client:
            session_id = await instance.create()
            await client.ask("SUBSCRIBE", session_id=session_id)
            joining = Joining()
            subscription = Subscription(joining, session_id)
            found = await instance.hub.join(subscription)
            proxy.loses = lambda message: b":feed:" in message
            await instance.command(session_id, Start())
            for _ in range(3):
                await instance.command(session_id, Switch())
            await instance.command(session_id, Delete())
            assert (await client.take())["event_type"] == "session_deleted"
            instance.hub.settle(subscription, found if has_state else None)
            instance.hub.leave([subscription])
            assert [each.snapshot.deleted for each in joining.taken] == [True] * has_state


async def test_who_hears_of_the_end_on_joining_hears_nothing_of_the_next_life(instance: Instance) -> None:
    session_id = await instance.create()
    joining = Joining()
    subscription = Subscription(joining, session_id)
    found = await instance.hub.join(subscription)
    await instance.command(session_id, Delete())
    await instance.create(session_id)

    async def have_both_come() -> bool:
        return len(subscription.backlog or ()) == 2

    await eventually(have_both_come)
    instance.hub.settle(subscription, found)
    instance.hub.leave([subscription])
    assert [each.snapshot.deleted for each in joining.taken] == [True]


async def test_who_came_after_the_end_waits_for_the_next_life(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "LOOK_S", 0.05)

    async def looks() -> int:
        told: bytes = await instance.parts.pipe.call("INFO", "commandstats")
        return int(told.partition(b"cmdstat_hmget:calls=")[2].partition(b",")[0])

    session_id = await instance.create()
    await instance.command(session_id, Delete())
    async with watching(instance, session_id) as client:
        assert (await take(client))["type"] == "CONNECTED"
        before = await looks()

        async def has_looked_often() -> bool:
            return await looks() > before + 50

        await eventually(has_looked_often)
        await instance.create(session_id)
        update = await take(client)
        assert (update["type"], update["state"]["version"]) == ("STATE_UPDATE", 1)


async def test_who_came_for_a_new_life_hears_nothing_of_the_end_before(settings: Settings) -> None:
    async with store_proxy(settings.redis_url) as proxy:
        through = settings.model_copy(update={"redis_url": proxy.url, "queue_redis_url": proxy.url})
        async with serving(through) as instance, v3_client(instance) as before, v3_client(instance) as after:
            session_id = await instance.create()
            await before.ask("SUBSCRIBE", session_id=session_id)
            proxy.loses = lambda message: b":feed:" in message
            await instance.command(session_id, Delete())
            await instance.create(session_id)
            async with watching(instance, session_id) as v2:
                assert [(await take(v2))["type"], (await take(v2))["type"]] == ["CONNECTED", "STATE_SYNC"]
                await after.ask("SUBSCRIBE", session_id=session_id)
                code, came = await closing(before)
                assert (code, [each["type"] for each in came]) == (4510, ["EVENT"])
                proxy.loses = lambda message: False
                await instance.command(session_id, Start())
                assert [(await after.take())["version"], (await take(v2))["state"]["version"]] == [2, 2]


async def test_a_slow_reader_resumes_all_its_sessions(instance: Instance) -> None:
    """What it missed of all of them is far more than may wait for it."""
    missed, sessions = 30, 8
    assert missed * sessions > 2 * connections.QUEUE
    known = {}
    for _ in range(sessions):
        session_id = await instance.create()
        known[session_id] = (await instance.command(session_id, Start())).snapshot.epoch
        for _ in range(missed):
            await instance.command(session_id, Switch())
    async with raw_client(instance.server.port, SMALL) as slow:
        assert b" 101 " in await slow.upgrade("/ws", "Sec-WebSocket-Protocol: synckairos.v3")
        for session_id, epoch in known.items():
            await slow.send(masked({"type": "SUBSCRIBE", "session_id": session_id, "epoch": epoch, "version": 2}))
        rooms = [connections.QUEUE] * 2

        async def is_waited_for() -> bool:
            rooms.append(next(each.room for each in instance.connections))
            return rooms[-1] == rooms[-2] == rooms[-3] < connections.QUEUE

        await eventually(is_waited_for)
        came: dict[object, list[object]] = {session_id: [] for session_id in known}
        for _ in range(missed * sessions):
            message = await message_of(slow)
            assert message["recovered"]
            came[message["session_id"]].append(message["version"])
        assert list(came.values()) == [[*range(3, missed + 3)]] * sessions


async def test_more_missed_than_may_wait_is_the_state(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"history_length": 1_000})) as instance:
        session_id = await instance.create()
        started = await instance.command(session_id, Start())
        for _ in range(connections.QUEUE + 1):
            await instance.command(session_id, Switch())
        async with raw_client(instance.server.port, SMALL) as slow:
            await join(slow, session_id)
            position = {"session_id": session_id, "epoch": started.snapshot.epoch}
            await slow.send(masked({"type": "SUBSCRIBE", **position, "version": 2}))
            whole = await message_of(slow)
            assert (whole["type"], whole["recovered"]) == ("STATE_SYNC", False)
            await slow.send(masked({"type": "SUBSCRIBE", **position, "version": 3}))
            for version in range(4, connections.QUEUE + 4):
                delta = await message_of(slow)
                assert (delta["type"], delta["version"]) == ("STATE_DELTA", version)
