"""Room for sockets: the soft limit of open files is raised as far as it may be, and no further is promised."""

import subprocess
import sys

import pytest

ASK = """
import resource, sys
from synckairos.server.uvicorn_server import raise_open_file_limit
soft, hard, sockets = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_open_file_limit(sockets), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "sockets", "room", "soft_then"),
    [(256, 4_000, 2_000, 2_000, 2_256), (256, 1_000, 2_000, 744, 1_000), (3_000, 4_000, 2_000, 2_000, 3_000)],
    ids=["raised", "as far as it may be", "enough"],
)
def test_files_are_made_room_for(soft: int, hard: int, sockets: int, room: int, soft_then: int) -> None:
    asked = [sys.executable, "-c", ASK, *map(str, (soft, hard, sockets))]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-1] == f"{room} {soft_then} {hard}"
