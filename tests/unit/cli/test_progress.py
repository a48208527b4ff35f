"""Progress of commands: plain lines without a terminal, a redrawn line on a terminal, and colours only if allowed."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from synckairos.cli.progress import ProgressDisplay, show_progress

LIVE = """
import sys, threading
from synckairos.cli.progress import show_progress
with show_progress("counting") as display:
    display.report("counting sheep", 3, 10)
    sys.stdin.readline()  # the test sends a line when it has seen the progress
    display.echo("a result")
"""


def plain_display(activity: str) -> ProgressDisplay:
    return ProgressDisplay(activity, plain_after_s=0, plain_every_s=0.01)


def wait_for(capsys: pytest.CaptureFixture[str], wanted: str, seen: list[str]) -> None:
    """Read stderr until it has a line that begins with `wanted`."""
    deadline = threading.Event()
    timer = threading.Timer(30, deadline.set)
    timer.start()
    while not any(line.startswith(wanted) for line in "".join(seen).splitlines()):
        assert not deadline.is_set(), seen
        seen.append(capsys.readouterr().err)
    timer.cancel()


def test_off_a_terminal_each_activity_is_a_plain_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    display = plain_display("opening")
    wait_for(capsys, "opening (0 s)", seen)
    display.report("reading", 1_200)
    wait_for(capsys, "reading: 1,200 (0 s)", seen)
    display.report("reading", 5, 10)
    wait_for(capsys, "reading: 5 of 10 (0 s)", seen)
    display.close()
    assert "\x1b" not in "".join(seen)


def test_quick_command_prints_only_its_result(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("working") as display:
        display.report("counting", 1)
        display.echo("a result")
        display.announce("a message")
    out, err = capsys.readouterr()
    assert (out, err) == ("a result\n", "a message\n")


@pytest.fixture
def watchdog() -> Iterator[None]:
    """End a read that would never return."""

    def give_up(number: int, frame: object) -> None:
        raise AssertionError("no progress within 30 s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run_on_a_terminal(wanted: bytes, **environment: str) -> str:
    """Run `LIVE` on a terminal until it has shown `wanted`. Return the whole output on the terminal."""
    master, slave = pty.openpty()
    unset = ("NO_COLOR", "TERM", "COLORTERM", "FORCE_COLOR")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE], stdin=subprocess.PIPE, stdout=slave, stderr=slave, env={**env, **environment}
    )
    os.close(slave)
    written = b""
    while wanted not in written:
        written += os.read(master, 65_536)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    while True:
        try:
            written += os.read(master, 65_536)
        except OSError:  # the terminal is closed
            break
    assert process.wait() == 0
    os.close(master)
    return written.decode()


def test_on_a_terminal_one_line_is_redrawn_and_removed(watchdog: None) -> None:
    text = run_on_a_terminal(b"counting sheep: 3 of 10", TERM="xterm-256color")
    assert "\x1b[38;5;" in text
    assert text.count("a result\r\n") == 1
    assert text.endswith("\x1b[2K"), "the line is removed at the end"


def test_no_color_shows_progress_without_colours(watchdog: None) -> None:
    text = run_on_a_terminal(b"counting sheep: 3 of 10", TERM="xterm-256color", NO_COLOR="1")
    assert not any(f"\x1b[{code}" in text for code in ("3", "9", "38", "1m"))


def test_dumb_terminal_gets_plain_lines(watchdog: None) -> None:
    text = run_on_a_terminal(b"counting sheep: 3 of 10 (2 s)", TERM="dumb")
    assert "\x1b" not in text
