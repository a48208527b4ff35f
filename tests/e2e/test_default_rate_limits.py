"""The default rate limits on a real server: many boards, scrambles and auctions behind one address are not refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from synckairos.config import Settings
from synckairos.store.rate_quotas import switch_rate
from tests.integration.rest_server import chess_body
from tests.processes import Process, spawn_server

V3 = Subprotocol("synckairos.v3")
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def server(module_settings: Settings) -> Iterator[Process]:
    default = {name: Settings.model_fields[name].default for name in ("rate_limit_general", "rate_limit_switch")}
    process = spawn_server(module_settings.model_copy(update=default))
    yield process
    process.stop()


@pytest.fixture
async def rest(server: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


async def start(rest: httpx.AsyncClient, body: dict[str, Any]) -> str:
    """Create and start a session. Return its path."""
    created = (await rest.post("/v1/sessions", json=body)).raise_for_status()
    path = f"/v1/sessions/{created.json()['data']['session_id']}"
    (await rest.post(f"{path}/start")).raise_for_status()
    return path


async def press(rest: httpx.AsyncClient, path: str, count: int) -> set[int]:
    """Send presses one after the other. Return the statuses of the answers."""
    return {(await rest.post(f"{path}/switch")).status_code for _ in range(count)}


async def test_twenty_boards_behind_one_address_are_not_refused(rest: httpx.AsyncClient) -> None:
    boards = [await start(rest, chess_body()) for _ in range(20)]
    assert await asyncio.gather(*(press(rest, path, 10) for path in boards)) == [{200}] * 20


GLOBAL = {"sync_mode": "global", "total_time_ms": 60_000, "participants": []}
COUNT_UP = {"sync_mode": "count_up", "participants": [{"participant_id": str(uuid4())} for _ in range(3)]}


@pytest.mark.parametrize("body", [GLOBAL, COUNT_UP], ids=["global", "count_up"])
async def test_forty_bids_at_once_are_not_refused(rest: httpx.AsyncClient, body: dict[str, Any]) -> None:
    auction = await start(rest, body)
    assert await asyncio.gather(*(press(rest, auction, 1) for _ in range(40))) == [{200}] * 40


PRESS_INTERVAL_S = 0.11
"""Seconds between two presses of a socket: the pace of a fast player."""

PRESSES = 27
"""Presses of each socket, for 3 s. Two sockets send more than one bucket of a session holds."""


async def press_by_socket(client: ClientConnection, session_id: str, name: str) -> set[str]:
    """Send presses at the pace of a fast player, and receive the answer of each. Return the types of the answers."""
    loop = asyncio.get_running_loop()
    began_at, types = loop.time(), set[str]()
    for number in range(PRESSES):
        # The pace is the input of this test, so it is the only wait for time.
        await asyncio.sleep(began_at + number * PRESS_INTERVAL_S - loop.time())
        command = {"type": "COMMAND", "id": f"{name}{number}", "session_id": session_id, "command": "switch"}
        await client.send(orjson.dumps(command).decode())
        async with asyncio.timeout(DEADLINE_S):
            types.add(orjson.loads(await client.recv())["type"])
    return types


async def test_two_sockets_that_press_fast_for_seconds_are_not_refused(
    server: Process, rest: httpx.AsyncClient
) -> None:
    assert switch_rate(Settings.model_fields["rate_limit_switch"].default).burst < 2 * PRESSES
    session_id = (await start(rest, chess_body())).rpartition("/")[2]
    async with AsyncExitStack() as stack:
        players = [
            await stack.enter_async_context(connect(server.ws_url, subprotocols=[V3], proxy=None)) for _ in range(2)
        ]
        answers = await asyncio.gather(
            *(press_by_socket(player, session_id, name) for player, name in zip(players, "ab", strict=True))
        )
    assert answers == [{"ACK"}] * 2
