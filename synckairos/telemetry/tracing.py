"""Traces of versions: which spans are recorded, and the state of the command that runs in this task.

The ids of a version's trace are calculated from the version. So each process knows the trace of a version, and whether
it is sampled, without data about the trace in Redis or Postgres. If tracing is off, `active` is None, and callers do
nothing else. Only `span_recorder.py` imports OpenTelemetry.
"""

import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from structlog.contextvars import get_contextvars

from synckairos.errors import SyncKairosError
from synckairos.telemetry.metric_types import ProcessKind

if TYPE_CHECKING:
    from synckairos.telemetry.span_recorder import SpanRecorder

active: "SpanRecorder | None" = None
"""Recorder of spans; None if tracing is off."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class TracingNotInstalled(SyncKairosError):
    """Tracing is on, but the packages of OpenTelemetry are missing."""

    code = "BAD_SETTINGS"

    def __init__(self) -> None:
        super().__init__("SYNCKAIROS_TRACE_RATIO needs the extra synckairos[otel]: install it, or set 0")


class VersionId(NamedTuple):
    """A version of a session. `session_id` is the id without the tenant."""

    session_id: str
    epoch: str
    version: int


class TraceIds(NamedTuple):
    """Ids of a trace (128 bits) and of a span in it (64 bits)."""

    trace_id: int
    span_id: int


class CommandOrigin(NamedTuple):
    """The origin of a command: the id of its REST request, and the span in the `traceparent` of the request (W3C)."""

    request_id: str | None
    span: TraceIds | None


@dataclass(slots=True)
class RunningCommand:
    """A command that is executed. `began_ns` is in ns since the Unix epoch. `commits` are its newest versions."""

    name: str
    began_ns: int
    commits: list[VersionId] = field(default_factory=list)


_running: ContextVar[RunningCommand | None] = ContextVar("running_command", default=None)
_headers: ContextVar[Mapping[bytes, bytes] | None] = ContextVar("headers", default=None)


def version_trace_ids(version: VersionId) -> TraceIds:
    """Return the ids of the trace of a version, and of the span of the command that made the version."""
    text = f"{version.session_id} {version.epoch} {version.version}"
    digest = hashlib.blake2b(text.encode(), digest_size=24).digest()
    return TraceIds(int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:], "big"))


def sampling_value(version: VersionId) -> int:
    """Return the value of a version, from 0 to 2**64 - 1, whose share of 2**64 decides whether it is sampled.

    It is cheaper than the ids of the trace, because most versions need only this. The values of the versions of one
    session are spread evenly: each step adds 2**64 divided by the golden ratio.
    """
    session_id, epoch, number = version
    return (_session_value(session_id, epoch) + number * 0x9E3779B97F4A7C15) & 0xFFFF_FFFF_FFFF_FFFF


@lru_cache(4096)
def _session_value(session_id: str, epoch: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{session_id} {epoch}".encode(), digest_size=8).digest(), "big")


def begin_command(name: str) -> RunningCommand:
    """Return a new running command, which gets the commits of this task from now on."""
    running = RunningCommand(name, time.time_ns())
    _running.set(running)
    return running


def note_commit(version: VersionId) -> None:
    """Add the newest version of a commit to the command that runs in this task, if there is one."""
    if (running := _running.get()) is not None:
        running.commits.append(version)


def note_request(headers: Mapping[bytes, bytes]) -> None:
    """Remember the headers of the REST request that this task handles, by lower-case name.

    They are parsed only if a span needs them. The log has the id of the request already.
    """
    _headers.set(headers)


def current_origin() -> CommandOrigin | None:
    """Return the origin of the request that this task handles, None if it is not known."""
    if (headers := _headers.get()) is None:
        return None
    parent = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b"").decode("latin-1"))
    span = None if parent is None else TraceIds(int(parent[1], 16), int(parent[2], 16))
    return CommandOrigin(get_contextvars().get("request_id"), span)


@asynccontextmanager
async def tracing(ratio: float, process: ProcessKind) -> AsyncIterator[None]:
    """Record spans of this process inside the block, and export them by OTLP over HTTP.

    `ratio` is the share of versions whose spans are recorded, from 0 to 1. With 0 nothing is done. The standard
    variables `OTEL_EXPORTER_OTLP_*` set the collector.

    Raises: TracingNotInstalled if `ratio` is above 0 and OpenTelemetry is not installed.
    """
    global active
    if not ratio:
        yield
        return
    try:
        from synckairos.telemetry.span_recorder import SpanRecorder, make_exporter
    except ImportError as missing:
        raise TracingNotInstalled from missing
    active = SpanRecorder(make_exporter(), ratio, process)
    try:
        yield
    finally:
        recorder, active = active, None
        await recorder.close()
