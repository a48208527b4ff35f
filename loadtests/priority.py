"""Priority of a load test and of all its processes above other work on the machine.

Linux shares the processor between sessions of processes first (`autogroup` in `man 7 sched`), and `nice` has an effect
within one session only. The load tests start servers and stores in sessions of their own. So `nice -n -20` does not
give them priority; the autogroup of each process does. It needs root.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HIGHEST = "-20"
SEARCH_INTERVAL_S = 0.4
"""Seconds between two searches for new processes."""


def keep_priority() -> None:
    """Give this process and all its descendants the highest priority, also those that start later.

    Return immediately. A thread searches for new processes until the end of this process.

    Raises: OSError if the kernel has no autogroups, or the user is not allowed to raise the priority.
    """
    Path("/proc/self/autogroup").write_text(HIGHEST)
    threading.Thread(target=_raise_descendants, daemon=True).start()


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
    autogroup = Path(f"/proc/{pid}/autogroup")
    try:
        if not autogroup.read_text().rstrip().endswith(f"nice {HIGHEST}"):
            autogroup.write_text(HIGHEST)
    except OSError:
        pass  # the process ended, or the kernel refuses several changes within 0.1 s; the next search repeats it
