"""A client that stops acknowledging TCP, in a network of its own: `unshare --net python -m tests.e2e.unheard [MS]`.

Everything is on that network's loopback: a Valkey, a server, a watcher, and the client, at an address of its own, which
is cut off from sending. Says in a line of JSON how many seconds later the server let go of it, and how many updates the
watcher got meanwhile. MS shortens what the server asks of the kernel.
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
from synckairos.embedded import Valkey, make_data_dir
from synckairos.realtime.timings import RealtimeTimings
from synckairos.server.timings import ServerTimings
from synckairos.server.uvicorn_server import USER_TIMEOUT_MS
from tests.integration.realtime.instances import Instance, serving, take_until, watching
from tests.waiting import eventually

ADDRESS = "127.0.0.2"
NO_POSTGRES = "postgresql://127.0.0.1:1/nobody"
DEADLINE_S = 60
EVERY_S = 0.25


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


def cut_off() -> None:
    """Have nothing leave the client's address any more, acknowledgements neither; what is sent to it arrives."""
    ip("rule", "add", "pref", "1", "lookup", "local")
    ip("rule", "del", "pref", "0")
    ip("rule", "add", "pref", "0", "from", ADDRESS, "blackhole")


async def join(instance: Instance, session_id: str) -> socket.socket:
    """Connect a v2 client from that address and take what comes first."""
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


async def lose_one(settings: Settings, user_timeout_ms: int) -> dict[str, float]:
    async with serving(
        settings,
        realtime_timings=RealtimeTimings(),
        server_timings=ServerTimings(),
        user_timeout_ms=user_timeout_ms,
    ) as instance:
        session_id = await instance.create()
        async with watching(instance, session_id) as watcher:
            client = await join(instance, session_id)
            assert len(instance.hub.connections) == 2
            cut_off()
            began_s, updates = time.monotonic(), 0

            async def change() -> None:
                nonlocal updates
                while True:
                    version = (await instance.command(session_id, UpdateMetadata({"update": updates}))).snapshot.version
                    await take_until(watcher, version)
                    updates += 1
                    await asyncio.sleep(EVERY_S)

            async def is_lost() -> bool:
                return len(instance.hub.connections) == 1

            changing = asyncio.create_task(change())
            await eventually(is_lost, DEADLINE_S)
            seconds = time.monotonic() - began_s
            changing.cancel()
            with suppress(asyncio.CancelledError):
                await changing
            client.close()
            return {"seconds": round(seconds, 2), "updates": updates}


def main() -> None:
    user_timeout_ms = int(sys.argv[1]) if len(sys.argv) > 1 else USER_TIMEOUT_MS
    ip("link", "set", "lo", "up")
    data = make_data_dir()
    try:
        with Valkey(data / "valkey") as valkey:
            settings = Settings(port=0, redis_url=valkey.url, database_url=NO_POSTGRES, drain_timeout_s=1)
            print(orjson.dumps(asyncio.run(lose_one(settings, user_timeout_ms))).decode())
    finally:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
