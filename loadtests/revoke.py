"""Load test of revocations: the time from a revocation until the last of many open sockets on two instances is closed.

All sockets have tokens of one group, and the revocation names the group. A socket counts as closed when its client has
the close frame with the code 4501. The clients and both servers share this machine. `ratio` is the goal of one second
divided by the time, so a value of 1 or more meets the goal.
"""

import argparse
import asyncio
import base64
import os
import time
from contextlib import AsyncExitStack
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import jwt
import uvloop
from pydantic import SecretStr

from loadtests.compared_servers import run_server
from loadtests.report import print_result
from loadtests.stores import valkey_and_postgres

GOAL_S = 1.0
PARALLEL_CONNECTS = 64
SECRET = "s" * 32
LEGEND = {
    "took_s": "seconds from the request of the revocation until the last of all sockets is closed with 4501",
    "answered_s": "seconds until the answer to the request",
    "ratio": "goal of one second / took_s",
}


class RevokedClient(asyncio.Protocol):
    """A client that waits for its close frame. `closed_with` is the close code and the instant of its arrival."""

    def __init__(self, url: str, token: str) -> None:
        loop = asyncio.get_running_loop()
        self.is_open: asyncio.Future[None] = loop.create_future()
        self.closed_with: asyncio.Future[tuple[int, float]] = loop.create_future()
        self._url = urlsplit(url)
        self._token = token

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        cast(asyncio.Transport, transport).write(
            f"GET /ws HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Authorization: Bearer {self._token}\r\nSec-WebSocket-Protocol: synckairos.v3\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self.is_open.done():
            if b"AUTHENTICATED" in data:
                self.is_open.set_result(None)
        elif data[:1] == b"\x88" and not self.closed_with.done():
            self.closed_with.set_result((int.from_bytes(data[2:4], "big"), time.perf_counter()))


def make_token(role: str, **claims: Any) -> str:
    now_s = int(time.time())
    given = {"sub": "load", "aud": "synckairos", "iat": now_s, "exp": now_s + 3_600, "role": role}
    return jwt.encode(given | claims, SECRET, algorithm="HS256")


async def connect_clients(url: str, count: int) -> list[RevokedClient]:
    """Open `count` sockets with one token, and return their clients."""
    token, slots, target = make_token("viewer", grp="load"), asyncio.Semaphore(PARALLEL_CONNECTS), urlsplit(url)

    async def connect() -> RevokedClient:
        async with slots:
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: RevokedClient(url, token), target.hostname or "", target.port or 0
            )
            await client.is_open
            return client

    return await asyncio.gather(*(connect() for _ in range(count)))


async def run(sockets: int) -> dict[str, Any]:
    """Open half of the sockets on each of two instances, revoke their group, and measure."""
    async with AsyncExitStack() as stack:
        settings, _ = await stack.enter_async_context(valkey_and_postgres(durable=False))
        settings = settings.model_copy(
            update={"auth": "required", "jwt_secret": SecretStr(SECRET), "ws_max_connections": sockets + 100}
            | {"ws_max_connections_per_address": sockets + 100}
        )
        servers = [await stack.enter_async_context(run_server(settings)) for _ in range(2)]
        clients = [each for server in servers for each in await connect_clients(server.ws_url, sockets // 2)]
        headers = {"authorization": f"Bearer {make_token('admin', sub='root')}"}
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=servers[0].base_url, headers=headers, timeout=60)
        )
        began = time.perf_counter()
        answer = await http.post("/v1/revocations", json={"grp": "load"})
        answered = time.perf_counter()
        answer.raise_for_status()
        async with asyncio.timeout(60):
            closed = await asyncio.gather(*(each.closed_with for each in clients))
        codes = {code for code, _ in closed}
        assert codes == {4501}, codes
        took_s = max(at for _, at in closed) - began
        return {
            "sockets": len(clients),
            "instances": len(servers),
            "took_s": round(took_s, 3),
            "answered_s": round(answered - began, 3),
            "ratio": round(GOAL_S / took_s, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests revoke", description=__doc__)
    parser.add_argument("--sockets", type=int, default=10_000)
    options = parser.parse_args()
    print_result("revoke", {"legend": LEGEND, **uvloop.run(run(options.sockets))})
