"""Traces of versions: their ids, their sampling, and the spans of commands and of later stages."""

import io
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.contextvars import bound_contextvars

from synckairos.telemetry import tracing
from synckairos.telemetry.span_recorder import SpanRecorder
from synckairos.telemetry.tracing import RunningCommand, VersionId, version_trace_ids
from tests.unit.telemetry.log_lines import lines

VERSION = VersionId("7f9c24e5-4f4a-4b0e-9a55-2f1f5ad1a1c4", "66a1b2c3d4e5f6a7b8c9", 7)
REQUEST = {
    b"traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


class Recorded:
    """A recorder whose spans stay in memory."""

    def __init__(self, ratio: float) -> None:
        self._exporter = InMemorySpanExporter()
        self.recorder = SpanRecorder(SimpleSpanProcessor(self._exporter), ratio, "server")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Turn tracing on for all versions."""
    found = Recorded(1.0)
    tracing.active = found.recorder
    yield found
    tracing.active = None


def test_ids_of_a_version_are_the_same_in_each_process_and_release() -> None:
    ids = version_trace_ids(VERSION)
    assert f"{ids.trace_id:032x} {ids.span_id:016x}" == "292fc1e74d03589e9406b28c79d7ba90 93e9a6533210b865"


def test_recorder_samples_about_its_share_of_versions_and_each_stage_samples_the_same() -> None:
    servers, workers = Recorded(0.25), Recorded(0.25)
    one_session = [VersionId(VERSION.session_id, VERSION.epoch, number) for number in range(2_000)]
    many_sessions = [VersionId(str(uuid4()), "e", 1) for _ in range(2_000)]
    versions = one_session + many_sessions
    for version in versions:
        servers.recorder.record_command(RunningCommand("switch", 1, [version]), "applied")
    workers.recorder.record_stages("drain", versions, 1)
    taken = [{trace_id_of(span) for span in each.spans} for each in (servers, workers)]
    assert taken[0] == taken[1]
    sampled = [
        sum(version_trace_ids(each).trace_id in taken[0] for each in some) for some in (one_session, many_sessions)
    ]
    assert 490 <= sampled[0] <= 510
    assert 400 < sampled[1] < 600


def test_no_version_is_sampled_with_the_share_zero() -> None:
    none = Recorded(0.0)
    none.recorder.record_command(RunningCommand("switch", 1, [VERSION]), "applied")
    none.recorder.record_command(RunningCommand("switch", 1), "refused")
    assert none.spans == []


def test_span_of_a_command_has_the_ids_of_its_version_and_names_its_request(recorded: Recorded) -> None:
    tracing.note_request(REQUEST)
    running = tracing.begin_command("switch")
    tracing.note_commit(VERSION)
    with bound_contextvars(request_id="proxy-17"):  # as the REST application does
        recorded.recorder.record_command(running, "applied")
    (span,) = recorded.spans
    assert (trace_id_of(span), span_id_of(span)) == version_trace_ids(VERSION)
    assert span.parent is None
    assert span.name == "synckairos.command switch"
    assert span.attributes == {
        "synckairos.command": "switch",
        "synckairos.outcome": "applied",
        "synckairos.session_id": VERSION.session_id,
        "synckairos.epoch": VERSION.epoch,
        "synckairos.version": 7,
        "synckairos.request_id": "proxy-17",
    }
    (link,) = span.links
    assert f"{link.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert span.start_time == running.began_ns
    assert span.end_time is not None
    assert span.end_time >= running.began_ns


def test_failure_of_a_recorder_is_logged_once_and_not_raised(recorded: Recorded, stream: io.StringIO) -> None:
    for _ in range(2):
        recorded.recorder.record_stages("drain", [None], 1)  # type: ignore[list-item]
    assert [line["event"] for line in lines(stream)] == ["span not recorded"]


def test_command_without_a_commit_has_a_trace_of_its_own(recorded: Recorded) -> None:
    for _ in range(2):
        recorded.recorder.record_command(tracing.begin_command("switch"), "refused")
    first, second = recorded.spans
    assert trace_id_of(first) != trace_id_of(second)
    assert "synckairos.version" not in (first.attributes or {})


def test_later_stage_is_a_child_of_the_command(recorded: Recorded) -> None:
    recorded.recorder.record_stages("drain", [VERSION], 5, **{"synckairos.batch": 3})
    (span,) = recorded.spans
    assert (span.name, span.start_time) == ("synckairos.drain", 5)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == version_trace_ids(VERSION)
    assert trace_id_of(span) == version_trace_ids(VERSION).trace_id
    assert span_id_of(span) != version_trace_ids(VERSION).span_id


@pytest.mark.parametrize(
    ("headers", "has_span"),
    [({}, False), ({b"traceparent": b"00-xyz"}, False), ({b"traceparent": b"\xff"}, False), (REQUEST, True)],
    ids=["none", "too short", "not ascii", "valid"],
)
def test_only_a_valid_parent_is_used(headers: dict[bytes, bytes], has_span: bool) -> None:
    tracing.note_request(headers)
    origin = tracing.current_origin()
    assert origin is not None
    assert (origin.request_id, origin.span is not None) == (None, has_span)


async def test_tracing_with_the_share_zero_is_off() -> None:
    async with tracing.tracing(0.0, "server"):
        assert tracing.active is None


def test_process_imports_nothing_of_opentelemetry_before_tracing_is_on() -> None:
    program = (
        "import sys, synckairos.process.server, synckairos.process.worker;"
        "print([each for each in sys.modules if each.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "synckairos.telemetry.span_recorder", None)
    with pytest.raises(tracing.TracingNotInstalled, match=r"synckairos\[otel\]"):
        async with tracing.tracing(0.1, "worker"):
            pass


def trace_id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.trace_id
    return found


def span_id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found
