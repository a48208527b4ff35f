"""Slow readers of `synckairos.v3`: the newest state that says from where it jumped, and every event and answer."""

import base64
import os

import orjson
import pytest

from synckairos.clock.commands import Start, Switch, UpdateMetadata
from synckairos.realtime import connection as connections
from synckairos.realtime import hub as hubs
from tests.integration.realtime.instances import Instance
from tests.integration.realtime.raw import RawClient, raw_client
from tests.waiting import eventually

SMALL = 4_096


def masked(message: dict[str, object]) -> bytes:
    """Frame a client's message of less than 64 KiB."""
    payload, mask = orjson.dumps(message), os.urandom(4)
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + mask + bytes(b ^ mask[at % 4] for at, b in enumerate(payload))


async def join(client: RawClient, session_id: str) -> None:
    assert b" 101 " in await client.upgrade("/ws", "Sec-WebSocket-Protocol: synckairos.v3")
    await client.send(masked({"type": "SUBSCRIBE", "session_id": session_id}))
    assert (await message_of(client))["type"] == "STATE_SYNC"


async def message_of(client: RawClient) -> dict[str, object]:
    while True:
        frame = await client.frame()
        assert frame is not None
        assert frame[0] == 1
        message: dict[str, object] = orjson.loads(frame[1])
        if message["type"] != "PRESENCE":
            return message


async def stall(instance: Instance, session_id: str) -> int:
    """Change a session until a watcher takes no more; return the version then."""
    version = 0

    async def is_stalled() -> bool:
        nonlocal version
        noise = base64.b64encode(os.urandom(12_000)).decode()
        version = (await instance.command(session_id, UpdateMetadata({"noise": noise}))).snapshot.version
        return any(not each.socket.ready for each in instance.connections)

    await eventually(is_stalled)
    return version


async def test_it_gets_every_answer_in_order_and_then_the_newest_state(instance: Instance) -> None:
    session_id = await instance.create()
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as slow:
        await join(slow, session_id)
        stalled_at = await stall(instance, session_id)
        (connection,) = instance.connections
        assert connection.socket.waiting() < 256 * 1024
        for number in range(20):
            await slow.send(masked({"type": "PING", "id": f"p{number}", "t0": number}))
            await instance.command(session_id, Switch())
        last = (await instance.sessions.read(session_id)).snapshot.version

        states: list[dict[str, object]] = []
        answers: list[object] = []
        while not states or states[-1]["version"] != last or len(answers) < 20:
            message = await message_of(slow)
            if message["type"] == "PONG":
                answers.append(message["t0"])
            else:
                states.append(message)
        assert answers == list(range(20))
        assert [each["from_version"] for each in states[1:]] == [each["version"] for each in states[:-1]]
        # Its kernel may have taken one or two more after the first time it took none.
        assert len([each for each in states if each["version"] in range(stalled_at + 1, last + 1)]) <= 3


async def test_it_is_cut_where_its_answers_pile_up(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "QUEUE", 8)
    session_id = await instance.create()
    async with raw_client(instance.server.port, SMALL) as slow:
        await join(slow, session_id)
        await stall(instance, session_id)
        for number in range(9):
            await slow.send(masked({"type": "PING", "t0": number}))

        async def is_gone() -> bool:
            return not instance.hub.watched_sessions

        await eventually(is_gone)


async def test_it_is_cut_where_it_is_stuck(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STUCK_AFTER_S", 0.2)
    monkeypatch.setattr(hubs, "CHECK_S", 0.05)
    session_id = await instance.create()
    async with raw_client(instance.server.port, SMALL) as slow:
        await join(slow, session_id)
        await stall(instance, session_id)

        async def is_gone() -> bool:
            return not instance.hub.connections

        await eventually(is_gone)
