"""Priority of a load test and of all its processes above other work on the machine.

Linux shares the processor between sessions of processes first (`autogroup` in `man 7 sched`), and `nice` has an effect
within one session only. The load tests start servers and stores in sessions of their own. So `nice -n -20` does not
give them priority; the autogroup of each process does. It needs root.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HIGHEST = "-20"
LOW = "19"
LOW_WITH_PRIORITY = "-8"
"""Priority of a process of `lower_priority` in a load test with priority: far below the load test, above other work."""

SEARCH_INTERVAL_S = 0.4
"""Seconds between two searches for new processes."""


def keep_priority() -> None:
    """Give this process and all its descendants the highest priority, also those that start later.

    Return immediately. A thread searches for new processes until the end of this process.

    Raises: OSError if the kernel has no autogroups, or the user is not allowed to raise the priority.
    """
    Path("/proc/self/autogroup").write_text(HIGHEST)
    threading.Thread(target=_raise_descendants, daemon=True).start()


def lower_priority(pid: int) -> None:
    """Give a child process a much lower priority than the other processes of the load test.

    If the load test runs with real-time priority (`chrt -r 1 python -m loadtests …`), the child runs without it.

    The process must be the first of a new session, because the priority is that of the session. Without the right to
    set it, or without autogroups, the process keeps its priority.
    """
    is_realtime = os.sched_getscheduler(pid) != os.SCHED_OTHER
    has_priority = is_realtime or _read_autogroup(os.getpid()) == HIGHEST
    if is_realtime:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(LOW_WITH_PRIORITY if has_priority else LOW)


def _read_autogroup(pid: int) -> str:
    """Return the priority of the session of a process, such as `-20`; an empty text if there are no autogroups."""
    try:
        return Path(f"/proc/{pid}/autogroup").read_text().rpartition(" ")[2].strip()
    except OSError:
        return ""


def _raise_descendants() -> None:
    while True:
        for pid in _descendants(os.getpid()):
            _raise_priority(pid)
        time.sleep(SEARCH_INTERVAL_S)


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return  # the process ended
    for child in (int(each) for ids in children for each in ids):
        yield child
        yield from _descendants(child)


def _raise_priority(pid: int) -> None:
    if _read_autogroup(pid) in (HIGHEST, LOW_WITH_PRIORITY):
        return
    with suppress(OSError):  # the process ended, or the kernel refuses several changes within 0.1 s; then search again
        Path(f"/proc/{pid}/autogroup").write_text(HIGHEST)
