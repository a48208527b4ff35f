"""Recorder of spans with OpenTelemetry. Only `tracing.py` imports this module, and only if tracing is on."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from synckairos import __version__
from synckairos.telemetry import log
from synckairos.telemetry.metric_types import ProcessKind
from synckairos.telemetry.outages import LogThrottle
from synckairos.telemetry.tracing import (
    RunningCommand,
    TraceIds,
    VersionId,
    current_origin,
    sampling_value,
    version_trace_ids,
)

EXPORT_TIMEOUT_S = 5
"""Seconds after which an export to the collector counts as failed."""

logger = log.get_logger(__name__)


class _ChosenIds(RandomIdGenerator):  # type: ignore[misc, unused-ignore]  # without the package it has no type
    """Generator of ids for OpenTelemetry, which gives the ids that the recorder has chosen for the next span."""

    def __init__(self) -> None:
        super().__init__()
        self.next = TraceIds(0, 0)

    def generate_trace_id(self) -> int:
        return self.next.trace_id

    def generate_span_id(self) -> int:
        return self.next.span_id


def make_exporter() -> Any:
    """Return a processor of spans that exports batches by OTLP over HTTP, from a thread of its own."""
    return BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_TIMEOUT_S))


class SpanRecorder:
    """Records the spans of sampled versions. Its methods return at once, and a failure is only logged.

    The export runs in a thread of the processor of spans.
    """

    def __init__(self, processor: Any, ratio: float, process: ProcessKind) -> None:
        """Create a recorder.

        `processor` gets each finished span. `ratio` is the share of versions to record, from 0 to 1.
        """
        self._ids = _ChosenIds()
        resource = {"service.name": "synckairos", "service.version": __version__, "synckairos.process": process}
        self._provider = TracerProvider(
            resource=Resource.create(resource),
            sampler=ALWAYS_ON,  # this class samples, before it makes a span
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("synckairos", __version__)
        self._sampled_below = round(ratio * 2**64)
        self._failures = LogThrottle()

    async def close(self) -> None:
        """Export the remaining spans, and end the exporter."""
        await asyncio.to_thread(self._provider.shutdown)

    def record_command(self, command: RunningCommand, outcome: str) -> None:
        """Record the span of a command that ends now: one for each session that it has committed to.

        `outcome` is that of the metrics: applied, refused, replayed or failed. A command without a commit has a trace
        of its own.
        """
        try:
            if not command.commits and secrets.randbits(64) < self._sampled_below:
                ids = TraceIds(secrets.randbits(128), secrets.randbits(64))
                self._record_root(command, outcome, ids, {})
            for version in command.commits:
                if sampling_value(version) < self._sampled_below:
                    self._record_root(command, outcome, version_trace_ids(version), _describe(version))
        except Exception:
            # A fault in tracing must not fail a command.
            if (more_before := self._failures.allow_next_line()) is not None:
                logger.exception("span not recorded", more_before=more_before)

    def record_stages(self, name: str, versions: Iterable[VersionId], began_ns: int, **attributes: Any) -> None:
        """Record a stage in the life of versions, which began at `began_ns` (ns since the Unix epoch) and ends now.

        Each span is a child of the span of the command that made the version, usually in another process.
        """
        try:
            for version in versions:
                if sampling_value(version) < self._sampled_below:
                    self._record_stage(name, version_trace_ids(version), began_ns, attributes | _describe(version))
        except Exception:
            # A fault in tracing must not fail a command.
            if (more_before := self._failures.allow_next_line()) is not None:
                logger.exception("span not recorded", more_before=more_before)

    def _record_stage(self, name: str, ids: TraceIds, began_ns: int, attributes: dict[str, Any]) -> None:
        ended_ns = time.time_ns()
        parent = NonRecordingSpan(_span_context(ids))
        self._ids.next = TraceIds(ids.trace_id, secrets.randbits(64))
        context = set_span_in_context(parent, Context())
        span = self._tracer.start_span(
            f"synckairos.{name}", context, SpanKind.CONSUMER, attributes, start_time=began_ns
        )
        span.end(ended_ns)

    def _record_root(self, command: RunningCommand, outcome: str, ids: TraceIds, described: dict[str, Any]) -> None:
        ended_ns = time.time_ns()
        attributes = {"synckairos.command": command.name, "synckairos.outcome": outcome, **described}
        origin = current_origin()
        links = []
        if origin is not None:
            if origin.span is not None:
                links.append(Link(_span_context(origin.span)))
            if origin.request_id is not None:
                attributes["synckairos.request_id"] = origin.request_id
        self._ids.next = ids
        span = self._tracer.start_span(
            f"synckairos.command {command.name}",
            Context(),
            SpanKind.SERVER,
            attributes,
            links,
            start_time=command.began_ns,
        )
        span.end(ended_ns)


def _span_context(ids: TraceIds) -> Any:
    return SpanContext(ids.trace_id, ids.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _describe(version: VersionId) -> dict[str, Any]:
    return {
        "synckairos.session_id": version.session_id,
        "synckairos.epoch": version.epoch,
        "synckairos.version": version.version,
    }
