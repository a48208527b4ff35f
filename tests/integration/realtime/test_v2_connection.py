"""The v2 dialect on real sockets and a real store: all messages and close codes."""

import asyncio
from uuid import uuid4

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from synckairos.clock.commands import Delete, Start, Switch
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER
from tests.integration.realtime.instances import Instance, receive, receive_until, serving, watching
from tests.integration.realtime.store_proxy import store_proxy


async def test_watcher_gets_connected_and_state_sync(instance: Instance) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as client:
        connected = await receive(client)
        assert connected.pop("timestamp") > 1_600_000_000_000
        assert connected == {"type": "CONNECTED", "sessionId": session_id}
        sync = await receive(client)
        assert list(sync) == ["type", "sessionId", "timestamp", "state"]
        assert (sync["type"], sync["sessionId"]) == ("STATE_SYNC", session_id)
        assert sync["state"] == orjson.loads((await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document)


async def test_upper_case_session_id_names_the_same_session(instance: Instance) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id.upper()) as client:
        assert (await receive(client))["sessionId"] == session_id
        assert (await receive(client))["state"]["session_id"] == session_id


async def test_watcher_gets_every_version_of_all_instances(instance: Instance, other_instance: Instance) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as here, watching(other_instance, session_id) as there:
        for client in (here, there):
            assert [(await receive(client))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
        await instance.command(session_id, Start())
        for _ in range(3):
            await other_instance.command(session_id, Switch())
        for client in (here, there):
            updates = [await receive(client) for _ in range(4)]
            assert [list(update) for update in updates] == [["type", "sessionId", "timestamp", "state"]] * 4
            assert [update["type"] for update in updates] == ["STATE_UPDATE"] * 4
            assert [update["state"]["version"] for update in updates] == [2, 3, 4, 5]


async def test_watcher_of_a_missing_session_gets_it_when_it_is_created(instance: Instance) -> None:
    session_id = str(uuid4())
    async with watching(instance, session_id) as client:
        assert (await receive(client))["type"] == "CONNECTED"
        await client.send('{"type":"RECONNECT"}')
        answer = await receive(client)
        assert (answer["type"], answer["code"]) == ("ERROR", "SESSION_NOT_FOUND")
        assert set(answer) == {"type", "code", "message"}
        await instance.create(session_id)
        update = await receive(client)
        assert (update["type"], update["state"]["version"]) == ("STATE_UPDATE", 1)


async def test_ping_is_answered_with_pong_and_reconnect_with_state_sync(instance: Instance) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as client:
        await receive_until(client, 1)
        await client.send('{"type":"PING"}')
        pong = await receive(client)
        assert set(pong) == {"type", "timestamp"}
        assert abs(pong["timestamp"] - await instance.sessions.now_ms()) < 2_000
        await client.send('{"type":"RECONNECT","sessionId":"ignored"}')
        assert (await receive(client))["type"] == "STATE_SYNC"


async def test_deleted_session_sends_session_deleted_and_closes_with_1000(
    instance: Instance, other_instance: Instance
) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as client:
        await receive_until(client, 1)
        await other_instance.command(session_id, Delete())
        message = await receive(client)
        assert message.pop("timestamp")
        assert message == {"type": "SESSION_DELETED", "sessionId": session_id}
        with pytest.raises(ConnectionClosed):
            await receive(client)
        assert client.close_code == 1000
    await instance.wait_until_unused()


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "{",
        "nope",
        "[]",
        "null",
        "1",
        '"PING"',
        "{}",
        '{"type":1}',
        '{"type":null}',
        '{"type":[]}',
        '{"type":"ping"}',
        '{"type":"SUBSCRIBE"}',
        "[" * 5_000,
        b"\x00\x01",
        b'{"type":"\xff"}',
        b'{"type":"SUBSCRIBE"}',
    ],
)
async def test_malformed_message_gets_an_error_and_the_connection_stays(instance: Instance, sent: str) -> None:
    async with watching(instance, str(uuid4())) as client:
        await receive(client)
        await client.send(sent)
        error = await receive(client)
        assert set(error) == {"type", "code", "message"}
        assert (error["type"], error["code"]) == ("ERROR", "MALFORMED_MESSAGE")
        await client.send('{"type":"PING"}')
        assert (await receive(client))["type"] == "PONG"


@pytest.mark.parametrize(
    "query", ["", "?sessionId=", "?sessionId=nope", "?session=x", "?sessionId=%00", "?sessionId=1234"]
)
async def test_missing_or_malformed_session_id_is_closed_with_1008(instance: Instance, query: str) -> None:
    async with connect(instance.ws_url + query, proxy=None) as client:
        with pytest.raises(ConnectionClosed):
            await receive(client)
        assert client.close_code == 1008


@pytest.mark.parametrize(
    ("offered", "named"),
    [
        (["json"], "json"),
        (["chat", "json"], "chat"),
        (["synckairos.v9", "chat"], "synckairos.v9"),
        (["synckairos.bearer.secret", "json"], "json"),
        (["synckairos.bearer.secret"], None),
        (["json", "synckairos.v3"], "synckairos.v3"),
    ],
)
async def test_first_offered_subprotocol_is_named_unless_v3_is_offered(
    instance: Instance, offered: list[str], named: str | None
) -> None:
    async with watching(instance, str(uuid4()), subprotocols=[Subprotocol(each) for each in offered]) as client:
        assert client.subprotocol == named
        if named != "synckairos.v3":
            assert (await receive(client))["type"] == "CONNECTED"
            await client.send('{"type":"PING"}')
            assert (await receive(client))["type"] == "PONG"


async def test_unknown_subprotocol_without_a_session_id_is_closed_with_the_name_of_v3(instance: Instance) -> None:
    unknown = [Subprotocol("synckairos.v9"), Subprotocol("chat")]
    async with connect(instance.ws_url, subprotocols=unknown, proxy=None) as client:
        with pytest.raises(ConnectionClosed, match=r"Use synckairos\.v3") as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_binary_frames_are_read_like_text_frames(instance: Instance) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as client:
        assert [(await receive(client))["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
        await client.send(b'{"type":"PING"}')
        assert (await receive(client))["type"] == "PONG"
        await client.send([b'{"type":', b'"RECONNECT"}'])
        assert (await receive(client))["type"] == "STATE_SYNC"


async def test_message_over_the_limit_is_closed_with_1009(instance: Instance) -> None:
    async with watching(instance, str(uuid4())) as client:
        await receive(client)
        await client.send("x" * 65_536)
        assert (await receive(client))["type"] == "ERROR"
        await client.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosed):
            await receive(client)
        assert client.close_code == 1009


async def test_origin_that_is_not_allowed_is_refused_with_403(instance: Instance) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with watching(instance, str(uuid4()), origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_connection_over_the_maximum_is_refused_with_503(settings: Settings) -> None:
    few = settings.model_copy(update={"ws_max_connections": 1})
    async with serving(few) as instance, watching(instance, str(uuid4())) as client:
        await receive(client)
        with pytest.raises(InvalidStatus) as refused:
            async with watching(instance, str(uuid4())):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["retry-after"]) > 0


async def test_instance_subscribes_to_a_session_only_while_it_is_watched(instance: Instance) -> None:
    session_id = await instance.create()
    channel = instance.parts.store.keys.feed_channel(session_id)
    assert await instance.parts.pipe.call("PUBSUB", "NUMSUB", channel) == [channel.encode(), 0]
    async with watching(instance, session_id) as first, watching(instance, session_id) as second:
        await receive_until(first, 1)
        await receive_until(second, 1)
        assert await instance.parts.pipe.call("PUBSUB", "NUMSUB", channel) == [channel.encode(), 1]
        await first.close()
        await instance.command(session_id, Start())
        await receive_until(second, 2)
    async with asyncio.timeout(5):
        while await instance.parts.pipe.call("PUBSUB", "NUMSUB", channel) != [channel.encode(), 0]:
            pass


async def test_watcher_that_subscribes_during_changes_gets_each_later_version_in_order(instance: Instance) -> None:
    session_id = await instance.create()
    await instance.command(session_id, Start())

    async def switch_on() -> None:
        for _ in range(200):
            await instance.command(session_id, Switch())

    async def watch() -> list[int]:
        async with watching(instance, session_id) as client:
            messages = await receive_until(client, 202)
        assert [message["type"] for message in messages[:2]] == ["CONNECTED", "STATE_SYNC"]
        return [message["state"]["version"] for message in messages[1:]]

    switching = asyncio.create_task(switch_on())
    for versions in await asyncio.gather(*(watch() for _ in range(20))):
        assert versions == list(range(versions[0], 203))
    await switching


async def test_reconnect_ahead_of_the_feed_gets_no_older_version_afterwards(
    settings: Settings, instance: Instance
) -> None:
    session_id = await instance.create()
    async with store_proxy(settings.redis_url) as proxy:
        behind = settings.model_copy(update={"redis_url": proxy.url})
        async with serving(behind) as lagging, watching(lagging, session_id) as client:
            await receive_until(client, 1)
            proxy.loses = lambda message: session_id.encode() in message
            await instance.command(session_id, Start())
            await instance.command(session_id, Switch())
            await client.send('{"type":"RECONNECT"}')
            (sync,) = await receive_until(client, 3)
            assert sync["type"] == "STATE_SYNC"
            await lagging.command(session_id, Switch())
            assert [message["state"]["version"] for message in await receive_until(client, 4)] == [4]


async def test_draining_instance_closes_its_watchers_with_1001(instance: Instance) -> None:
    async with watching(instance, str(uuid4())) as client:
        await receive(client)
        instance.server.stop()
        with pytest.raises(ConnectionClosed):
            await receive(client)
        assert client.close_code == 1001
    await instance.done
