"""Several server processes on one store: updates, commands over REST and sockets, and a killed instance."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from synckairos.config import Settings
from tests.processes import Process, spawn_server

DEADLINE_S = 20.0

Start = Callable[[Settings], Process]


@pytest.fixture(scope="module")
def servers(module_settings: Settings) -> Iterator[list[Process]]:
    """Start three instances on one store."""
    with ThreadPoolExecutor(3) as threads:
        started = list(threads.map(spawn_server, [module_settings] * 3))
    yield started
    for server in started:
        server.stop()


async def create(server: Process) -> str:
    """Create and start a session over REST."""
    people = [{"participant_id": str(uuid4()), "total_time_ms": 300_000} for _ in range(2)]
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as rest:
        answer = await rest.post("/v1/sessions", json={"sync_mode": "per_participant", "participants": people})
        session_id: str = answer.raise_for_status().json()["data"]["session_id"]
        (await rest.post(f"/v1/sessions/{session_id}/start")).raise_for_status()
    return session_id


@asynccontextmanager
async def v3(server: Process) -> AsyncIterator[ClientConnection]:
    async with connect(server.ws_url, subprotocols=[Subprotocol("synckairos.v3")], proxy=None) as client:
        yield client


async def request(client: ClientConnection, kind: str, **members: Any) -> bytes:
    """Send a message and return the bytes of its reply. Skip other messages before the reply."""
    await client.send(orjson.dumps({"type": kind, **members}).decode())
    while True:
        answer = await receive(client)
        if members.get("id") == orjson.loads(answer).get("reply_to"):
            return answer


async def receive(client: ClientConnection) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        return await client.recv(decode=False)


async def test_change_on_one_instance_reaches_watchers_of_another(servers: list[Process]) -> None:
    here, there, _ = servers
    session_id = await create(here)
    async with connect(f"{there.ws_url}?sessionId={session_id}", proxy=None) as watcher:
        assert orjson.loads(await receive(watcher))["type"] == "CONNECTED"
        assert orjson.loads(await receive(watcher))["state"]["version"] == 2
        async with httpx.AsyncClient(base_url=here.base_url, trust_env=False) as rest:
            answer = (await rest.post(f"/v1/sessions/{session_id}/pause")).raise_for_status().json()
            update = orjson.loads(await receive(watcher))
            assert (update["type"], update["state"]) == ("STATE_UPDATE", answer["data"])
            (await rest.delete(f"/v1/sessions/{session_id}")).raise_for_status()
        assert orjson.loads(await receive(watcher))["type"] == "SESSION_DELETED"
        with pytest.raises(ConnectionClosed):
            await receive(watcher)
        assert watcher.close_code == 1000
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{here.ws_url}s", proxy=None)
    assert refused.value.response.status_code == 404


async def test_repeated_command_id_over_rest_and_sockets_changes_the_session_once(
    servers: list[Process],
) -> None:
    """The test sends the command a hundred times in parallel, to three instances."""
    session_id = await create(servers[0])
    async with httpx.AsyncClient(base_url=servers[0].base_url, trust_env=False) as rest:
        state = (await rest.get(f"/v1/sessions/{session_id}")).json()["data"]
        args = {"current_participant_id": state["active_participant_id"]}

        async def by_rest(server: Process) -> bytes:
            async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as client:
                key = {"Idempotency-Key": "press-1"}
                answer = await client.post(f"/v1/sessions/{session_id}/switch", json=args, headers=key)
                return answer.raise_for_status().content

        async def by_socket(server: Process) -> bytes:
            async with v3(server) as client:
                return await request(
                    client, "COMMAND", id="press-1", session_id=session_id, command="switch", args=args
                )

        rests, sockets = await asyncio.gather(
            asyncio.gather(*(by_rest(server) for server, _ in zip(cycle(servers), range(50), strict=False))),
            asyncio.gather(*(by_socket(server) for server, _ in zip(cycle(servers), range(50), strict=False))),
        )
        assert len(rests) == len(sockets) == 50
        assert len(set(rests)) == 1
        assert len(set(sockets)) == 1
        assert orjson.loads(rests[0])["data"]["version"] == orjson.loads(sockets[0])["version"] == 3
        assert (await rest.get(f"/v1/sessions/{session_id}")).json()["data"]["version"] == 3


async def test_watcher_of_a_killed_instance_resumes_on_another(
    servers: list[Process], start_server: Start, module_settings: Settings
) -> None:
    doomed, other = await asyncio.to_thread(start_server, module_settings), servers[0]
    session_id = await create(doomed)
    async with v3(doomed) as client:
        known = orjson.loads(await request(client, "SUBSCRIBE", id="s", session_id=session_id))
        doomed.kill()
        async with asyncio.timeout(DEADLINE_S):
            await client.wait_closed()
    async with v3(other) as client:
        await request(client, "COMMAND", id="c", session_id=session_id, command="pause")
        position = {"epoch": known["epoch"], "version": known["version"]}
        delta = orjson.loads(await request(client, "SUBSCRIBE", id="s", session_id=session_id, **position))
        assert (delta["type"], delta["recovered"], delta["from_version"]) == ("STATE_DELTA", True, 2)
        assert delta["patch"]["status"] == "paused"
