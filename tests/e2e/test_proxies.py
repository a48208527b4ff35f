"""nginx, Caddy and HAProxy in front of an instance, each with its recipe in `deploy/`: only addresses are replaced."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect

from synckairos.config import Settings
from synckairos.embedded.guarded_child import ChildProcess
from tests.integration.realtime.v3_client import V3
from tests.integration.rest_server import chess_body
from tests.processes import Process
from tests.waiting import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"


@dataclass(frozen=True, slots=True)
class Proxy:
    """How a proxy is started with its recipe. `wrap` makes a whole configuration of the recipe."""

    recipe: str
    listen: str
    command: tuple[str, ...]
    wrap: str = "{recipe}"


PROXIES = {
    "nginx": Proxy(
        "nginx/synckairos.conf",
        "listen 80;",
        ("nginx", "-e", "stderr", "-p", "{folder}", "-c", "{config}"),
        "daemon off; pid nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off; client_body_temp_path body;"
        " proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n{recipe}\n}}\n",
    ),
    "caddy": Proxy("caddy/Caddyfile", ":80 {", ("caddy", "run", "--adapter", "caddyfile", "--config", "{config}")),
    "haproxy": Proxy("haproxy/haproxy.cfg", "bind :80", ("haproxy", "-db", "-f", "{config}")),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def proxied(name: str, target: str, folder: Path) -> AsyncIterator[str]:
    """Run a proxy in front of the server at `target`. Yields its URL without the scheme."""
    proxy, port = PROXIES[name], free_port()
    recipe = (DEPLOY / proxy.recipe).read_text()
    assert proxy.listen in recipe
    recipe = recipe.replace(proxy.listen, proxy.listen.replace(":80", f"127.0.0.1:{port}").replace(" 80", f" {port}"))
    recipe = recipe.replace("127.0.0.1:3000", urlsplit(target).netloc).replace("localhost:2019", f"[::1]:{free_port()}")
    if name == "caddy":
        recipe = recipe.replace(f"127.0.0.1:{port} {{", f"http://127.0.0.1:{port} {{")
    config = folder / "proxy.conf"
    config.write_text(proxy.wrap.format(recipe=recipe) if "{{" in proxy.wrap else recipe)
    program = shutil.which(proxy.command[0]) or shutil.which(proxy.command[0], path="/usr/sbin")
    assert program is not None, f"{name} is missing: `make tools` installs it"
    arguments = [each.format(folder=folder, config=config) for each in proxy.command[1:]]
    child = ChildProcess([program, *arguments], env={**os.environ, "HOME": str(folder)}, cwd=folder)
    try:
        async with httpx.AsyncClient() as client:

            async def is_up() -> bool:
                assert child.process.poll() is None, f"{name} ended"
                try:
                    return (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_up)
        yield f"127.0.0.1:{port}"
    finally:
        await asyncio.to_thread(child.stop)


@pytest.mark.parametrize("name", PROXIES)
async def test_proxy_passes_sockets_live_tails_and_client_addresses(
    name: str, start_server: Callable[[Settings], Process], settings: Settings, tmp_path: Path
) -> None:
    limited = settings.model_copy(update={"rate_limit_general": 12, "trusted_proxies": ["127.0.0.1"]})
    server = await asyncio.to_thread(start_server, limited)
    async with (
        proxied(name, server.base_url, tmp_path) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=10) as client,
    ):
        created = await client.post("/v1/sessions", json=chess_body())
        assert created.status_code == 201, created.text
        session_id = created.json()["data"]["session_id"]
        path = f"/v1/sessions/{session_id}"
        async with (
            connect(f"ws://{address}/ws?sessionId={session_id}", proxy=None) as v2,
            connect(f"ws://{address}/ws", subprotocols=[V3], proxy=None) as v3,
            client.stream("GET", f"{path}/events", headers={"accept": "text/event-stream"}) as tail,
            asyncio.timeout(10),
        ):
            lines = tail.aiter_lines()
            assert [orjson.loads(await v2.recv())["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
            await v3.send(orjson.dumps({"type": "SUBSCRIBE", "session_id": session_id}).decode())
            assert orjson.loads(await v3.recv())["type"] == "STATE_SYNC"
            while "session_created" not in await anext(lines):
                pass
            # The proxy has delivered all earlier bytes. The next event must come at once, through its buffers.
            assert (await client.post(f"{path}/start")).status_code == 200
            while "session_started" not in await anext(lines):
                pass
            assert orjson.loads(await v2.recv())["state"]["version"] == 2

        # Each client is limited by its own address. What it claims in the headers that proxies set does not count.
        forged = [{"X-Forwarded-For": f"203.0.113.{at}", "Forwarded": f"for=203.0.113.{at}"} for at in range(20)]
        assert 429 in [(await get_from("127.0.0.2", client.base_url.join(path), each)) for each in forged]
        assert await get_from("127.0.0.3", client.base_url.join(path), {}) == 200


async def get_from(source: str, url: httpx.URL, headers: dict[str, str]) -> int:
    """Send a GET from a local address; return the status."""
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=source)) as client:
        return (await client.get(url, headers=headers)).status_code
