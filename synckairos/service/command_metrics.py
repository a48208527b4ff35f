"""Metrics and spans of commands: the number of each outcome, and the duration."""

import time
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

from synckairos.errors import SyncKairosError
from synckairos.service.requests import SessionResult
from synckairos.telemetry import tracing
from synckairos.telemetry.metrics import COMMAND_DURATION, COMMANDS


async def measure_command(verb: str, work: Coroutine[Any, Any, SessionResult]) -> SessionResult:
    """Await `work` and return its result. Count the outcome and the duration of the command `verb` in the metrics.

    The exception of `work` is raised unchanged.
    """
    began_s = time.perf_counter()
    recorder = tracing.active
    running = None if recorder is None else tracing.begin_command(verb)
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
        if recorder is not None and running is not None:
            recorder.record_command(running, outcome)
    return answer


@cache
def _counter(verb: str, outcome: str) -> Callable[[], None]:
    # The counter of failures begins at 0 with the first command, or Prometheus would not see the first failures.
    COMMANDS.labels(verb, "failed")
    return COMMANDS.labels(verb, outcome).inc
