"""A child process ends when it is stopped, and also when its parent process is killed."""

import signal
import subprocess
import sys

import pytest

from synckairos.embedded.guarded_child import ChildProcess
from tests.processes import is_running

# The program prints the process id of its child. Then the test kills the program.
PARENT = """
import subprocess, sys
from synckairos.embedded.guarded_child import ChildProcess
child = ChildProcess([sys.executable, "-c", {code!r}], stdout=subprocess.PIPE)
child.process.stdout.readline()
print(child.pid, flush=True)
child.process.wait()
"""
IGNORES_SIGTERM = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
ENDS_AT_SIGTERM = "import signal; print(flush=True); signal.pause()"


def test_stop_lets_the_program_handle_sigterm_and_returns_its_code() -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
    )
    child = ChildProcess([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.process.stdout is not None
    child.process.stdout.readline()
    assert child.returncode is None
    assert child.stop() == 7
    assert child.stop() == 7


def test_stop_kills_a_program_that_ignores_sigterm() -> None:
    child = ChildProcess([sys.executable, "-c", IGNORES_SIGTERM], stdout=subprocess.PIPE)
    assert child.process.stdout is not None
    child.process.stdout.readline()
    assert child.stop(timeout_s=0.1) == -signal.SIGKILL


def test_stop_ends_a_suspended_program() -> None:
    child = ChildProcess(["/bin/sleep", "60"])
    child.process.send_signal(signal.SIGSTOP)
    assert child.stop() == -signal.SIGTERM


def test_stop_after_the_end_returns_the_same_code() -> None:
    child = ChildProcess(["/bin/sh", "-c", "exit 3"])
    assert child.process.wait() == 3
    assert child.stop() == 3


@pytest.mark.parametrize("code", [ENDS_AT_SIGTERM, pytest.param(IGNORES_SIGTERM, marks=pytest.mark.slow)])
def test_child_of_a_killed_parent_ends(code: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT.format(code=code)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        # The pipe to the guard closes with the parent, because the child does not hold it. The guard ends the child.
        parent.wait()
    _wait_for_end(pid)


def _wait_for_end(pid: int) -> None:
    # Only a parent can wait for a process. `tail --pid` polls, and it ends with the process.
    subprocess.run(["tail", f"--pid={pid}", "-s", "0.05", "-f", "/dev/null"], timeout=30, check=True)
    assert not is_running(pid)
