"""A client that has lost its network: it acknowledges no TCP segments, like a phone without reception."""

import os
import subprocess
import sys

import orjson
import pytest

from synckairos.realtime.timings import DEFAULT_TIMINGS
from synckairos.server.uvicorn_server import USER_TIMEOUT_MS

SHORT_USER_TIMEOUT_MS = 3_000
"""TCP user timeout in milliseconds. Shorter than in production; all other values are those of production."""


def new_network_command() -> list[str]:
    """Return the command that runs another command in a new network namespace. Skip the test if that is not allowed."""
    command = ["unshare", "--net", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")), "--"]
    for needed in ("true", "ip rule"):
        tried = subprocess.run(["sh", "-c", f"{' '.join(command)} {needed}"], capture_output=True, text=True)
        if tried.returncode:
            pytest.skip(f"no network namespace, which needs root or user namespaces: {tried.stderr}")
    return command


@pytest.mark.slow
def test_client_without_network_is_cut_off_while_other_clients_get_updates() -> None:
    assert USER_TIMEOUT_MS < 30_000
    done = subprocess.run(
        [*new_network_command(), sys.executable, "-m", "tests.e2e.lost_network", str(SHORT_USER_TIMEOUT_MS)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    figures = orjson.loads(done.stdout)
    assert (
        figures["seconds"] < DEFAULT_TIMINGS.stuck_after_s
    )  # the kernel closed the connection: no unsent data shows the server that the client is stuck
    assert figures["updates"] > 1
