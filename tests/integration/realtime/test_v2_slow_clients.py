"""Clients that don't read: they cost nobody else anything, get the newest state, or are let go."""

import asyncio
from uuid import uuid4

import pytest

from synckairos.clock.commands import Start, Switch
from synckairos.config import Settings
from synckairos.realtime import connection as connections
from synckairos.realtime import hub as hubs
from tests.integration.realtime.instances import Instance, serving, take_until, watching
from tests.integration.realtime.raw import RawClient, raw_client
from tests.waiting import eventually

SMALL = 4_096


async def join_raw(client: RawClient, session_id: str) -> None:
    assert b" 101 " in await client.upgrade(f"/ws?sessionId={session_id}")


async def test_a_slow_reader_gets_the_newest_state_and_delays_nobody(instance: Instance) -> None:
    session_id = await instance.create(participants=100)
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as slow, watching(instance, session_id) as fast:
        await join_raw(slow, session_id)
        await take_until(fast, 2)
        reading = asyncio.create_task(take_until(fast, 102))
        for _ in range(100):
            await instance.command(session_id, Switch())
        assert len(await reading) == 100
        (stalled,) = (each for each in instance.connections if not each.socket.ready)
        assert stalled.socket.waiting() < 256 * 1024
        got = await slow.versions_until(102)
        assert got == sorted(set(got))
        # What the kernels had taken before it stalled, the one frame in between, and the newest.
        assert len(got) < 20


async def test_a_reader_that_is_stuck_is_cut(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STUCK_AFTER_S", 0.2)
    monkeypatch.setattr(hubs, "CHECK_S", 0.05)
    session_id = await instance.create(participants=100)
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as stuck:
        await join_raw(stuck, session_id)
        for _ in range(50):
            await instance.command(session_id, Switch())

        async def is_gone() -> bool:
            return not instance.hub.connections

        await eventually(is_gone)
        assert instance.hub.watched_sessions == 0


async def test_a_silent_client_is_cut_and_one_that_answers_stays(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PING_AFTER_S", 0.1)
    monkeypatch.setattr(connections, "SILENT_AFTER_S", 2.0)
    monkeypatch.setattr(hubs, "CHECK_S", 0.05)
    session_id = str(uuid4())
    async with raw_client(instance.server.port) as silent, watching(instance, session_id) as lively:
        await join_raw(silent, session_id)
        assert await silent.close_code() == 1001
        pong = await lively.ping()
        await pong
        assert len(instance.hub.connections) == 1


async def test_shutdown_doesnt_wait_for_a_client_that_never_reads(settings: Settings) -> None:
    async with serving(settings) as instance, raw_client(instance.server.port, SMALL) as stuck:
        session_id = await instance.create(participants=100)
        await instance.command(session_id, Start())
        await join_raw(stuck, session_id)
        for _ in range(50):
            await instance.command(session_id, Switch())
        instance.server.stop()
        async with asyncio.timeout(settings.drain_timeout_s + 2):
            await instance.done


async def test_pings_of_a_client_that_doesnt_read_pile_up_nothing(instance: Instance) -> None:
    session_id = await instance.create(participants=100)
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as flooding:
        await join_raw(flooding, session_id)

        async def is_stalled() -> bool:
            await instance.command(session_id, Switch())
            return any(not each.socket.ready for each in instance.connections)

        await eventually(is_stalled)
        (stalled,) = instance.connections
        before = stalled.socket.waiting()
        ping = b"\x89\xfd\0\0\0\0" + b"x" * 125
        for _ in range(200):
            await flooding.send(ping * 50)
        assert stalled.socket.waiting() <= before + 64 * 1024
