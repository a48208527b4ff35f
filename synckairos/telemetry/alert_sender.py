"""Alerts for the operator. Each alert is logged, and also sent to a webhook and to Sentry if these are configured.

`raise_alert` never waits for a receiver and never raises an exception about a receiver, because an alert must not add
another fault. The metrics show the same conditions, measured in the stores. So `/metrics` of an instance also covers
faults in workers.
"""

import atexit
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from synckairos import __version__
from synckairos.telemetry import log

QUIET_S = 60.0
"""Seconds after an alert in which further alerts with the same name are suppressed. The next alert has their number."""

_QUEUE_LENGTH = 100
_TIMEOUT_S = 5.0
_FLUSH_S = 2.0

logger = log.get_logger(__name__)

SendAlert = Callable[[Mapping[str, Any]], None]


class Alerts:
    """Sends alerts to receivers from a separate thread, because a receiver can be slow or unreachable."""

    def __init__(self, receivers: Mapping[str, SendAlert], *, quiet_s: float = QUIET_S) -> None:
        """Create a sender for `receivers`, a function for each name of a receiver.

        `quiet_s` is the number of seconds in which further alerts with the same name are suppressed.
        """
        self._receivers = dict(receivers)
        self._quiet_s = quiet_s
        self._sent_s: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}
        self._queue: queue.Queue[Mapping[str, Any]] = queue.Queue(_QUEUE_LENGTH)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def send(self, name: str, facts: Mapping[str, Any]) -> None:
        """Queue an alert for the receivers, and return immediately. Do nothing if there are no receivers.

        Drop the alert if an alert with this name was queued less than `quiet_s` seconds ago, or if the queue is full.
        """
        with self._lock:
            now_s = time.monotonic()
            if not self._receivers:
                return
            if name in self._sent_s and now_s < self._sent_s[name] + self._quiet_s:
                self._suppressed[name] = self._suppressed.get(name, 0) + 1
                return
            self._sent_s[name] = now_s
            suppressed = self._suppressed.pop(name, 0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
                self._thread.start()
                atexit.register(self.wait_until_sent)
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        alert = {"alarm": name, "at": at, "host": socket.gethostname(), "facts": dict(facts)}
        try:
            self._queue.put_nowait(alert | ({"more_before": suppressed} if suppressed else {}))
        except queue.Full:
            logger.warning("alert not sent", alert=name, error="the queue is full")

    def wait_until_sent(self, timeout_s: float = _FLUSH_S) -> None:
        """Block until each queued alert is sent or has failed, but at most `timeout_s` seconds.

        No error is raised if alerts are still queued then.
        """
        until_s = time.monotonic() + timeout_s
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks and (left_s := until_s - time.monotonic()) > 0:
                self._queue.all_tasks_done.wait(left_s)

    def _run(self) -> None:
        while True:
            alert = self._queue.get()
            for receiver, send in self._receivers.items():
                try:
                    send(alert)
                except Exception as fault:  # noqa: BLE001 - any fault, because the alert is already in the log
                    error = f"{type(fault).__name__}: {fault}"
                    logger.warning("alert not sent", alert=alert["alarm"], receiver=receiver, error=error)
            self._queue.task_done()


_alerts = Alerts({})


def configure_alerts(webhook_url: str | None, sentry_dsn: str | None) -> None:
    """Send all later alerts to a webhook and to Sentry. A URL or DSN that is None or empty means no such receiver.

    If this function is never called, alerts are only logged.
    """
    global _alerts
    receivers: dict[str, SendAlert] = {}
    if webhook_url:
        receivers["webhook"] = make_webhook_sender(webhook_url)
    if sentry_dsn:
        receivers["sentry"] = make_sentry_sender(sentry_dsn)
    _alerts = Alerts(receivers)


def raise_alert(name: str, **facts: Any) -> None:
    """Log an alert and queue it for the receivers. No exception is raised.

    `name` is a constant name of the condition, `facts` are the values of this occurrence.
    """
    logger.error(name, alarm=True, **facts)
    _alerts.send(name, facts)


def make_webhook_sender(url: str) -> SendAlert:
    """Return a function that sends one alert to `url` by POST as JSON. Chat services show its JSON member `text`.

    The returned function waits for the response, and raises an exception if the alert is not accepted. The operator
    configures the URL, so it can be on a private network.
    """

    def send(alert: Mapping[str, Any]) -> None:
        import httpx

        facts = ", ".join(f"{name}: {value}" for name, value in alert["facts"].items())
        body = {"text": f"SyncKairos: {alert['alarm']} ({facts})", **alert}
        httpx.post(url, json=body, timeout=_TIMEOUT_S).raise_for_status()

    return send


def make_sentry_sender(dsn: str) -> SendAlert:
    """Return a function that sends one alert to Sentry. It imports the package `sentry_sdk` at its first call."""
    initialized = False

    def send(alert: Mapping[str, Any]) -> None:
        nonlocal initialized
        import sentry_sdk

        if not initialized:
            sentry_sdk.init(dsn=dsn, default_integrations=False, release=f"synckairos@{__version__}")
            initialized = True
        with sentry_sdk.new_scope() as scope:
            scope.set_context("alarm", {**alert["facts"], "more_before": alert.get("more_before", 0)})
            scope.fingerprint = ["synckairos", alert["alarm"]]
            scope.capture_message(f"SyncKairos: {alert['alarm']}", level="error")
        sentry_sdk.flush(_TIMEOUT_S)

    return send
