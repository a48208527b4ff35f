"""Metrics of commands: the number of each outcome, and the duration."""

import time
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

from synckairos.errors import SyncKairosError
from synckairos.service.requests import SessionResult
from synckairos.telemetry.metrics import COMMAND_DURATION, COMMANDS


async def measure_command(verb: str, work: Coroutine[Any, Any, SessionResult]) -> SessionResult:
    """Await `work` and return its result. Count the outcome and the duration of the command `verb` in the metrics.

    The exception of `work` is raised unchanged.
    """
    began_s = time.perf_counter()
    outcome = "failed"
    try:
        answer = await work
        outcome = "replayed" if answer.replayed else "applied"
    except SyncKairosError as refusal:
        if refusal.status < 500:
            outcome = "replayed" if refusal.replayed else "refused"
        raise
    finally:
        _counter(verb, outcome)()
        COMMAND_DURATION.with_labels(verb).observe(time.perf_counter() - began_s)
    return answer


@cache
def _counter(verb: str, outcome: str) -> Callable[[], None]:
    # The counter of failures begins at 0 with the first command, or Prometheus would not see the first failures.
    COMMANDS.labels(verb, "failed")
    return COMMANDS.labels(verb, outcome).inc
