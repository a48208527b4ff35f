"""Log lines about an unavailable store: one at the start, at most one per minute during the outage, one at the end.

Several connections and loops of a process detect the same outage, and each tries again several times a second. They
report to one `StoreOutage`, so that the log has one line for all of them.
"""

import time
from collections.abc import Callable

from synckairos.telemetry import log
from synckairos.telemetry.metrics import STORE_UP

REPEAT_S = 60.0
"""Seconds between two log lines about an outage of one store."""

logger = log.get_logger(__name__)


class LogThrottle:
    """Limit of one log line in `quiet_s` seconds.

    It counts the log lines that are suppressed. `clock` returns seconds.
    """

    def __init__(self, quiet_s: float = REPEAT_S, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet_s = quiet_s
        self._clock = clock
        self._next_s = float("-inf")
        self._suppressed = 0

    def allow_next_line(self) -> int | None:
        """Return None if the caller must not write its log line now. Otherwise the caller must write the log line.

        In the second case the result is the number of log lines that were suppressed since the previous allowed log
        line. The number can be 0.
        """
        now_s = self._clock()
        if now_s < self._next_s:
            self._suppressed += 1
            return None
        self._next_s = now_s + self._quiet_s
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


class StoreOutage:
    """The outage of one store as this process sees it.

    The outage begins when a part of the process reports the store as unreachable. It ends when all parts that reported
    it have reported the store as reachable.
    """

    def __init__(self, store: str, setting: str, effect: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Create the log of one store's outages. `store` is the name of the store, `setting` the variable with its URL.

        `effect` is a text for the log that describes what works and what waits during an outage. `clock` returns
        seconds.
        """
        self._store = store
        self._setting = setting
        self._effect = effect
        self._clock = clock
        self._quiet = LogThrottle(clock=clock)
        self._parts: set[str] = set()
        self._began_s = 0.0
        self._is_logged = False
        self._set_up(True)

    def report_unreachable(self, part: str, cause: object) -> None:
        """Report that a part of the process cannot use the store. Write a log line, at most one per minute.

        A part can report the same outage several times. `part` is a name, under which `report_reachable` ends the
        report.
        """
        now_s = self._clock()
        if not self._parts:
            self._began_s = now_s
            self._is_logged = False
            self._set_up(False)
        self._parts.add(part)
        if self._quiet.allow_next_line() is not None:
            self._is_logged = True
            logger.warning(
                "store is unavailable",
                store=self._store,
                setting=self._setting,
                part=part,
                cause=str(cause) or type(cause).__name__,
                effect=self._effect,
                seconds=round(now_s - self._began_s),
            )

    def report_reachable(self, part: str) -> None:
        """Report that a part of the process can use the store. Do nothing if this part has reported no outage."""
        if part not in self._parts:
            return
        self._parts.discard(part)
        if self._parts:
            return
        self._set_up(True)
        if self._is_logged:
            seconds = round(self._clock() - self._began_s)
            logger.info("store is available again", store=self._store, setting=self._setting, seconds=seconds)

    def _set_up(self, is_up: bool) -> None:
        STORE_UP.labels(self._store).set(is_up)


class SilentOutage(StoreOutage):
    """An outage whose reports do nothing. Used by commands that print their own error."""

    def __init__(self) -> None:
        super().__init__("", "", "")

    def report_unreachable(self, part: str, cause: object) -> None:
        """Do nothing."""

    def report_reachable(self, part: str) -> None:
        """Do nothing."""

    def _set_up(self, is_up: bool) -> None:
        """Do nothing. Overrides the method that sets the metric."""
