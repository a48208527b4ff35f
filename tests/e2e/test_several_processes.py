"""`--processes`: several processes share one port. One of them can die, and all of them drain together."""

import asyncio
import os
import re
import signal
import socket
from contextlib import suppress
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from synckairos.cli.exit_codes import ExitCode
from synckairos.config import Settings
from tests.processes import Process, is_running
from tests.waiting import eventually

pytestmark = pytest.mark.slow

DEADLINE_S = 20.0


def spawn_two(command: str, settings: Settings, *options: str) -> Process:
    return Process(command, "--processes", "2", *options, env=settings.to_environment_variables())


def child_pids(parent: Process) -> list[int]:
    """Return the ids of the processes that the parent has started until now, in the order of their starts."""
    return [int(found) for found in re.findall(r'"child_pid":(\d+)', parent.output)]


async def scrape(url: str) -> dict[str, float]:
    """Return the sum of the samples of each metric, by the name of the metric."""
    async with httpx.AsyncClient(trust_env=False) as rest:
        text = (await rest.get(f"{url}/metrics")).raise_for_status().text
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name = re.split(r"[{ ]", line)[0]
            found[name] = found.get(name, 0) + float(line.rpartition(" ")[2])
    return found


async def wait_for_processes(url: str, count: int) -> dict[str, float]:
    """Wait until a scrape describes `count` processes, and return it."""

    async def scrape_of_all() -> dict[str, float] | None:
        found = await scrape(url)
        return found if found["synckairos_build_info"] == count else None

    found = await eventually(scrape_of_all, DEADLINE_S)
    assert found is not None
    return found


async def switch(url: str, session_id: str) -> None:
    """Send a switch on a new connection, as a client that retries after a lost connection."""
    headers = {"Idempotency-Key": uuid4().hex}

    async def is_done() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as rest:
                response = await rest.post(f"{url}/v1/sessions/{session_id}/switch", headers=headers)
        except httpx.TransportError:
            return False  # the connection was to the killed process
        return response.status_code == 200

    await eventually(is_done, DEADLINE_S)


async def test_one_of_two_servers_is_killed_and_comes_back_and_both_drain(module_settings: Settings) -> None:
    servers = spawn_two("serve", module_settings, "--port", "0")
    try:
        servers.wait_ready()
        url = servers.base_url
        async with httpx.AsyncClient(base_url=url, trust_env=False) as rest:
            body = {"sync_mode": "count_up", "participants": [{"participant_id": str(uuid4())} for _ in range(2)]}
            session_id = (await rest.post("/v1/sessions", json=body)).raise_for_status().json()["data"]["session_id"]
            (await rest.post(f"/v1/sessions/{session_id}/start")).raise_for_status()
        switching = asyncio.gather(*(switch(url, session_id) for _ in range(10)))
        before = await wait_for_processes(url, 2)
        victim, survivor = child_pids(servers)
        os.kill(victim, signal.SIGKILL)
        await switching
        await asyncio.gather(*(switch(url, session_id) for _ in range(10)))
        after = await wait_for_processes(url, 2)
        # The counters of the killed process stay in the sum.
        assert after["synckairos_http_requests_total"] > before["synckairos_http_requests_total"]
        assert is_running(survivor)
        [_, _, successor] = child_pids(servers)
        assert f'"code":{-signal.SIGKILL}' in servers.output
        async with httpx.AsyncClient(base_url=url, trust_env=False) as rest:
            assert (await rest.get(f"/v1/sessions/{session_id}")).json()["data"]["version"] == 22
        sockets = [await connect(f"{servers.ws_url}?sessionId={session_id}", proxy=None) for _ in range(8)]
        servers.send(signal.SIGTERM)
        for each in sockets:
            with suppress(ConnectionClosed):
                while True:
                    await each.recv()
            assert each.close_code == 1001
        assert await asyncio.to_thread(servers.wait_end) == ExitCode.OK
        assert not is_running(survivor)
        assert not is_running(successor)
        assert "Traceback" not in servers.output
    finally:
        servers.stop()


async def test_two_workers_share_their_port_for_metrics_and_stop_together(module_settings: Settings) -> None:
    workers = spawn_two("worker", module_settings, "--metrics-port", "0")
    try:
        line = await asyncio.to_thread(workers.wait_for_line, lambda line: '"serving metrics"' in line)
        found = re.search(r'"port":(\d+)', line)
        assert found is not None
        url = f"http://127.0.0.1:{found[1]}"
        await wait_for_processes(url, 2)
        os.kill(child_pids(workers)[0], signal.SIGKILL)

        async def is_started_again() -> bool:
            return len(child_pids(workers)) == 3

        await eventually(is_started_again, DEADLINE_S)
        await wait_for_processes(url, 2)
        workers.send(signal.SIGTERM)
        assert await asyncio.to_thread(workers.wait_end) == ExitCode.OK
        assert not any(map(is_running, child_pids(workers)))
    finally:
        workers.stop()


def test_processes_that_cannot_start_end_the_command_with_their_exit_code(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = spawn_two("serve", settings, "--port", str(taken.getsockname()[1]))
        assert process.wait_end() == ExitCode.SETTINGS
    assert child_pids(process) == []
    unreachable = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "redis_timeout_s": 0.2})
    process = spawn_two("serve", unreachable, "--port", "0")
    assert process.wait_end() == ExitCode.UNAVAILABLE
    assert not any(map(is_running, child_pids(process)))
