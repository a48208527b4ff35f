"""The server: event loop lag as a metric, duration of idle connections, and the last responses before a shutdown."""

import asyncio
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from synckairos.config import Settings
from synckairos.server.timings import ServerTimeLimits
from synckairos.server.uvicorn_server import LATE_S, LOOP_CHECK_S
from tests.integration.realtime.instances import Instance, receive, serving, watching
from tests.integration.realtime.raw_client import raw_client
from tests.waiting import eventually

STALL_S = 0.2
REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def lag_s() -> float:
    return REGISTRY.get_sample_value("synckairos_event_loop_lag_seconds_sum") or 0.0


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer without a body."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_blocked_event_loop_adds_its_duration_to_the_lag_metric(instance: Instance) -> None:
    before_s = lag_s()
    time.sleep(STALL_S)  # noqa: ASYNC251 - the block is the test's input

    async def is_measured() -> bool:
        return lag_s() - before_s >= STALL_S - LOOP_CHECK_S - 0.001

    await eventually(is_measured)


async def test_log_names_the_request_for_which_the_event_loop_was_late(settings: Settings) -> None:
    async def block_the_loop() -> None:
        time.sleep(2 * LATE_S)  # noqa: ASYNC251 - the block is the test's input

    with capture_logs() as lines:
        async with serving(settings, server_timings=ServerTimeLimits(late_line_s=0)) as instance:
            await instance.hub.work.processor_time.run("a client", block_the_loop)

            async def find_line() -> Any:
                return next((line for line in lines if "block_the_loop" in line.get("longest_step", "")), None)

            line = await eventually(find_line)
    assert line["event"] == "event loop was late"
    assert line["longest_step_ms"] >= 2_000 * LATE_S
    assert line["processor_ms"] < line["longest_step_ms"], "a sleep uses no processor time"


async def test_idle_connection_is_closed_after_the_set_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings.model_copy(update={"keep_alive_s": 0.2})) as instance:
        monkeypatch.setattr(instance.server.config, "loaded_app", answer)
        async with raw_client(instance.server.port) as client:
            for _ in range(2):
                await client.send(REQUEST)
                assert b" 204 " in await client.head()
            answered_s = time.monotonic()
            async with asyncio.timeout(5):
                assert await client.rest() == b""
            assert time.monotonic() - answered_s > 0.15


async def test_idle_connections_outlive_those_of_load_balancers_by_default(instance: Instance) -> None:
    assert instance.server.config.timeout_keep_alive == 75


async def test_second_stop_closes_the_sockets_at_once(settings: Settings) -> None:
    async with (
        serving(settings.model_copy(update={"drain_timeout_s": 600})) as instance,
        watching(instance, await instance.create()) as client,
    ):
        await receive(client)

        async def run_until_cancelled() -> None:
            await asyncio.Event().wait()

        instance.hub.spawn_request_task(run_until_cancelled())  # the drain waits for it, for a half of its timeout
        instance.server.stop()

        async def is_draining() -> bool:
            return instance.hub.is_draining

        await eventually(is_draining)
        instance.server.stop()
        async with asyncio.timeout(10):
            await client.wait_closed()
            await instance.done
        assert client.close_code == 1001


async def test_responses_of_a_stopping_server_end_their_connections(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, finish = asyncio.Event(), asyncio.Event()

    async def answer_later(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            began.set()
            await finish.wait()
        await answer(scope, receive, send)

    monkeypatch.setattr(instance.server.config, "loaded_app", answer_later)
    async with raw_client(instance.server.port) as running, raw_client(instance.server.port) as idle:
        await idle.send(REQUEST)
        assert b"connection: close" not in await idle.head()
        await running.send(REQUEST.replace(b"/health", b"/slow"))
        await began.wait()
        instance.server.stop()
        await idle.send(REQUEST)
        assert b"\r\nconnection: close" in await idle.head()
        finish.set()
        assert b"\r\nconnection: close" in await running.head()
        assert await running.rest() == await idle.rest() == b""
