"""Signing keys on two server processes: the command of the guide, tokens of the key, and the end of its sockets."""

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.processes import Process
from tests.tokens import SECRET, claims_at, signing_key
from tests.unit.docs.pages import DOCUMENTS, code_blocks
from tests.waiting import eventually

GUIDE = DOCUMENTS / "guides" / "authentication.md"
KEY = signing_key("ES256", "2026-11")


def add_by_command_of_guide(server: Process, folder: Path) -> str:
    """Run the command of the guide that adds the key in `public.pem`. Return the id of the signing key."""
    (folder / "public.pem").write_text(KEY.pem)
    (command,) = code_blocks(GUIDE.read_text(), "bash")
    script = command.replace("127.0.0.1:3000", server.base_url.removeprefix("http://"))
    environment = {"ADMIN_TOKEN": make_token(role="admin"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, check=True, cwd=folder, env=environment
    )
    made = orjson.loads(done.stdout)["data"]
    assert (made["kid"], made["algorithm"], made["pem"]) == ("2026-11", "ES256", KEY.pem)
    signing_key_id: str = made["signing_key_id"]
    return signing_key_id


async def test_key_works_on_each_instance_until_its_removal_closes_the_sockets(
    start_server: Callable[[Settings], Process], settings: Settings, tmp_path: Path
) -> None:
    with_auth = settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)})
    servers = [start_server(with_auth) for _ in range(2)]
    signing_key_id = add_by_command_of_guide(servers[0], tmp_path)
    token = KEY.sign(claims_at(time.time_ns() // 1_000_000, role="admin"))
    async with httpx.AsyncClient(trust_env=False) as client:

        async def is_accepted_everywhere() -> bool:
            answers = [await client.get(f"{each.base_url}/v1/me", headers=bearer(token)) for each in servers]
            return all(each.is_success for each in answers)

        await eventually(is_accepted_everywhere)
        opened = [
            await connect(
                each.ws_url, subprotocols=[Subprotocol("synckairos.v3")], additional_headers=bearer(token), proxy=None
            )
            for each in servers
        ]
        removed = await client.delete(
            f"{servers[0].base_url}/v1/signing-keys/{signing_key_id}", headers=bearer(make_token(role="admin"))
        )
        assert removed.status_code == 204
        for socket in opened:
            async with asyncio.timeout(20):
                await socket.wait_closed()
            assert (socket.close_code, socket.close_reason) == (4501, "revoked")
        for each in servers:
            assert (await client.get(f"{each.base_url}/v1/me", headers=bearer(token))).status_code == 401
