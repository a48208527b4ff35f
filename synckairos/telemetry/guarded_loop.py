"""Background loops that continue after unexpected errors: an error is logged, and the loop is started again."""

import asyncio
from collections.abc import Awaitable, Callable

from synckairos.backoff import Backoff
from synckairos.telemetry import log
from synckairos.telemetry.outages import LogThrottle

LONGEST_PAUSE_S = 5.0
"""Seconds: maximum delay before a loop is started again."""

logger = log.get_logger(__name__)


async def keep_running(
    name: str, loop: Callable[[], Awaitable[None]], *, longest_pause_s: float = LONGEST_PAUSE_S
) -> None:
    """Run a background loop until this call is cancelled. `name` is the name of the loop in the log.

    If `loop` returns or raises an exception, it is called again after a back-off of at most `longest_pause_s` seconds.
    An exception is logged, at most once a minute.
    """
    backoff, quiet = Backoff(longest_s=longest_pause_s), LogThrottle()
    while True:
        began_s = asyncio.get_running_loop().time()
        try:
            await loop()
        except Exception:
            if (more_before := quiet.allow_next_line()) is not None:
                logger.exception("background loop failed and is started again", job=name, more_before=more_before)
        await asyncio.sleep(backoff.delay_after_run_s(asyncio.get_running_loop().time() - began_s))
