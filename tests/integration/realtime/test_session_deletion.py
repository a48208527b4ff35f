"""Deletion of a watched session: requests are answered and watchers are notified before the socket is closed."""

from contextlib import suppress
from uuid import uuid4

import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from synckairos.clock.commands import Delete, Start, Switch
from synckairos.config import Settings
from synckairos.realtime.session_update import SessionUpdate
from synckairos.realtime.watcher_interface import Subscription
from synckairos.revocations.credential_ends import EndReason
from tests.integration.realtime.instances import CALLER, Instance, receive, serving, watching
from tests.integration.realtime.raw_client import raw_client
from tests.integration.realtime.store_proxy import store_proxy
from tests.integration.realtime.test_v3_slow_clients import SMALL, stall
from tests.integration.realtime.v3_client import V3Client, v3_client
from tests.waiting import eventually


async def receive_all(client: V3Client) -> tuple[int, list[dict[str, object]]]:
    """Receive messages until the server closes the connection. Return the close code and the messages."""
    received: list[dict[str, object]] = []
    with suppress(ConnectionClosed):
        while True:
            received.append(await client.receive())
    assert client.socket.close_code is not None
    return client.socket.close_code, received


async def test_client_that_deletes_the_session_it_watches_gets_its_answers(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await client.send("COMMAND", id="end", session_id=session_id, command="delete")
        await client.send("COMMAND", id="late", session_id=session_id, command="start")
        code, received = await receive_all(client)
        assert code == 4510
        assert {each["type"] for each in received} == {"EVENT", "ACK", "ERROR"}
        assert [each["reply_to"] for each in received if "reply_to" in each] == ["end", "late"]


async def test_requests_after_a_subscribe_to_a_missing_session_are_answered(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.send("SUBSCRIBE", session_id=str(uuid4()))
        assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
        await instance.command(session_id, Start())
        assert (await client.receive())["version"] == 2


async def test_slow_v2_client_gets_session_deleted(instance: Instance) -> None:
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


async def test_deletion_whose_feed_message_was_lost_is_sent_to_watchers(settings: Settings) -> None:
    async with store_proxy(settings.redis_url) as proxy:
        few = {"redis_url": proxy.url, "queue_redis_url": proxy.url, "history_length": 2}
        async with serving(settings.model_copy(update=few)) as instance, v3_client(instance) as client:
            session_id, other_id = await instance.create(), await instance.create()
            await instance.command(session_id, Start())
            await client.request("SUBSCRIBE", session_id=session_id)
            await client.request("SUBSCRIBE", session_id=other_id)
            proxy.loses = lambda message: b":feed:" in message
            for _ in range(3):
                await instance.command(session_id, Switch())
            await instance.command(session_id, Delete())
            event = await client.receive()
            assert (event["type"], event["event_type"]) == ("EVENT", "session_deleted")
            assert (event["session_id"], event["version"]) == (session_id, 6)


class LateWatcher:
    """A watcher that keeps its updates, and that a test activates late."""

    def __init__(self) -> None:
        self.principal = CALLER
        self.subscriptions: dict[str, Subscription] = {}
        self.updates: list[SessionUpdate] = []

    def notify_of_update(self, subscription: Subscription, update: SessionUpdate) -> None:
        self.updates.append(update)

    def try_send_frame(self, frame: bytes) -> bool:
        return False

    def check_liveness(self, now_s: float) -> None: ...
    def warn_of_end(self, within_ms: int) -> None: ...
    def end_with_credential(self, reason: EndReason) -> None: ...
    def end_without_right(self, subscription: Subscription) -> None: ...
    def end_undecided(self, subscription: Subscription) -> None: ...
    def apply_rights(self) -> None: ...
    def announce_shutdown(self, spread_s: float) -> None: ...
    def close_for_shutdown(self) -> None: ...


@pytest.mark.parametrize("has_state", [True, False])
async def test_deletion_whose_feed_message_was_lost_is_sent_to_a_subscribing_watcher_with_a_state(
    settings: Settings, has_state: bool
) -> None:
    async with store_proxy(settings.redis_url) as proxy:
        few = {"redis_url": proxy.url, "queue_redis_url": proxy.url, "history_length": 2}
        through_proxy = settings.model_copy(update=few)
        async with serving(through_proxy, feed_compare_s=0.05) as instance, v3_client(instance) as client:
            session_id = await instance.create()
            await client.request("SUBSCRIBE", session_id=session_id)
            watcher = LateWatcher()
            subscription = Subscription(watcher, session_id)
            found = await instance.hub.subscribe(subscription)
            proxy.loses = lambda message: b":feed:" in message
            await instance.command(session_id, Start())
            for _ in range(3):
                await instance.command(session_id, Switch())
            await instance.command(session_id, Delete())
            while (await client.receive()).get("event_type") != "session_deleted":
                pass  # a comparison between two commands reads a state before the deletion
            states = [each for each in subscription.backlog or () if not each.snapshot.deleted]
            instance.hub.activate_subscription(subscription, found if has_state else None)
            instance.hub.unsubscribe([subscription])
            is_notified = has_state or bool(states)
            assert [each.snapshot.deleted for each in watcher.updates] == [False] * len(states) + [True] * is_notified


async def test_watcher_notified_of_the_deletion_is_not_notified_of_the_new_session(instance: Instance) -> None:
    session_id = await instance.create()
    watcher = LateWatcher()
    subscription = Subscription(watcher, session_id)
    found = await instance.hub.subscribe(subscription)
    await instance.command(session_id, Delete())
    await instance.create(session_id)

    async def have_both_arrived() -> bool:
        return len(subscription.backlog or ()) == 2

    await eventually(have_both_arrived)
    instance.hub.activate_subscription(subscription, found)
    instance.hub.unsubscribe([subscription])
    assert [each.snapshot.deleted for each in watcher.updates] == [True]


async def test_watcher_that_subscribes_after_the_deletion_gets_the_new_session(settings: Settings) -> None:
    async with serving(settings, feed_compare_s=0.05) as instance:

        async def count_comparisons() -> int:
            stats: bytes = await instance.parts.pipe.call("INFO", "commandstats")
            return int(stats.partition(b"cmdstat_hmget:calls=")[2].partition(b",")[0])

        session_id = await instance.create()
        await instance.command(session_id, Delete())
        async with watching(instance, session_id) as client:
            assert (await receive(client))["type"] == "CONNECTED"
            before = await count_comparisons()

            async def has_compared_often() -> bool:
                return await count_comparisons() > before + 50

            await eventually(has_compared_often)
            await instance.create(session_id)
            update = await receive(client)
            assert (update["type"], update["state"]["version"]) == ("STATE_UPDATE", 1)


async def test_watcher_of_the_new_session_is_not_notified_of_the_earlier_deletion(settings: Settings) -> None:
    async with store_proxy(settings.redis_url) as proxy:
        through = settings.model_copy(update={"redis_url": proxy.url, "queue_redis_url": proxy.url})
        async with serving(through) as instance, v3_client(instance) as before, v3_client(instance) as after:
            session_id = await instance.create()
            await before.request("SUBSCRIBE", session_id=session_id)
            proxy.loses = lambda message: b":feed:" in message
            await instance.command(session_id, Delete())
            await instance.create(session_id)
            async with watching(instance, session_id) as v2:
                assert [(await receive(v2))["type"], (await receive(v2))["type"]] == ["CONNECTED", "STATE_SYNC"]
                await after.request("SUBSCRIBE", session_id=session_id)
                code, received = await receive_all(before)
                assert (code, [each["type"] for each in received]) == (4510, ["EVENT"])
                proxy.loses = lambda message: False
                await instance.command(session_id, Start())
                assert [(await after.receive())["version"], (await receive(v2))["state"]["version"]] == [2, 2]
