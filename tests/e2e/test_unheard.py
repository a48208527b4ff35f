"""A client that stops acknowledging TCP altogether, as one whose phone lost its network does."""

import os
import subprocess
import sys

import orjson
import pytest

from synckairos.realtime.timings import DEFAULT_TIMINGS
from synckairos.server.uvicorn_server import USER_TIMEOUT_MS

SHORT_MS = 3_000
"""What the server asks of the kernel here, for a test that waits less; the rest is as in production."""


def own_network() -> list[str]:
    """Return the command that runs another in a network of its own, where this system lets anybody have one."""
    command = ["unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--"]
    for needed in ("true", "ip rule"):
        tried = subprocess.run(["sh", "-c", f"{' '.join(command)} {needed}"], capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"No network of its own to be had here, which takes root or user namespaces: {tried.stderr}")
    return command


@pytest.mark.slow
def test_it_is_cut_while_others_go_on() -> None:
    assert USER_TIMEOUT_MS < 30_000
    ran = subprocess.run(
        [*own_network(), sys.executable, "-m", "tests.e2e.unheard", str(SHORT_MS)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    told = orjson.loads(ran.stdout)
    assert (
        told["seconds"] < DEFAULT_TIMINGS.stuck_after_s
    )  # the kernel cut it: nothing is queued that would show the client stuck
    assert told["updates"] > 1
