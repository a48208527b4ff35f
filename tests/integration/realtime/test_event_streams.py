"""Event streams: the fallback transport of v3 clients, with batches that reach any instance."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.clock.commands import Start, UpdateMetadata
from synckairos.config import Settings
from synckairos.realtime.timings import RealtimeTimeLimits
from tests.integration.realtime.event_stream_client import EventStreamClient, event_stream, v3_stream
from tests.integration.realtime.instances import CALLER, Instance, serving
from tests.integration.realtime.raw_client import raw_client
from tests.integration.realtime.v3_client import V3Client, normal, shown, v3_client
from tests.waiting import eventually


@pytest.fixture
async def instance(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings) as served:
        yield served


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Instance]:
    async with serving(settings) as served:
        yield served


def stream_of(client: V3Client) -> EventStreamClient:
    stream: object = client.socket
    assert isinstance(stream, EventStreamClient)
    return stream


async def test_stream_and_websocket_get_the_same_states_and_answers(instance: Instance, other: Instance) -> None:
    session_id = await instance.create()
    bases = (other.base_url, instance.base_url)
    async with v3_stream(instance.base_url, frame_bases=bases) as stream, v3_client(instance) as socket:
        for client in (stream, socket):
            answer = await client.request("SUBSCRIBE", session_id=session_id)
            assert answer["type"] == "STATE_SYNC"
        commands = ["start", *["switch"] * 4, "pause", "resume", "complete"]
        for at, command in enumerate(commands):
            client = (stream, socket)[at % 2]
            ack = await client.request("COMMAND", id=str(at), session_id=session_id, command=command, args={})
            assert ack["type"] == "ACK", ack
            assert ack["version"] == at + 2
            for each in (stream, socket):
                await each.receive_until(session_id, at + 2)
        stored = (await instance.sessions.read(CALLER, session_id)).snapshot.document
        assert normal(stream.states[session_id]) == normal(socket.states[session_id]) == shown(stored)
        assert stream.events == socket.events
        pong = await stream.request("PING", t0=5)
        assert (pong["t0"], pong["type"]) == (5, "PONG")


async def test_client_resumes_after_each_change_of_transport(instance: Instance, other: Instance) -> None:
    session_id = await instance.create()
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        known = client.known(session_id)
    await instance.command(session_id, Start())
    for number in range(3, 6):
        async with v3_client(other) if number == 4 else v3_stream(other.base_url) as client:
            answer = await client.resume(session_id, known)
            assert (answer["type"], answer["recovered"]) == ("STATE_DELTA", True)
            await client.receive_until(session_id, number - 1)
            known = client.known(session_id)
        await instance.command(session_id, UpdateMetadata({"number": number}))


async def test_batch_takes_effect_once_however_often_it_is_sent(instance: Instance, other: Instance) -> None:
    session_id = await instance.create()
    bases = (instance.base_url, other.base_url)
    async with event_stream(instance.base_url, frame_bases=bases) as stream:
        change = orjson.dumps(
            {"type": "COMMAND", "id": "a", "session_id": session_id, "command": "start", "args": {}}
        ).decode()
        ping = orjson.dumps({"type": "PING", "t0": 1}).decode()
        for sequence in (2, 1, 1, 3, 1, 2, 2, 3):
            answer = await stream.post(stream.batch(sequence, *((change,) if sequence == 1 else (ping,))))
            assert answer.status_code == 204
        received = [orjson.loads(await stream.recv())["type"] for _ in range(3)]
        assert sorted(received) == ["ACK", "PONG", "PONG"]
        # The batches after these arrive, and nothing came twice.
        await stream.post(stream.batch(4, orjson.dumps({"type": "PING", "id": "last", "t0": 1}).decode()))
        assert orjson.loads(await stream.recv())["reply_to"] == "last"


async def test_stream_pings_a_quiet_client_and_ends_a_silent_client(settings: Settings) -> None:
    timings = RealtimeTimeLimits(check_s=0.05, ping_after_s=0.1, silent_after_s=1.5)
    async with serving(settings, realtime_timings=timings) as instance, event_stream(instance.base_url) as stream:

        async def is_pinged() -> bool:
            return stream.pings == [""]

        await eventually(is_pinged)
        await stream.send()  # answers the ping
        assert (await stream.wait_closed()).code == 4002
        await instance.wait_until_unused()


async def test_ping_with_a_payload_measures_the_round_trip_time(instance: Instance) -> None:
    async with v3_stream(instance.base_url) as client:
        session_id = await instance.create()
        args = {"lag_ms": 50}
        await client.request("SUBSCRIBE", session_id=session_id)
        await client.request("COMMAND", session_id=session_id, command="start", args={})
        await client.request("COMMAND", session_id=session_id, command="switch", args=args)
        stream = stream_of(client)

        async def is_pinged() -> bool:
            return any(stream.pings)

        await eventually(is_pinged)
        await client.request("PING", t0=1)  # its batch has the pong
        (connection,) = instance.connections
        assert connection._round_trip_time.mean_ms is not None  # type: ignore[attr-defined]


async def test_slow_reader_gets_the_newest_state_and_all_answers(instance: Instance) -> None:
    session_id = await instance.create()
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("GET", f"{instance.base_url}/v3/stream") as answer,
    ):
        pieces, received = answer.aiter_raw(), b""
        while b"\n\n" not in received:
            received += await anext(pieces)
        subscribe = orjson.dumps({"type": "SUBSCRIBE", "session_id": session_id}).decode()
        body = {"stream_id": orjson.loads(received.split(b"data: ")[1])["stream_id"], "sequence": 1}
        sent = await http.post(f"{instance.base_url}/v3/frames", json={**body, "frames": [subscribe]})
        assert sent.status_code == 204
        version = 1

        async def is_stalled() -> bool:
            nonlocal version
            noise = uuid4().hex * 600
            version = (await instance.command(session_id, UpdateMetadata({"noise": noise}))).snapshot.version
            (connection,) = instance.connections
            watched = connection.subscriptions.get(session_id)
            return watched is not None and watched.unsent is not None

        await eventually(is_stalled)
        for number in range(20):
            version = (await instance.command(session_id, UpdateMetadata({"a": number}))).snapshot.version
        ping = orjson.dumps({"type": "PING", "id": "last", "t0": 1}).decode()
        await http.post(f"{instance.base_url}/v3/frames", json={**body, "sequence": 2, "frames": [ping]})
        versions: list[int] = []
        is_answered, received = False, b""
        while not is_answered or versions[-1] != version:
            received += await anext(pieces)
            *whole, received = received.split(b"\n\n")
            for message in (orjson.loads(event[6:]) for event in whole if event.startswith(b"data: {")):
                is_answered |= message.get("reply_to") == "last"
                if "from_version" in message or "state" in message:
                    versions.append(message["version"])
        assert len(versions) < version
        assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stream_id": "x", "sequence": 0, "frames": []},
        {"stream_id": "x", "sequence": 1, "frames": [{"type": "PING"}]},
        {"stream_id": "x", "sequence": 1, "frames": ["x"] * 65},
        {"stream_id": "x", "sequence": 1, "frames": ["x" * 65_537]},
        {"stream_id": "x", "sequence": 1, "frames": [], "pong": "0"},
        {"stream_id": "x" * 65, "sequence": 1, "frames": []},
        {"stream_id": "x", "sequence": 1, "frames": [], "more": 1},
    ],
)
async def test_invalid_batch_is_refused(instance: Instance, body: object) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{instance.base_url}/v3/frames", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_batch_for_no_stream_is_refused(instance: Instance) -> None:
    async with event_stream(instance.base_url) as stream:
        body = stream.batch(1)
    await instance.wait_until_unused()
    async with httpx.AsyncClient(trust_env=False) as http:

        async def is_unknown() -> bool:
            return (await http.post(f"{instance.base_url}/v3/frames", json=body)).status_code == 404

        await eventually(is_unknown)
        unknown = {**body, "stream_id": "x"}
        assert (await http.post(f"{instance.base_url}/v3/frames", json=unknown)).status_code == 404


async def test_malformed_frames_are_answered_and_the_stream_stays(instance: Instance) -> None:
    async with v3_stream(instance.base_url) as client:
        await stream_of(client).send("{", "[]", '{"type": "NOTHING"}')
        codes = [(await client.receive())["code"] for _ in range(3)]
        assert codes == ["MALFORMED_MESSAGE"] * 3
        assert (await client.request("PING", t0=1))["type"] == "PONG"


async def test_flood_of_batches_ends_the_stream(instance: Instance) -> None:
    async with event_stream(instance.base_url) as stream:
        ping = orjson.dumps({"type": "PING", "t0": 1}).decode()
        sequence = 0
        while sequence < 100:
            sequence += 1
            if (await stream.post(stream.batch(sequence, *[ping] * 64))).status_code != 204:
                break
        assert (await stream.wait_closed()).code == 1008


async def test_draining_instance_announces_and_closes_its_streams(settings: Settings) -> None:
    async with serving(settings) as instance, v3_stream(instance.base_url) as client:
        await client.request("PING", t0=1)
        instance.server.stop()
        assert (await client.receive())["type"] == "GOAWAY"
        closed = await stream_of(client).wait_closed()
        assert (closed.code, closed.reason) == (4000, "going away")
        await instance.done


async def test_stream_counts_as_a_connection(settings: Settings) -> None:
    limited = settings.model_copy(update={"ws_max_connections_per_address": 2})
    async with serving(limited, principal=None) as instance, event_stream(instance.base_url):
        async with v3_client(instance):
            with pytest.raises(httpx.HTTPStatusError) as refused:
                async with event_stream(instance.base_url):
                    pass
            answer = refused.value.response
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["error"]["code"] == "TOO_MANY_CONNECTIONS"
        assert len(instance.hub.connections) >= 1


async def test_foreign_page_can_neither_open_a_stream_nor_send_frames(instance: Instance) -> None:
    foreign = {"origin": "https://evil.example"}
    with pytest.raises(httpx.HTTPStatusError) as refused:
        async with event_stream(instance.base_url, headers=foreign):
            pass
    assert refused.value.response.status_code == 403
    assert "access-control-allow-origin" not in refused.value.response.headers
    async with event_stream(instance.base_url) as stream:
        assert (await stream.post(stream.batch(1), headers=foreign)).status_code == 403
        own = {"origin": instance.base_url}
        answer = await stream.post(stream.batch(1), headers=own)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, instance.base_url)


async def test_stream_is_not_buffered_by_proxies_and_head_opens_none(instance: Instance) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        async with http.stream("GET", f"{instance.base_url}/v3/stream") as stream:
            assert stream.headers["x-accel-buffering"] == "no"
        await instance.wait_until_unused()
        answer = await http.head(f"{instance.base_url}/v3/stream")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert not instance.hub.connections


async def test_stream_that_its_client_leaves_is_removed(instance: Instance) -> None:
    session_id = await instance.create()
    async with v3_stream(instance.base_url) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        assert len(instance.hub.connections) == 1
    await instance.wait_until_unused()

    async def has_no_channel() -> bool:
        pattern = f"{instance.parts.store.keys.prefix}*:stream:*"
        return not await instance.parts.pipe.call("PUBSUB", "CHANNELS", pattern)

    await eventually(has_no_channel)


async def test_stream_ends_with_its_connection_if_another_request_waits_behind_it(
    instance: Instance, caplog: pytest.LogCaptureFixture
) -> None:
    host = f"Host: 127.0.0.1:{instance.server.port}"
    async with raw_client(instance.server.port) as client:
        await client.send(f"GET /v3/stream HTTP/1.1\r\n{host}\r\n\r\n".encode())
        assert b" 200 " in await client.head()
        await client.send(f"GET /v1/time HTTP/1.1\r\n{host}\r\n\r\n".encode())
        (protocol,) = instance.server.server_state.connections

        async def is_waiting() -> bool:
            return bool(protocol.pipeline)  # type: ignore[union-attr]

        await eventually(is_waiting)
        protocol.transport.abort()
        await instance.wait_until_unused()
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


async def test_client_of_a_killed_instance_resumes_at_another(settings: Settings, other: Instance) -> None:
    async with serving(settings) as instance:
        session_id = await instance.create()
        async with v3_stream(instance.base_url) as client:
            await client.request("SUBSCRIBE", session_id=session_id)
            known = client.known(session_id)
            for connection in tuple(instance.server.server_state.connections):
                connection.transport.abort()
            assert (await stream_of(client).wait_closed()).code is None
        await other.command(session_id, Start())
        async with v3_stream(other.base_url) as client:
            assert (await client.resume(session_id, known))["recovered"] is True
            await client.receive_until(session_id, 2)
            assert normal(client.states[session_id])
