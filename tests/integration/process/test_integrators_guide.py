"""The backends of the guide for integrators: each mints tokens that a real server accepts, and only for its users.

Python and Node are needed by other tests too, so these backends always run. The backend in Go runs where Go is
installed, which `.ci/tools` does not do.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.ports import free_port
from tests.processes import Process, spawn_server
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS, code_blocks
from tests.waiting import eventually

GUIDE = (DOCUMENTS / "guides" / "integrators.md").read_text()

COMMANDS = {
    "python": ("py", [sys.executable]),
    "js": ("cjs", ["node"]),
    "go": ("go", ["go", "run"]),
}
"""The ending of the file and the command of each language of the guide."""

LANGUAGES = ["python", "js", *(["go"] if shutil.which("go") else [])]


@pytest.fixture(scope="module")
def server(module_settings: Settings) -> Iterator[Process]:
    process = spawn_server(module_settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)}))
    yield process
    process.stop()


def test_guide_has_one_program_in_each_language() -> None:
    assert {language: len(code_blocks(GUIDE, language)) for language in COMMANDS} == dict.fromkeys(COMMANDS, 1)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_backend_gives_its_users_tokens_that_reach_their_sessions(
    language: str, server: Process, tmp_path: Path
) -> None:
    ending, command = COMMANDS[language]
    (program,) = code_blocks(GUIDE, language)
    file = tmp_path / f"backend.{ending}"
    file.write_text(program)
    port = free_port()
    environment = os.environ | {"JWT_SECRET": SECRET, "PORT": str(port), "GOCACHE": str(tmp_path), "GO111MODULE": "off"}
    backend = await asyncio.create_subprocess_exec(*command, str(file), env=environment, start_new_session=True)
    try:
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as at_backend,
            httpx.AsyncClient(base_url=server.base_url, trust_env=False) as at_server,
        ):

            async def ask(cookie: str) -> httpx.Response | None:
                try:
                    return await at_backend.get("/clock-token", headers={"Cookie": cookie})
                except httpx.ConnectError:
                    return None

            answer = await eventually(lambda: ask("theme=dark; session=cookie-of-ada"), 60)
            assert answer is not None
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            for cookie in ("session=cookie-of-eve", "theme=dark"):
                refused = await ask(cookie)
                assert refused is not None
                assert refused.status_code == 401

            token = bearer(answer.json()["token"])
            me = (await at_server.get("/v1/me", headers=token)).raise_for_status().json()["data"]
            assert (me["subject"], me["role"]) == ("ada", "participant")
            assert 0 < me["expires_in_ms"] <= 600_000
            statuses = []
            for label in ("7b", "8a"):
                session_id = await _create_session(at_server, label)
                statuses.append((await at_server.get(f"/v1/sessions/{session_id}", headers=token)).status_code)
            assert statuses == [200, 404]
    finally:
        os.killpg(backend.pid, 9)  # `go run` starts the program as a child
        await backend.wait()


async def _create_session(client: httpx.AsyncClient, class_name: str) -> str:
    body = {"sync_mode": "global", "total_time_ms": 60_000, "labels": {"class": class_name}}
    answer = await client.post("/v1/sessions", json=body, headers=bearer(make_token(role="admin")))
    session_id: str = answer.raise_for_status().json()["data"]["session_id"]
    return session_id
