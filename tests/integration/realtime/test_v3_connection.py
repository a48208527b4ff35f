"""The dialect `synckairos.v3` on real sockets and a real store: subscriptions, deltas, resumption and commands."""

import asyncio
from uuid import uuid4

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from synckairos.clock.commands import Delete, Start, Switch, UpdateMetadata
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER
from synckairos.wire.v3_messages import CLIENT_MESSAGES
from tests.integration.realtime.instances import Instance, receive, serving, watching
from tests.integration.realtime.v3_client import V3, V3Client, normal, shown, v3_client


async def check_converged(client: V3Client, instance: Instance, session_id: str) -> None:
    """Check that a client's state, which is built from deltas, is equal to the stored document."""
    stored = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document
    await client.receive_until(session_id, orjson.loads(stored)["version"])
    assert normal(client.states[session_id]) == shown(stored)


async def test_subscribe_is_answered_with_state_sync(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.send("SUBSCRIBE", session_id=session_id)
        sync = await client.receive()
        assert list(sync) == ["type", "session_id", "version", "server_time_ms", "epoch", "tag", "state"]
        assert (sync["type"], sync["session_id"], sync["version"]) == ("STATE_SYNC", session_id, 1)
        assert sync["state"] == orjson.loads((await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document)
        assert abs(sync["server_time_ms"] - await instance.sessions.now_ms()) < 2_000


async def test_changes_of_another_instance_come_as_deltas(instance: Instance, other_instance: Instance) -> None:
    session_id = await instance.create(participants=20)
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await other_instance.command(session_id, Start())
        await other_instance.command(session_id, Switch())
        deltas = await client.receive_until(session_id, 3)
        assert [each["type"] for each in deltas] == ["STATE_DELTA", "STATE_DELTA"]
        assert [(each["from_version"], each["version"]) for each in deltas] == [(1, 2), (2, 3)]
        await check_converged(client, instance, session_id)


async def test_delta_of_a_switch_among_1000_participants_is_small(instance: Instance) -> None:
    session_id = await instance.create(participants=1_000)
    await instance.command(session_id, Start())
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
        message = {"type": "SUBSCRIBE", "session_id": session_id, "presence": False}
        await socket.send(orjson.dumps(message).decode())
        await receive(socket)
        await instance.command(session_id, Switch())
        assert len(await socket.recv()) <= 1_500


async def test_metadata_with_a_null_is_sent_as_a_full_state(instance: Instance) -> None:
    session_id = await instance.create(participants=20)
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await instance.command(session_id, UpdateMetadata({"a": [None], "b": 1}))
        assert (await client.receive())["type"] == "STATE_UPDATE"
        await instance.command(session_id, UpdateMetadata({"a": {"c": True}, "b": 1.5}))
        assert (await client.receive())["type"] == "STATE_UPDATE"
        await instance.command(session_id, UpdateMetadata({"b": 2}))
        assert (await client.receive())["type"] == "STATE_DELTA"
        await check_converged(client, instance, session_id)


@pytest.mark.parametrize(("behind", "is_tagged"), [(0, True), (0, False), (1, True), (5, True), (5, False)])
async def test_resuming_client_gets_the_missed_versions(
    instance: Instance, other_instance: Instance, behind: int, is_tagged: bool
) -> None:
    session_id = await instance.create()
    await instance.command(session_id, Start())
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        known, tag = client.states[session_id], client.tags[session_id]
    for _ in range(behind):
        await instance.command(session_id, Switch())
    async with v3_client(other_instance) as client:
        client.states[session_id] = known
        where = {"epoch": known["epoch"], "version": known["version"]} | ({"tag": tag} if is_tagged else {})
        await client.send("SUBSCRIBE", session_id=session_id, **where)
        answers = [await client.receive() for _ in range(max(1, behind))]
        assert [each["type"] for each in answers] == ["STATE_DELTA"] * len(answers)
        assert all(each["recovered"] for each in answers)
        if not behind:
            assert answers[0]["patch"] == {}
        assert (answers[-1]["tag"] == tag) is not bool(behind)
        await check_converged(client, instance, session_id)
        await instance.command(session_id, Switch())
        await check_converged(client, instance, session_id)


@pytest.mark.parametrize(
    "position",
    [
        {"version": 99},
        {"epoch": "other", "version": 2},
        {"epoch": "other"},
        {"version": 2, "tag": "other"},
        {"version": 1, "tag": "other"},
        {"tag": "other"},
    ],
)
async def test_unknown_position_is_answered_with_the_full_state(
    instance: Instance, position: dict[str, object]
) -> None:
    session_id = await instance.create()
    await instance.command(session_id, Start())
    epoch = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.epoch
    async with v3_client(instance) as client:
        answer = await client.request("SUBSCRIBE", session_id=session_id, **{"epoch": epoch, **position})
        assert (answer["type"], answer["recovered"]) == ("STATE_SYNC", False)


async def test_position_older_than_the_history_is_answered_with_the_full_state(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"history_length": 3})) as instance:
        session_id = await instance.create()
        await instance.command(session_id, Start())
        for _ in range(5):
            await instance.command(session_id, Switch())
        epoch = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.epoch
        async with v3_client(instance) as client:
            answer = await client.request("SUBSCRIBE", session_id=session_id, epoch=epoch, version=2)
            assert (answer["type"], answer["recovered"], answer["version"]) == ("STATE_SYNC", False, 7)


async def test_subscribe_to_a_missing_session_gets_an_error_and_closes_with_4504(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        error = await client.request("SUBSCRIBE", session_id=str(uuid4()))
        assert (error["type"], error["code"]) == ("ERROR", "SESSION_NOT_FOUND")
        await client.request("UNSUBSCRIBE", session_id=session_id)
        await client.request("SUBSCRIBE", session_id=str(uuid4()))
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert client.socket.close_code == 4504


async def test_deleted_session_sends_an_event_and_closes_with_4510(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        await instance.command(session_id, Delete())
        event = await client.receive()
        assert (event["type"], event["event_type"], event["version"]) == ("EVENT", "session_deleted", 2)
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert client.socket.close_code == 4510


async def test_33rd_subscription_of_a_connection_is_refused(instance: Instance) -> None:
    ids = [await instance.create() for _ in range(33)]
    async with v3_client(instance) as client:
        for session_id in ids[:32]:
            assert (await client.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
        error = await client.request("SUBSCRIBE", session_id=ids[32])
        assert (error["type"], error["code"]) == ("ERROR", "TOO_MANY_SUBSCRIPTIONS")
        assert (await client.request("SUBSCRIBE", session_id=ids[0]))["type"] == "STATE_SYNC"
        await client.request("UNSUBSCRIBE", session_id=ids[0])
        assert (await client.request("SUBSCRIBE", session_id=ids[32]))["type"] == "STATE_SYNC"
        await instance.command(ids[0], Start())
        await instance.command(ids[1], Start())
        assert (await client.receive())["session_id"] == ids[1]


async def test_commands_are_executed_and_acknowledged_in_order(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        for number, command in enumerate(("start", "switch", "pause", "resume", "complete")):
            await client.send("COMMAND", id=f"c{number}", session_id=session_id, command=command)
        acks = [await client.receive() for _ in range(5)]
        assert [(each["type"], each["reply_to"]) for each in acks] == [("ACK", f"c{number}") for number in range(5)]
        assert [each["version"] for each in acks] == [2, 3, 4, 5, 6]


async def test_repeated_command_is_executed_once_and_gets_the_same_answer(
    instance: Instance, other_instance: Instance
) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as here, v3_client(other_instance) as there:
        answers = []
        for _ in range(20):
            for client in (here, there):
                await client.send("COMMAND", id="once", session_id=session_id, command="start")
        for _ in range(20):
            answers += [await here.socket.recv(), await there.socket.recv()]
        assert len(set(answers)) == 1
        assert orjson.loads(answers[0])["version"] == 2
        refused = []
        for client in (here, there, here):
            await client.send("COMMAND", id="twice", session_id=session_id, command="start")
            refused.append(await client.socket.recv())
        assert len(set(refused)) == 1
        assert orjson.loads(refused[0])["code"] == "INVALID_STATE_TRANSITION"
        other = await here.request("COMMAND", id="once", session_id=session_id, command="pause")
        assert other["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.version == 2


async def test_command_with_a_stale_expected_version_is_refused_with_the_state(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        error = await client.request("COMMAND", session_id=session_id, command="start", expected_version=7)
        assert error["code"] == "CONFLICT"
        assert (error["details"]["actual_version"], error["details"]["state"]["version"]) == (1, 1)
        ack = await client.request("COMMAND", session_id=session_id, command="start", expected_version=1)
        assert ack["type"] == "ACK"


async def test_switches_over_the_rate_limit_are_refused(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"rate_limit_switch": 2})) as instance, v3_client(instance) as client:
        session_id = await instance.create()
        await client.request("COMMAND", session_id=session_id, command="start")
        codes = [
            (await client.request("COMMAND", session_id=session_id, command="switch")).get("code") for _ in range(6)
        ]
        assert "RATE_LIMIT_EXCEEDED" in codes


async def test_pong_carries_redis_time(instance: Instance) -> None:
    async with v3_client(instance) as client:
        before = await instance.sessions.now_ms()
        pong = await client.request("PING", t0=12.5)
        after = await instance.sessions.now_ms()
        assert pong["type"] == "PONG"
        assert pong["t0"] == 12.5
        assert before - 50 <= pong["t1"] <= pong["t2"] <= after + 50


UNKNOWN_ID = "01980000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("", "MALFORMED_MESSAGE"),
        ("[]", "MALFORMED_MESSAGE"),
        ("nope", "MALFORMED_MESSAGE"),
        ('{"type":"NOPE"}', "MALFORMED_MESSAGE"),
        ('{"type":"PING","type":"PING"}', "MALFORMED_MESSAGE"),
        (b"{}", "MALFORMED_MESSAGE"),
        ('{"type":"PING"}', "VALIDATION_ERROR"),
        ('{"type":"PING","t0":NaN}', "MALFORMED_MESSAGE"),
        ('{"type":"SUBSCRIBE","session_id":"x"}', "VALIDATION_ERROR"),
        ('{"type":"SUBSCRIBE"}', "VALIDATION_ERROR"),
        (f'{{"type":"SUBSCRIBE","session_id":"{UNKNOWN_ID}","epoch":"e","version":1,"tag":7}}', "VALIDATION_ERROR"),
        (f'{{"type":"COMMAND","session_id":"{UNKNOWN_ID}","command":"start"}}', "VALIDATION_ERROR"),
        (f'{{"type":"COMMAND","id":"1","session_id":"{UNKNOWN_ID}","command":"nope"}}', "VALIDATION_ERROR"),
        (
            f'{{"type":"COMMAND","id":"1","session_id":"{UNKNOWN_ID}","command":"cancel","args":{{"x":1}}}}',
            "VALIDATION_ERROR",
        ),
        (f'{{"type":"COMMAND","id":"1","session_id":"{UNKNOWN_ID}","command":"start"}}', "SESSION_NOT_FOUND"),
    ],
)
async def test_invalid_message_gets_an_error_and_the_connection_stays(
    instance: Instance, sent: str | bytes, code: str
) -> None:
    async with v3_client(instance) as client:
        await client.socket.send(sent)
        error = await client.receive()
        assert (error["type"], error["code"]) == ("ERROR", code)
        if b'"id":"1"' in (sent if isinstance(sent, bytes) else sent.encode()):
            assert error["reply_to"] == "1"
        assert (await client.request("PING", t0=0))["type"] == "PONG"


def test_each_message_model_has_its_name_as_type() -> None:
    assert all(model.model_fields["type"].annotation.__args__ == (name,) for name, model in CLIENT_MESSAGES.items())  # type: ignore[union-attr]


async def test_message_over_the_limit_is_closed_with_4513(instance: Instance) -> None:
    async with v3_client(instance) as client:
        await client.socket.send("x" * 1_000_000)
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert client.socket.close_code == 4513


async def test_connection_over_the_maximum_is_closed_with_4520(settings: Settings) -> None:
    few = settings.model_copy(update={"ws_max_connections": 1})
    async with serving(few) as instance, v3_client(instance) as first:
        await first.request("PING", t0=0)
        async with v3_client(instance) as second:
            with pytest.raises(ConnectionClosed):
                await second.receive()
            assert second.socket.close_code == 4520


async def test_draining_instance_sends_goaway_then_closes_with_4000(instance: Instance) -> None:
    async with v3_client(instance) as client:
        await client.request("PING", t0=0)
        instance.server.stop()
        goaway = await client.receive()
        assert goaway["type"] == "GOAWAY"
        assert goaway["retry_after_ms"] >= 0
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert client.socket.close_code == 4000
    await instance.done


async def test_v2_and_v3_clients_watch_the_same_session(instance: Instance) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as old, v3_client(instance) as new:
        await new.request("SUBSCRIBE", session_id=session_id)
        await receive(old)
        await receive(old)
        await instance.command(session_id, Start())
        assert (await receive(old))["state"]["version"] == 2
        await new.receive_until(session_id, 2)


async def test_client_that_subscribes_during_changes_converges(instance: Instance, other_instance: Instance) -> None:
    session_id = await instance.create()
    await instance.command(session_id, Start())

    async def switch_on() -> None:
        for _ in range(150):
            await other_instance.command(session_id, Switch())

    async def watch() -> None:
        async with v3_client(instance) as client:
            await client.request("SUBSCRIBE", session_id=session_id)
            await client.receive_until(session_id, 152)
            known = client.states[session_id]
        assert normal(known) == shown((await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document)

    switching = asyncio.create_task(switch_on())
    await asyncio.gather(*(watch() for _ in range(10)))
    await switching
