"""Slow clients of `synckairos.v3`: they get all events and answers, but only the newest state.

The newest state names the version of the state sent before.
"""

import base64
import os

import orjson
import pytest

from synckairos.clock.commands import Start, Switch, UpdateMetadata
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER
from synckairos.realtime.connection import MAX_QUEUED_FRAMES
from synckairos.realtime.timings import RealtimeTimeLimits
from tests.integration.realtime.instances import Instance, serving
from tests.integration.realtime.raw_client import RawClient, raw_client
from tests.waiting import eventually

SMALL = 4_096


def masked(message: dict[str, object]) -> bytes:
    """Return a masked text frame with a message of less than 64 KiB."""
    payload, mask = orjson.dumps(message), os.urandom(4)
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + mask + bytes(b ^ mask[at % 4] for at, b in enumerate(payload))


async def join(client: RawClient, session_id: str) -> None:
    assert b" 101 " in await client.upgrade("/ws", "Sec-WebSocket-Protocol: synckairos.v3")
    await client.send(masked({"type": "SUBSCRIBE", "session_id": session_id}))
    assert (await read_message(client))["type"] == "STATE_SYNC"


async def read_message(client: RawClient) -> dict[str, object]:
    while True:
        frame = await client.frame()
        assert frame is not None
        assert frame[0] == 1
        message: dict[str, object] = orjson.loads(frame[1])
        if message["type"] != "PRESENCE":
            return message


async def stall(instance: Instance, session_id: str) -> int:
    """Change a session until the socket of a watcher is not ready. Return the session's version at this moment."""
    version = 0

    async def is_stalled() -> bool:
        nonlocal version
        noise = base64.b64encode(os.urandom(12_000)).decode()
        version = (await instance.command(session_id, UpdateMetadata({"noise": noise}))).snapshot.version
        return any(not each.socket.ready for each in instance.connections)

    await eventually(is_stalled)
    return version


async def test_slow_client_gets_all_answers_in_order_and_then_the_newest_state(instance: Instance) -> None:
    session_id = await instance.create()
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as slow:
        await join(slow, session_id)
        stalled_at = await stall(instance, session_id)
        (connection,) = instance.connections
        assert connection.socket.unsent_bytes() < 256 * 1024
        for number in range(20):
            await slow.send(masked({"type": "PING", "id": f"p{number}", "t0": number}))
            await instance.command(session_id, Switch())
        last = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.version

        states: list[dict[str, object]] = []
        answers: list[object] = []
        while not states or states[-1]["version"] != last or len(answers) < 20:
            message = await read_message(slow)
            if message["type"] == "PONG":
                answers.append(message["t0"])
            else:
                states.append(message)
        assert answers == list(range(20))
        assert [each["from_version"] for each in states[1:]] == [each["version"] for each in states[:-1]]
        # After the socket was not ready for the first time, the kernel can accept one or two further states.
        assert len([each for each in states if each["version"] in range(stalled_at + 1, last + 1)]) <= 3


async def test_slow_client_with_a_full_queue_is_disconnected(instance: Instance) -> None:
    session_id = await instance.create()
    async with raw_client(instance.server.port, SMALL) as slow:
        await join(slow, session_id)
        await stall(instance, session_id)
        for number in range(MAX_QUEUED_FRAMES + 1):
            await slow.send(masked({"type": "PING", "t0": number}))
        await instance.wait_until_unused()


@pytest.mark.parametrize("realtime_timings", [RealtimeTimeLimits(check_s=0.05, stuck_after_s=0.2)])
async def test_client_that_takes_no_byte_is_disconnected(instance: Instance) -> None:
    session_id = await instance.create()
    async with raw_client(instance.server.port, SMALL) as slow:
        await join(slow, session_id)
        await stall(instance, session_id)
        await instance.wait_until_unused()


async def test_slow_client_resumes_many_sessions_one_after_the_other(instance: Instance) -> None:
    """The queue cannot hold the missed versions of all sessions."""
    missed, sessions = 30, 8
    assert missed * sessions > 2 * MAX_QUEUED_FRAMES
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
        free_slots = [MAX_QUEUED_FRAMES] * 2

        async def has_full_queue() -> bool:
            free_slots.append(next(each.free_queue_slots for each in instance.connections))
            return free_slots[-1] == free_slots[-2] == free_slots[-3] < MAX_QUEUED_FRAMES

        await eventually(has_full_queue)
        versions: dict[object, list[object]] = {session_id: [] for session_id in known}
        for _ in range(missed * sessions):
            message = await read_message(slow)
            assert message["recovered"]
            versions[message["session_id"]].append(message["version"])
        assert list(versions.values()) == [[*range(3, missed + 3)]] * sessions


async def test_client_that_missed_more_versions_than_the_queue_holds_gets_the_full_state(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"history_length": 1_000})) as instance:
        session_id = await instance.create()
        started = await instance.command(session_id, Start())
        for _ in range(MAX_QUEUED_FRAMES + 1):
            await instance.command(session_id, Switch())
        async with raw_client(instance.server.port, SMALL) as slow:
            await join(slow, session_id)
            position = {"session_id": session_id, "epoch": started.snapshot.epoch}
            await slow.send(masked({"type": "SUBSCRIBE", **position, "version": 2}))
            answer = await read_message(slow)
            assert (answer["type"], answer["recovered"]) == ("STATE_SYNC", False)
            await slow.send(masked({"type": "SUBSCRIBE", **position, "version": 3}))
            for version in range(4, MAX_QUEUED_FRAMES + 4):
                delta = await read_message(slow)
                assert (delta["type"], delta["version"]) == ("STATE_DELTA", version)
