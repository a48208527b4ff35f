"""Tuning of the garbage collector for long-running processes."""

import gc


def tune_gc() -> None:
    """Exclude the objects of the start from later collections, and make collections rarer.

    Almost no object here is part of a reference cycle. By default the collector runs after every 700 new objects, which
    is a few requests or rows.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
