"""Tuning of the Python interpreter for long-running processes: garbage collector and switches between threads."""

import gc
import sys

SWITCH_INTERVAL_S = 0.0001
"""Seconds for which a thread keeps the interpreter while another thread waits for it."""


def tune_gc() -> None:
    """Exclude all existing objects from later garbage collections, and reduce the frequency of collections.

    By default the collector runs after 700 new objects, which a few requests create. Almost no object of this program
    is part of a reference cycle, so rare collections are enough. A collection stops the whole process for about 0.2 to
    0.5 µs an object, so most look at few: one begins when the number of objects has grown by 2,500. Each twentieth also
    looks at what the others have left.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_500, 20, 200)


def tune_thread_switches() -> None:
    """Let the event loop interrupt other threads of this process sooner.

    Threads parse and render large data. The event loop waits for the interpreter at each of its turns while such a
    thread runs. A request needs several turns, and the default interval of 5 ms would delay it by 5 ms for each.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
