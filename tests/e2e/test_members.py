"""Members on two server processes: the commands of the guide, the command line, and a member removed while watching."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from synckairos.cli import main
from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.processes import Process
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS, code_blocks

GUIDE = DOCUMENTS / "guides" / "members.md"
PUT, CREATE, LIST_OWN, DELETE, LIST = code_blocks(GUIDE.read_text(), "bash")
(ANSWER,) = code_blocks(GUIDE.read_text(), "json")


@pytest.fixture
def servers(start_server: Callable[[Settings], Process], settings: Settings) -> list[Process]:
    with_auth = settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)})
    return [start_server(with_auth) for _ in range(2)]


def run_command(server: Process, command: str) -> Any:
    """Run a command of the guide against a server. Return its output as JSON, None without output."""
    environment = {
        "ADMIN_TOKEN": make_token(role="admin", sub="root"),
        "TEACHER_TOKEN": make_token(role="controller", sub="teacher", grants=[]),
        "ANNA_TOKEN": make_token(role="viewer", sub="anna", grants=[]),
        "PATH": "/usr/bin:/bin",
    }
    script = command.replace("127.0.0.1:3000", server.base_url.removeprefix("http://"))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, check=True, env=environment)
    return orjson.loads(done.stdout) if done.stdout else None


async def test_commands_of_the_guide_and_a_member_removed_while_watching(servers: list[Process]) -> None:
    assert run_command(servers[0], PUT) == orjson.loads(ANSWER)
    session = run_command(servers[0], CREATE)["data"]
    assert run_command(servers[1], LIST_OWN)["data"] == [session]
    sockets = [
        await connect(
            server.ws_url,
            subprotocols=[Subprotocol("synckairos.v3")],
            additional_headers=bearer(make_token(role="viewer", sub="anna", grants=[])),
            proxy=None,
        )
        for server in servers
    ]
    subscribe = orjson.dumps({"type": "SUBSCRIBE", "id": "s", "session_id": session["session_id"]}).decode()
    for socket in sockets:
        await socket.send(subscribe)
        while orjson.loads(await socket.recv())["type"] != "STATE_SYNC":
            pass
    assert run_command(servers[0], DELETE) is None
    for socket in sockets:
        async with asyncio.timeout(20):
            while (message := orjson.loads(await socket.recv()))["type"] != "UNSUBSCRIBED":
                pass
        assert (message["session_id"], message["code"]) == (session["session_id"], "FORBIDDEN")
        await socket.close()
    assert [each["subject"] for each in run_command(servers[1], LIST)["data"]] == ["ben", "teacher"]
    assert run_command(servers[1], LIST_OWN)["data"] == []


async def test_command_line_changes_members_and_explains_the_deciding_row(
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

    async def run(*args: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, args, env=environment)

    session = run_command(servers[0], CREATE.replace("$TEACHER_TOKEN", "$ADMIN_TOKEN"))["data"]
    rows = [{"subject": each, "resource": "label:class=7b", "role": "viewer"} for each in ("anna", "ben")]
    (tmp_path / "rows").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    assert (await run("members", "import", "rows")).exit_code == 0
    assert [each["session_id"] for each in run_command(servers[1], LIST_OWN)["data"]] == [session["session_id"]]
    assert (await run("members", "put", "anna", session["session_id"], "controller")).exit_code == 0
    listed = await run("members", "list", "--subject", "anna", "--json")
    assert [orjson.loads(each)["role"] for each in listed.stdout.splitlines()] == ["controller", "viewer"]
    token = make_token(role="controller", sub="anna", grants=[])
    explain = ("auth", "explain", "--token", token, "--session", session["session_id"], "--label", "class=7b")
    found = await run(*explain, "--command", "start")
    assert (
        f"the member row '{session['session_id']}' with the role controller gives the role controller" in found.stdout
    )
    assert (await run("members", "delete", "anna", session["session_id"])).exit_code == 0
    found = await run(*explain, "--command", "start")
    assert "the member row 'label:class=7b' with the role viewer gives the role viewer" in found.stdout
    assert (found.exit_code, found.stdout.splitlines()[-1].split()[1:4]) == (1, ["refused", "with", "403"])
    (tmp_path / "rows").write_bytes(orjson.dumps(rows[0]) + b'\n\n{"subject": "x"}\n')
    refused = await run("members", "import", "rows")
    assert refused.exit_code != 0
    assert "line 3" in refused.stderr
    assert (await run("members", "put", "anna", "label:class=7b", "admin")).exit_code != 0
    assert (await run("members", "list", "--tenant", "acme")).stderr.strip() == "no members"
