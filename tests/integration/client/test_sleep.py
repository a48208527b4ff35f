"""A client on a machine that sleeps: it shows no reading until it has measured the server's time again."""

import asyncio
import math
import time

import pytest

from synckairos_client import Client, ServerTimeUnknown
from tests.integration.client.proxy import proxy_to
from tests.integration.realtime.instances import Instance
from tests.sleeping_machine import SleepingMachine
from tests.waiting import eventually

TEN_MINUTES_S = 600.0


@pytest.fixture
def machine() -> SleepingMachine:
    return SleepingMachine()


async def test_reading_after_a_sleep_waits_for_a_new_measurement(instance: Instance, machine: SleepingMachine) -> None:
    session_id = await instance.create()
    async with (
        Client(instance.ws_url, local_clock=machine.clock()) as client,
        client.watch(session_id) as session,
    ):
        ack = await session.command("start")
        await session.reach(ack.version)
        before_ms = session.remaining_ms()
        assert before_ms is not None
        assert client.is_time_known
        machine.sleep(TEN_MINUTES_S)
        for read in (session.remaining_ms, session.used_ms, client.now_ms):
            with pytest.raises(ServerTimeUnknown):
                read()
        assert (client.error_ms, client.is_time_known) == (math.inf, False)

        await client.measure()
        assert abs(client.now_ms() - time.time() * 1000) <= client.error_ms
        after_ms = session.remaining_ms()
        assert after_ms is not None
        assert before_ms - 60_000 < after_ms <= before_ms


async def test_stopped_clock_has_a_reading_after_a_sleep(instance: Instance, machine: SleepingMachine) -> None:
    session_id = await instance.create()
    async with (
        Client(instance.ws_url, local_clock=machine.clock()) as client,
        client.watch(session_id) as session,
    ):
        machine.sleep(TEN_MINUTES_S)
        first = session.state.participants[0]
        assert session.remaining_ms(first.participant_id) == first.remaining_ms
        assert session.used_ms() == 0


async def test_client_measures_the_time_after_a_sleep_even_if_no_reading_is_requested(
    instance: Instance, machine: SleepingMachine
) -> None:
    async with Client(instance.ws_url, local_clock=machine.clock()) as client:
        first = await client.measure()
        machine.sleep(TEN_MINUTES_S)

        async def is_measured() -> bool:
            sample = client.clock.best_sample(machine.monotonic_ms())
            return sample.offset_ms - first.offset_ms > 1000 * TEN_MINUTES_S / 2

        await eventually(is_measured)
        assert client.is_time_known


async def test_pong_that_arrives_after_a_sleep_is_not_a_sample(instance: Instance, machine: SleepingMachine) -> None:
    async with (
        proxy_to(instance.ws_url) as proxy,
        Client(proxy.url, local_clock=machine.clock()) as client,
    ):
        await client.measure()

        def sleep_once(chunk: bytes) -> bool:
            if b"PONG" in chunk and not machine.slept_s:
                machine.sleep(TEN_MINUTES_S)
            return False

        proxy.should_cut = sleep_once
        sample = await client.measure()
        assert machine.slept_s == TEN_MINUTES_S
        assert abs(sample.offset_ms - machine.true_offset_ms()) <= sample.error_ms
        assert abs(client.now_ms() - time.time() * 1000) <= client.error_ms


async def test_connection_that_broke_during_the_sleep_is_replaced_soon(
    instance: Instance, machine: SleepingMachine
) -> None:
    async with (
        proxy_to(instance.ws_url) as proxy,
        Client(proxy.url, local_clock=machine.clock()) as client,
    ):
        await client.measure()

        def lose(chunk: bytes) -> bool:
            if b"PONG" in chunk:
                # The network loses this answer, but a new connection works.
                proxy.down_ms, proxy.jitter = 3_600_000, 0
                asyncio.get_running_loop().call_soon(setattr, proxy, "down_ms", 0)
                proxy.should_cut = lambda chunk: False
            return False

        proxy.should_cut = lose
        machine.sleep(TEN_MINUTES_S)
        assert client.error_ms == math.inf
        async with asyncio.timeout(10):
            await client.measure()
        assert proxy.connections == 2
        assert client.error_ms < 1_000


async def test_watch_that_begins_after_a_sleep_waits_for_a_measurement(
    instance: Instance, machine: SleepingMachine
) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url, local_clock=machine.clock()) as client:
        await client.measure()
        machine.sleep(TEN_MINUTES_S)
        async with client.watch(session_id):
            assert abs(client.now_ms() - time.time() * 1000) <= client.error_ms
