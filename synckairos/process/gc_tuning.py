"""Tuning of Python's garbage collector for long-running processes."""

import gc


def tune_gc() -> None:
    """Exclude all existing objects from later garbage collections, and reduce the frequency of collections.

    By default the collector runs after 700 new objects, which a few requests create. Almost no object of this program
    is part of a reference cycle, so rare collections are enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
