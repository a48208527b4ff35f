"""The units of systemd: systemd's own checks, and commands that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from synckairos.cli import main
from tests.unit.docs.pages import DOCUMENTS

UNITS = DOCUMENTS.parent / "deploy" / "systemd"
NAMES = ("synckairos-migrate.service", "synckairos-server@.service", "synckairos-worker.service")
PROGRAM = "/opt/synckairos/bin/synckairos"
MAX_EXPOSURE = 20
"""Maximum exposure in the assessment of systemd, in tenths: 0 is none, 100 is a service without any protection."""


def test_folder_has_exactly_these_units() -> None:
    assert sorted(path.name for path in UNITS.iterdir()) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_unit_runs_a_command_that_exists(name: str) -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", (UNITS / name).read_text(), re.MULTILINE)
    program, command, *arguments = line.replace("%i", "3000").split(" ")
    assert program == PROGRAM
    # The parser refuses unknown options and values. The context is not invoked.
    main.commands[command].make_context(command, arguments)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd")
@pytest.mark.parametrize("name", NAMES)
def test_systemd_accepts_the_unit_and_finds_it_protected(name: str, tmp_path: Path) -> None:
    unit = tmp_path / name.replace("@", "@3000")
    # systemd checks that the program exists.
    unit.write_text((UNITS / name).read_text().replace(PROGRAM, sys.executable))
    for check in (["verify"], ["security", "--offline=true", f"--threshold={MAX_EXPOSURE}"]):
        done = subprocess.run(["systemd-analyze", *check, unit], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Unknown key" not in done.stderr
