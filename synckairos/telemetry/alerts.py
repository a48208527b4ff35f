"""Alarms: what somebody has to look at. In the log always, and told to a webhook and to Sentry where they are named.

Never waits and never raises: an alarm is no part of what went wrong. Metrics show the same from the stores, so that a
server's `/metrics` tells of what any worker met.
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
"""Seconds in which an alarm of the same name is told once; the next one says how many there were between."""

_WAITING = 100
_TIMEOUT_S = 5.0
_FLUSH_S = 2.0

logger = log.get(__name__)

Tell = Callable[[Mapping[str, Any]], None]


class Alerts:
    """Tells whoever is named of alarms, from a thread of its own: they may be slow, or away."""

    def __init__(self, tell: Mapping[str, Tell], *, quiet_s: float = QUIET_S) -> None:
        """Take who is to be told, by name."""
        self._tell = dict(tell)
        self._quiet_s = quiet_s
        self._told_s: dict[str, float] = {}
        self._between: dict[str, int] = {}
        self._waiting: queue.Queue[Mapping[str, Any]] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def sound(self, what: str, facts: Mapping[str, Any]) -> None:
        """Have an alarm told, unless it was told of just now, or too many wait."""
        with self._lock:
            now_s = time.monotonic()
            if not self._tell:
                return
            if what in self._told_s and now_s < self._told_s[what] + self._quiet_s:
                self._between[what] = self._between.get(what, 0) + 1
                return
            self._told_s[what] = now_s
            between = self._between.pop(what, 0)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
                self._thread.start()
                atexit.register(self.flush)
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        alarm = {"alarm": what, "at": at, "host": socket.gethostname(), "facts": dict(facts)}
        try:
            self._waiting.put_nowait(alarm | ({"more_before": between} if between else {}))
        except queue.Full:
            logger.warning("alarm not told", what=what, error="too many wait")

    def flush(self, timeout_s: float = _FLUSH_S) -> None:
        """Wait until all were told of what waits, for so long at most."""
        until_s = time.monotonic() + timeout_s
        with self._waiting.all_tasks_done:
            while self._waiting.unfinished_tasks and (left_s := until_s - time.monotonic()) > 0:
                self._waiting.all_tasks_done.wait(left_s)

    def _run(self) -> None:
        while True:
            alarm = self._waiting.get()
            for name, tell in self._tell.items():
                try:
                    tell(alarm)
                except Exception as fault:  # noqa: BLE001 - whatever it is, the log has the alarm itself
                    error = f"{type(fault).__name__}: {fault}"
                    logger.warning("alarm not told", what=alarm["alarm"], whom=name, error=error)
            self._waiting.task_done()


_alarms = Alerts({})


def configure(webhook_url: str | None, sentry_dsn: str | None) -> None:
    """Name who is told from now on; nobody beside the log by default."""
    global _alarms
    tell: dict[str, Tell] = {}
    if webhook_url:
        tell["webhook"] = webhook_sender(webhook_url)
    if sentry_dsn:
        tell["sentry"] = sentry_sender(sentry_dsn)
    _alarms = Alerts(tell)


def raise_alert(what: str, **facts: Any) -> None:
    """Sound an alarm: `what` happened in a few words, always the same ones, `facts` are of this time."""
    logger.error(what, alarm=True, **facts)
    _alarms.sound(what, facts)


def webhook_sender(url: str) -> Tell:
    """Return what POSTs an alarm as JSON; `text` is what chats show.

    The URL is the operator's own, so that it may well be on a private network.
    """

    def tell(alarm: Mapping[str, Any]) -> None:
        import httpx

        facts = ", ".join(f"{name}: {value}" for name, value in alarm["facts"].items())
        body = {"text": f"SyncKairos: {alarm['alarm']} ({facts})", **alarm}
        httpx.post(url, json=body, timeout=_TIMEOUT_S).raise_for_status()

    return tell


def sentry_sender(dsn: str) -> Tell:
    """Return what sends an alarm to Sentry: by the package's extra `sentry`, which is loaded at the first one."""
    begun = False

    def tell(alarm: Mapping[str, Any]) -> None:
        nonlocal begun
        import sentry_sdk

        if not begun:
            sentry_sdk.init(dsn=dsn, default_integrations=False, release=f"synckairos@{__version__}")
            begun = True
        with sentry_sdk.new_scope() as scope:
            scope.set_context("alarm", {**alarm["facts"], "more_before": alarm.get("more_before", 0)})
            scope.fingerprint = ["synckairos", alarm["alarm"]]
            scope.capture_message(f"SyncKairos: {alarm['alarm']}", level="error")
        sentry_sdk.flush(_TIMEOUT_S)

    return tell
