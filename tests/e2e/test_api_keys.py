"""API keys on two server processes: the commands of the guide, requests, sockets, and the end of a key."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from synckairos.cli import main
from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.integration.rest_server import chess_body
from tests.processes import Process
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS, code_blocks
from tests.waiting import eventually

GUIDE = DOCUMENTS / "guides" / "api-keys.md"
MAKE, DESCRIBE, ROTATE, DELETE = code_blocks(GUIDE.read_text(), "bash")


@pytest.fixture
def servers(start_server: Callable[[Settings], Process], settings: Settings) -> list[Process]:
    with_auth = settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)})
    return [start_server(with_auth) for _ in range(2)]


def run_command(server: Process, command: str, **variables: str) -> Any:
    """Run a command of the guide against a server. Return its output as JSON, None without output."""
    environment = {"ADMIN_TOKEN": make_token(role="admin"), "PATH": "/usr/bin:/bin", **variables}
    script = command.replace("127.0.0.1:3000", server.base_url.removeprefix("http://"))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, check=True, env=environment)
    return orjson.loads(done.stdout) if done.stdout else None


async def test_commands_of_the_guide_and_sockets_of_both_instances(servers: list[Process]) -> None:
    made = run_command(servers[0], MAKE)["data"]
    key_id, old = made["key_id"], made["key"]
    described = run_command(servers[1], DESCRIBE, KEY=old)["data"]
    assert (described["kind"], described["subject"], described["role"]) == ("key", key_id, "controller")
    assert described["expires_in_ms"] is None
    rotated = run_command(servers[0], ROTATE, KEY_ID=key_id)["data"]
    assert rotated["key_id"] == key_id
    sockets = [
        await connect(
            server.ws_url, subprotocols=[Subprotocol("synckairos.v3")], additional_headers=bearer(key), proxy=None
        )
        for server, key in zip(servers, (old, rotated["key"]), strict=True)
    ]
    for socket in sockets:
        first = orjson.loads(await socket.recv())
        assert (first["type"], first["expires_in_ms"]) == ("AUTHENTICATED", 2_000_000_000)
    assert run_command(servers[1], DELETE, KEY_ID=key_id) is None
    for socket in sockets:
        async with asyncio.timeout(20):
            await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (4501, "revoked")
    async with httpx.AsyncClient(trust_env=False) as client:
        for server in servers:
            for key in (old, rotated["key"]):
                assert (await client.get(f"{server.base_url}/v1/me", headers=bearer(key))).status_code == 401


async def test_key_of_the_command_line_plays_a_session(
    servers: list[Process], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        "REDIS_URL": settings.redis_url,
        "DATABASE_URL": settings.database_url,
        "SYNCKAIROS_KEY_PREFIX": settings.key_prefix,
        "SYNCKAIROS_AUTH": "required",
        "JWT_SECRET": SECRET,
    }

    async def run(*arguments: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["keys", *arguments], env=environment)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    key = await run("create", "--role", "admin", "--label", "backend")
    async with httpx.AsyncClient(trust_env=False, headers=bearer(key), base_url=servers[0].base_url) as client:
        made = (await client.post("/v1/sessions", json=chess_body())).json()["data"]
        started = await client.post(f"/v1/sessions/{made['session_id']}/start")
        assert started.json()["data"]["status"] == "running"
        key_id = key.split("_")[1]
        (listed,) = (await run("list")).splitlines()
        assert listed.startswith(f"{key_id}  admin  made ")
        assert listed.endswith("  backend")
        assert orjson.loads(await run("list", "--json"))["key_id"] == key_id
        new = await run("rotate", key_id)
        assert new.split("_")[1] == key_id
        assert (await client.get("/v1/me", headers=bearer(new))).json()["data"]["subject"] == key_id
        assert await run("revoke", key_id) == f"the key {key_id} is revoked"

        async def is_refused() -> bool:
            return (await client.get("/v1/me")).status_code == 401

        await eventually(is_refused)  # the announcement of the command arrives through Redis
    failed = await asyncio.to_thread(CliRunner().invoke, main, ["keys", "delete", "000000000000"], env=environment)
    assert failed.exit_code != 0
    assert "There is no key with this id" in failed.output
