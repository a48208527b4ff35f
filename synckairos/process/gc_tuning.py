"""The garbage collector, as processes want it that live long and answer quickly."""

import gc


def tune_gc() -> None:
    """Keep it from what is there before the work begins, and from looking all the time.

    Next to nothing here is ever in a cycle; by default it looks after every 700 new objects, which is a few requests
    or rows.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
