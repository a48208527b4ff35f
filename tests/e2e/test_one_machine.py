"""The commands of the pages about one machine and about security, run as written with stores of the test.

Replaced are the addresses, the folder of the settings and the names of the user and its group. The commands that change
the whole machine, such as those of packages and services, are not run.
"""

import grp
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import orjson
import psycopg
import pytest

from synckairos.embedded import Postgres, Valkey, postgres_home
from tests.ports import free_port
from tests.processes import Process
from tests.unit.docs.pages import DOCUMENTS, code_blocks

pytestmark = pytest.mark.slow


EXCHANGE = re.compile(r"^```bash\n(.*?)^```\n\n```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Commands on a page, and what they print."""


def read_page(name: str) -> str:
    """Return a page without the indentation of the code blocks of steps."""
    lines = (DOCUMENTS / "operate" / name).read_text().splitlines()
    return "\n".join(line.removeprefix("   ") for line in lines) + "\n"


class Machine:
    """The settings folder, the stores and the shell of one machine."""

    def __init__(self, folder: Path, postgres: Postgres, valkey: Valkey) -> None:
        self._folder = folder
        self._socket_folder = postgres.data_dir / "run"
        self._valkey = valkey
        self.port = free_port()

    @property
    def variables(self) -> dict[str, str]:
        """The variables in the file that the page makes."""
        lines = (self._folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def run(self, commands: str, *, user: str = "synckairos") -> str:
        """Run commands of the page as a user of Postgres. Return what they printed."""
        replaced = {
            "sudo -u postgres ": "",
            "-g synckairos": f"-g {grp.getgrgid(os.getgid()).gr_name}",
            "chgrp synckairos": f"chgrp {grp.getgrgid(os.getgid()).gr_name}",
            "/etc/synckairos": str(self._folder),
            "/var/lib/synckairos": str(self._folder / "state"),
            "/var/run/postgresql": str(self._socket_folder),
            "redis://127.0.0.1:6379/0": self._valkey.url,
            "127.0.0.1:3000": f"127.0.0.1:{self.port}",
            "/opt/synckairos/bin": str(self._folder / "bin"),
        }
        for before, after in replaced.items():
            commands = commands.replace(before, after)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env={
                "PATH": f"{postgres_home() / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": os.environ["PYTHONPATH"],
                "PGHOST": str(self._socket_folder),
                "PGUSER": user,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def machine(data_dir: Path, tmp_path: Path) -> Iterator[Machine]:
    """Start the stores as their packages would: Postgres without a database of the product."""
    program = tmp_path / "bin" / "synckairos"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m synckairos "$@"\n')
    program.chmod(0o755)
    folder = data_dir / f"machine-{uuid4().hex[:8]}"
    with Postgres(folder, durable=False) as postgres, Valkey(tmp_path / "valkey") as valkey:
        with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as database:
            database.execute("DROP DATABASE synckairos")
        yield Machine(tmp_path, postgres, valkey)


def test_commands_lead_to_an_installation_that_passes_the_security_checklist(machine: Machine) -> None:
    settings, checks, first_token = code_blocks(read_page("one-machine.md"), "bash")
    machine.run(settings, user="postgres")
    printed = machine.run(checks)
    assert "BAD" not in printed
    assert "tenants: row-level security separates them" in printed

    shell = "\n".join(checks.splitlines()[:2]) + "\n"
    server = Process("serve", "--port", str(machine.port), env=machine.variables | {"PGUSER": "synckairos"})
    try:
        server.wait_ready()
        ready, me = machine.run(shell + first_token).replace("}{", "}\n{").splitlines()
        assert orjson.loads(ready) == {"status": "ready"}
        assert orjson.loads(me)["data"]["subject"] == "me"

        exchanges = EXCHANGE.findall(checklist := read_page("security.md"))
        assert len(exchanges) == len(code_blocks(checklist, "bash")) == 3
        for commands, expected in exchanges:
            assert machine.run(shell + commands) == expected
    finally:
        server.stop()
