"""Limit of open files: the soft limit is raised, at most to the hard limit, and limits the number of sockets."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from synckairos.server.uvicorn_server import raise_open_file_limit
soft, hard, sockets = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_open_file_limit(sockets), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "sockets", "permitted", "soft_after"),
    [(256, 4_000, 2_000, 2_000, 2_256), (256, 1_000, 2_000, 744, 1_000), (3_000, 4_000, 2_000, 2_000, 3_000)],
    ids=["raised", "raised to the hard limit", "high enough"],
)
def test_soft_limit_of_open_files_is_raised_for_the_sockets(
    soft: int, hard: int, sockets: int, permitted: int, soft_after: int
) -> None:
    command = [sys.executable, "-c", SCRIPT, *map(str, (soft, hard, sockets))]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.splitlines()[-1] == f"{permitted} {soft_after} {hard}"
