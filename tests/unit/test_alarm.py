"""Alarms reach whoever is named, once in a while, and hold up nobody."""

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

from synckairos.telemetry import alerts
from synckairos.telemetry.alerts import Alerts

Received = Queue[tuple[str, bytes]]


@contextmanager
def receiver() -> Iterator[tuple[str, Received]]:
    """Run a server that takes whatever is POSTed: its address, and what came."""
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
def nobody_afterwards() -> Iterator[None]:
    yield
    alerts.configure(None, None)


def test_a_webhook_is_told() -> None:
    with receiver() as (address, received):
        alerts.configure(f"http://{address}/hook", None)
        alerts.raise_alert("job failed", job_id=7, error="why")
        path, body = received.get(timeout=10)
    told = orjson.loads(body)
    assert path == "/hook"
    assert told["text"] == "SyncKairos: job failed (job_id: 7, error: why)"
    assert (told["alarm"], told["facts"]) == ("job failed", {"job_id": 7, "error": "why"})


def test_sentry_is_told() -> None:
    with receiver() as (address, received):
        alerts.configure(None, f"http://key@{address}/1")
        alerts.raise_alert("job failed", job_id=7)
        path, body = received.get(timeout=10)
    assert path.endswith("/api/1/envelope/")
    event = orjson.loads(body.splitlines()[2])
    assert (event["message"], event["level"]) == ("SyncKairos: job failed", "error")
    assert event["contexts"]["alarm"]["job_id"] == 7


def test_a_storm_of_alarms_is_told_once_in_a_while() -> None:
    told: Queue[Any] = Queue()
    alarms = Alerts({"somebody": told.put}, quiet_s=3600)
    for number in range(50):
        alarms.send("first", {"number": number})
    alarms.send("second", {})
    alarms.flush()
    assert [each["alarm"] for each in (told.get(), told.get())] == ["first", "second"]
    assert told.empty()


def test_the_next_one_says_how_many_there_were_between() -> None:
    told: Queue[Any] = Queue()
    alarms = Alerts({"somebody": told.put}, quiet_s=0.05)
    for number in range(5):
        alarms.send("again", {"number": number})
    until = time.monotonic() + 10
    while told.qsize() < 2:
        assert time.monotonic() < until
        alarms.send("again", {})
        alarms.flush()
    first, second = told.get(), told.get()
    assert "more_before" not in first
    assert second["more_before"] >= 4


def test_who_is_away_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told: Queue[Any] = Queue()
    stuck = threading.Event()

    def away(_: Any) -> None:
        stuck.wait(10)
        raise OSError("nobody there")

    alarms = Alerts({"first": away, "second": told.put}, quiet_s=0)
    began = time.monotonic()
    for number in range(500):
        alarms.send(f"alarm {number}", {})
    assert time.monotonic() - began < 5  # one that waited would take minutes
    assert told.empty()
    stuck.set()
    alarms.flush(10)
    assert told.qsize() >= 100
    assert "nobody there" in caplog.text


def test_without_anybody_named_it_is_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    before = threading.active_count()
    alerts.raise_alert("job failed", job_id=7)
    assert "job failed" in caplog.text
    assert threading.active_count() == before
