"""A child ends when it is told to, and also when its parent is killed without a word."""

import signal
import subprocess
import sys

import pytest

from synckairos.embedded.child_process import ChildProcess
from tests.processes import is_running

# Says who its child is, then is killed by the test.
PARENT = """
import subprocess, sys
from synckairos.embedded.child_process import ChildProcess
child = ChildProcess([sys.executable, "-c", {code!r}], stdout=subprocess.PIPE)
child.process.stdout.readline()
print(child.pid, flush=True)
child.process.wait()
"""
DEAF = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
MEEK = "import signal; print(flush=True); signal.pause()"


def test_it_is_asked_first() -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
    )
    child = ChildProcess([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.process.stdout is not None
    child.process.stdout.readline()
    assert child.returncode is None
    assert child.stop() == 7
    assert child.stop() == 7


def test_it_is_made_to_if_it_does_not_listen() -> None:
    child = ChildProcess([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
    assert child.process.stdout is not None
    child.process.stdout.readline()
    assert child.stop(timeout_s=0.1) == -signal.SIGKILL


def test_a_frozen_one_is_thawed_to_end() -> None:
    child = ChildProcess(["/bin/sleep", "60"])
    child.process.send_signal(signal.SIGSTOP)
    assert child.stop() == -signal.SIGTERM


def test_what_ended_by_itself_keeps_its_code() -> None:
    child = ChildProcess(["/bin/sh", "-c", "exit 3"])
    assert child.process.wait() == 3
    assert child.stop() == 3


@pytest.mark.parametrize("code", [MEEK, pytest.param(DEAF, marks=pytest.mark.slow)])
def test_a_killed_parent_takes_it_along(code: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT.format(code=code)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        # The pipe closes when the last who holds it is gone; the child doesn't hold it, so its end is asked for.
        parent.wait()
    _wait_for_end(pid)


def _wait_for_end(pid: int) -> None:
    # A stranger's process can't be waited for; tail can, and ends with it.
    subprocess.run(["tail", f"--pid={pid}", "-s", "0.05", "-f", "/dev/null"], timeout=30, check=True)
    assert not is_running(pid)
