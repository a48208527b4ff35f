"""Alerts are sent to each configured receiver, at a bounded rate, without blocking the caller."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import orjson
import pytest

from synckairos.telemetry import alert_sender
from synckairos.telemetry.alert_sender import Alerts

Received = Queue[tuple[str, bytes]]


@contextmanager
def receiver() -> Iterator[tuple[str, Received]]:
    """Run a server that accepts every POST. Yield its address and a queue of (path, body)."""
    received: Received = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_packed = self.headers.get("content-encoding") == "gzip"
            received.put((self.path, gzip.decompress(body) if is_packed else body))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_receivers_after_the_test() -> Iterator[None]:
    yield
    alert_sender.configure_alerts(None, None)


def test_alert_is_posted_to_the_webhook() -> None:
    with receiver() as (address, received):
        alert_sender.configure_alerts(f"http://{address}/hook", None)
        alert_sender.raise_alert("job failed", job_id=7, error="why")
        path, body = received.get(timeout=10)
    sent = orjson.loads(body)
    assert path == "/hook"
    assert sent["text"] == "SyncKairos: job failed (job_id: 7, error: why)"
    assert (sent["alarm"], sent["facts"]) == ("job failed", {"job_id": 7, "error": "why"})


def test_alert_is_sent_to_sentry() -> None:
    with receiver() as (address, received):
        alert_sender.configure_alerts(None, f"http://key@{address}/1")
        alert_sender.raise_alert("job failed", job_id=7)
        path, body = received.get(timeout=10)
    assert path.endswith("/api/1/envelope/")
    event = orjson.loads(body.splitlines()[2])
    assert (event["message"], event["level"]) == ("SyncKairos: job failed", "error")
    assert event["contexts"]["alarm"]["job_id"] == 7


def test_repeated_alert_within_quiet_time_is_sent_once() -> None:
    sent: Queue[Any] = Queue()
    sender = Alerts({"receiver": sent.put}, quiet_s=3600)
    for number in range(50):
        sender.send("first", {"number": number})
    sender.send("second", {})
    sender.wait_until_sent()
    assert [each["alarm"] for each in (sent.get(), sent.get())] == ["first", "second"]
    assert sent.empty()


def test_next_alert_has_the_number_of_suppressed_alerts() -> None:
    sent: Queue[Any] = Queue()
    sender = Alerts({"receiver": sent.put}, quiet_s=0.05)
    for number in range(5):
        sender.send("again", {"number": number})
    until = time.monotonic() + 10
    while sent.qsize() < 2:
        assert time.monotonic() < until
        sender.send("again", {})
        sender.wait_until_sent()
    first, second = sent.get(), sent.get()
    assert "more_before" not in first
    assert second["more_before"] >= 4


def test_stuck_receiver_blocks_neither_caller_nor_other_receivers(caplog: pytest.LogCaptureFixture) -> None:
    sent: Queue[Any] = Queue()
    stuck = threading.Event()

    def unreachable(_: Any) -> None:
        stuck.wait(10)
        raise OSError("receiver unreachable")

    sender = Alerts({"first": unreachable, "second": sent.put}, quiet_s=0)
    began = time.monotonic()
    for number in range(500):
        sender.send(f"alert {number}", {})
    assert time.monotonic() - began < 5  # a blocking send would take minutes
    assert sent.empty()
    stuck.set()
    sender.wait_until_sent(10)
    assert sent.qsize() >= 100
    assert "receiver unreachable" in caplog.text


def test_alert_without_receivers_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    alert_sender.raise_alert("job failed", job_id=7)
    assert "job failed" in caplog.text
    assert threading.active_count() == before
