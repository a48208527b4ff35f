"""Clients of load tests that switch their sessions regularly, by REST and by WebSocket, and their latencies."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect

from loadtests.attacks import V3
from loadtests.http_client import HttpConnection
from tests.processes import Process


class RestPlayer:
    """A client that switches its session by REST."""

    def __init__(self, connection: HttpConnection, session_id: str) -> None:
        self._connection = connection
        self._path = f"/v1/sessions/{session_id}/switch"

    async def switch(self) -> bool:
        """Switch; return whether the server accepted the switch."""
        status, _ = await self._connection.post(self._path)
        return status == 200


class SocketPlayer:
    """A client that switches its session by WebSocket and watches it."""

    def __init__(self, socket: ClientConnection, session_id: str) -> None:
        self._socket = socket
        self._session_id = session_id
        self._commands = 0

    async def switch(self) -> bool:
        """Switch; return whether the server accepted the switch."""
        self._commands += 1
        command_id = f"press-{self._commands}"
        command = {"type": "COMMAND", "id": command_id, "session_id": self._session_id, "command": "switch", "args": {}}
        await self._socket.send(orjson.dumps(command).decode())
        while (answer := orjson.loads(await self._socket.recv())).get("reply_to") != command_id:
            pass
        accepted: bool = answer["type"] == "ACK"
        return accepted


class Presses:
    """Switches of all clients in one kind of phase: latencies of accepted switches, and number of refused switches."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.refused = 0


async def press(player: RestPlayer | SocketPlayer, seconds: float, presses: Presses) -> None:
    """Switch once a second, at a random offset, for `seconds` seconds."""
    began = time.perf_counter()
    due = began + random.random()
    while due < began + seconds:
        await asyncio.sleep(due - time.perf_counter())
        sent = time.perf_counter()
        if await player.switch():
            presses.latencies_ms.append((time.perf_counter() - sent) * 1000)
        else:
            presses.refused += 1
        due = max(due + 1, time.perf_counter())


async def measure(players: list[RestPlayer | SocketPlayer], seconds: float, presses: Presses) -> None:
    """Let all players switch once a second for `seconds` seconds."""
    async with asyncio.timeout(seconds + 120):
        await asyncio.gather(*(press(player, seconds, presses) for player in players))


@asynccontextmanager
async def open_players(
    server: Process, session_ids: list[str], token: str | None = None
) -> AsyncIterator[list[RestPlayer | SocketPlayer]]:
    """Connect one client for each session. Each client has a separate address. All have `token`, if it is not None."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    address = urlsplit(server.base_url)
    async with AsyncExitStack() as stack:
        players: list[RestPlayer | SocketPlayer] = []
        for number, session_id in enumerate(session_ids):
            local_address = (f"127.0.1.{number + 1}", 0)
            if number % 2:
                socket = await stack.enter_async_context(
                    connect(
                        server.ws_url,
                        subprotocols=[V3],
                        local_addr=local_address,
                        ping_timeout=None,
                        additional_headers=headers,
                    )
                )
                players.append(SocketPlayer(socket, session_id))
            else:
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: HttpConnection(address.netloc, token),
                    address.hostname or "",
                    address.port or 80,
                    local_addr=local_address,
                )
                stack.callback(connection.close)
                players.append(RestPlayer(connection, session_id))
        yield players
