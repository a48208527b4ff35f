"""Slow v2 clients: they delay no other client, and get only the newest state or are disconnected."""

import asyncio
from uuid import uuid4

import pytest

from synckairos.clock.commands import Start, Switch
from synckairos.config import Settings
from synckairos.realtime.timings import RealtimeTimeLimits
from tests.integration.realtime.instances import Instance, receive_until, serving, watching
from tests.integration.realtime.raw_client import RawClient, raw_client
from tests.waiting import eventually

SMALL = 4_096


async def join_raw(client: RawClient, session_id: str) -> None:
    assert b" 101 " in await client.upgrade(f"/ws?sessionId={session_id}")


async def test_slow_client_gets_the_newest_state_and_delays_no_other_client(instance: Instance) -> None:
    session_id = await instance.create(participants=100)
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as slow, watching(instance, session_id) as fast:
        await join_raw(slow, session_id)
        await receive_until(fast, 2)
        reading = asyncio.create_task(receive_until(fast, 102))
        for _ in range(100):
            await instance.command(session_id, Switch())
        assert len(await reading) == 100
        (stalled,) = (each for each in instance.connections if not each.socket.ready)
        assert stalled.socket.unsent_bytes() < 256 * 1024
        versions = await slow.versions_until(102)
        assert versions == sorted(set(versions))
        # The states in the kernel's buffers, the state in this process, and the newest state.
        assert len(versions) < 20


@pytest.mark.parametrize("realtime_timings", [RealtimeTimeLimits(check_s=0.05, stuck_after_s=0.2)])
async def test_client_that_takes_no_byte_is_disconnected(instance: Instance) -> None:
    session_id = await instance.create(participants=100)
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as stuck:
        await join_raw(stuck, session_id)
        for _ in range(50):
            await instance.command(session_id, Switch())
        await instance.wait_until_unused()


@pytest.mark.parametrize("realtime_timings", [RealtimeTimeLimits(check_s=0.05, ping_after_s=0.1, silent_after_s=2.0)])
async def test_silent_client_is_disconnected_and_a_client_that_answers_pings_stays(instance: Instance) -> None:
    session_id = str(uuid4())
    async with raw_client(instance.server.port) as silent, watching(instance, session_id) as responsive:
        await join_raw(silent, session_id)
        assert await silent.close_code() == 1001
        pong = await responsive.ping()
        await pong
        assert len(instance.hub.connections) == 1


async def test_shutdown_does_not_wait_for_a_client_that_never_reads(settings: Settings) -> None:
    async with serving(settings) as instance, raw_client(instance.server.port, SMALL) as stuck:
        session_id = await instance.create(participants=100)
        await instance.command(session_id, Start())
        await join_raw(stuck, session_id)
        for _ in range(50):
            await instance.command(session_id, Switch())
        instance.server.stop()
        async with asyncio.timeout(settings.drain_timeout_s + 2):
            await instance.done


async def test_pings_of_a_client_that_does_not_read_queue_no_pongs(instance: Instance) -> None:
    session_id = await instance.create(participants=100)
    await instance.command(session_id, Start())
    async with raw_client(instance.server.port, SMALL) as flooding:
        await join_raw(flooding, session_id)

        async def is_stalled() -> bool:
            await instance.command(session_id, Switch())
            return any(not each.socket.ready for each in instance.connections)

        await eventually(is_stalled)
        (stalled,) = instance.connections
        before = stalled.socket.unsent_bytes()
        ping = b"\x89\xfd\0\0\0\0" + b"x" * 125
        for _ in range(200):
            await flooding.send(ping * 50)
        assert stalled.socket.unsent_bytes() <= before + 64 * 1024
