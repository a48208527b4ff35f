"""The examples of the guide to tenants, executed by a shell on a real server."""

import asyncio
import os
import re
import sys
from pathlib import Path

from pydantic import SecretStr

from synckairos.config import Settings
from tests.processes import spawn_server
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS

GUIDE = (DOCUMENTS / "guides" / "tenants.md").read_text()
PROGRAMS = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)


async def test_examples_of_the_guide_print_what_it_says(settings: Settings, tmp_path: Path) -> None:
    assert len(PROGRAMS) == 5
    guarded = settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)})
    command = tmp_path / "synckairos"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m synckairos "$@"\n')
    command.chmod(0o755)
    server = await asyncio.to_thread(spawn_server, guarded)
    try:
        script = "\n".join(PROGRAMS).replace("http://127.0.0.1:3000", server.base_url)
        environment = {**os.environ, **guarded.to_environment_variables(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await shell.communicate())[0].decode()
    finally:
        await asyncio.to_thread(server.stop)
    assert shell.returncode == 0, output
    lines = output.splitlines()
    assert '"tenant":"acme"' in lines[0]
    assert lines[1:3] == [
        "north  active  sockets=500  North school",
        "north  active  sockets=800  North school",
    ]
    found = {name: [line for line in lines if name in line] for name in ('"tenant":"south"', "TENANT_SUSPENDED")}
    assert len(found['"tenant":"south"']) == 4, output
    assert all('"live_sessions":1000' in line for line in found['"tenant":"south"'])
    assert '"requests_per_min":12000' in found['"tenant":"south"'][2]
    assert '"origins":["https://south.example"]' in found['"tenant":"south"'][2]
    assert '"status":"deleting"' in found['"tenant":"south"'][3]
    assert len(found["TENANT_SUSPENDED"]) == 1, output
    assert lines[-4:-1] == ["north  active  sockets=800  North school", "west  active", "west  deleting"]
