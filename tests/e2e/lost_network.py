"""A client that stops to acknowledge TCP segments, in a new network namespace.

Start: unshare --net python -m tests.e2e.lost_network [MS]

All processes use the loopback of this namespace: a Valkey, a server, a watcher, and a client at a separate address. The
client's packets are then blocked. The script prints one line of JSON: the seconds until the server disconnected the
client, and the number of updates that the watcher received in this time. MS is the TCP user timeout of the server in
milliseconds.
"""

import asyncio
import base64
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress

import orjson

from synckairos.clock.commands import UpdateMetadata
from synckairos.config import Settings
from synckairos.embedded import Valkey, create_temporary_dir
from synckairos.realtime.timings import RealtimeTimeLimits
from synckairos.server.timings import ServerTimeLimits
from synckairos.server.uvicorn_server import USER_TIMEOUT_MS
from synckairos.telemetry import log
from tests.integration.realtime.instances import Instance, receive_until, serving, watching
from tests.waiting import eventually

ADDRESS = "127.0.0.2"
NO_POSTGRES = "postgresql://127.0.0.1:1/unused"
DEADLINE_S = 60
UPDATE_INTERVAL_S = 0.25


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


def block_client() -> None:
    """Block all packets from the client's address, including acknowledgements. Packets to the client still arrive."""
    ip("rule", "add", "pref", "1", "lookup", "local")
    ip("rule", "del", "pref", "0")
    ip("rule", "add", "pref", "0", "from", ADDRESS, "blackhole")


async def connect_client(instance: Instance, session_id: str) -> socket.socket:
    """Connect a v2 client from its separate address, and read until its first state."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    client.bind((ADDRESS, 0))
    await loop.sock_connect(client, ("127.0.0.1", instance.server.port))
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /ws?sessionId={session_id} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    )
    await loop.sock_sendall(client, f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    received = b""
    while b'"STATE_SYNC"' not in received:
        received += await loop.sock_recv(client, 65_536)
    return client


async def lose_network(settings: Settings, user_timeout_ms: int) -> dict[str, float]:
    async with serving(
        settings,
        realtime_timings=RealtimeTimeLimits(),
        server_timings=ServerTimeLimits(),
        user_timeout_ms=user_timeout_ms,
    ) as instance:
        session_id = await instance.create()
        async with watching(instance, session_id) as watcher:
            client = await connect_client(instance, session_id)
            assert len(instance.hub.connections) == 2
            block_client()
            began_s, updates = time.monotonic(), 0

            async def change() -> None:
                nonlocal updates
                while True:
                    version = (await instance.command(session_id, UpdateMetadata({"update": updates}))).snapshot.version
                    await receive_until(watcher, version)
                    updates += 1
                    await asyncio.sleep(UPDATE_INTERVAL_S)

            async def is_dropped() -> bool:
                return len(instance.hub.connections) == 1

            changing = asyncio.create_task(change())
            await eventually(is_dropped, DEADLINE_S)
            seconds = time.monotonic() - began_s
            changing.cancel()
            with suppress(asyncio.CancelledError):
                await changing
            client.close()
            return {"seconds": round(seconds, 2), "updates": updates}


def main() -> None:
    user_timeout_ms = int(sys.argv[1]) if len(sys.argv) > 1 else USER_TIMEOUT_MS
    ip("link", "set", "lo", "up")
    data = create_temporary_dir()
    log.configure_logging("info")  # to stderr, because the standard output has only the figures
    try:
        with Valkey(data / "valkey") as valkey:
            settings = Settings(port=0, redis_url=valkey.url, database_url=NO_POSTGRES, drain_timeout_s=1)
            print(orjson.dumps(asyncio.run(lose_network(settings, user_timeout_ms))).decode())
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
