"""Log lines about the backlog of the outbox: one when it passes each threshold, one when it is below all again."""

from synckairos.audit import metrics
from synckairos.store.outbox import OutboxBacklog
from synckairos.telemetry import log

LAG_THRESHOLDS_S = (10, 60, 300, 1800)
"""Ages of the oldest outbox entry, in seconds, at which a line is logged.

Each age is logged once, until the age has fallen below all thresholds.
"""

FULLNESS_THRESHOLDS = (0.5, 0.8, 1.0)
"""Sizes of the outbox, as fractions of its limit, at which a line is logged. At 1 commands are refused."""

logger = log.get_logger(__name__)


class BacklogLog:
    """Logs changes of the outbox backlog.

    Keeps the highest threshold that was logged, until the backlog is below all.
    """

    def __init__(self) -> None:
        self._lag_thresholds_passed = 0
        self._fullness_thresholds_passed = 0
        self._set_aside = 0

    def report_backlog(self, backlog: OutboxBacklog) -> None:
        """Publish a measured backlog as metrics, and log changes since the previous call.

        Logs a line if the backlog passed a higher threshold, if it fell below all thresholds, or if the number of
        entries that are set aside grew.
        """
        metrics.set_backlog_gauges(backlog)
        age_s = backlog.oldest_age_ms / 1000
        passed = sum(age_s >= threshold for threshold in LAG_THRESHOLDS_S)
        if passed > self._lag_thresholds_passed:
            logger.warning("audit lags", entries=backlog.entries, oldest_age_s=round(age_s, 1))
            self._lag_thresholds_passed = passed
        elif not passed and self._lag_thresholds_passed:
            logger.info("audit has caught up", entries=backlog.entries)
            self._lag_thresholds_passed = 0
        self._observe_fullness(backlog)
        if backlog.set_aside > self._set_aside:
            logger.error("audit entries need an operator: see `synckairos audit failed`", entries=backlog.set_aside)
        self._set_aside = backlog.set_aside

    def _observe_fullness(self, backlog: OutboxBacklog) -> None:
        fields = {"entries": backlog.entries, "bytes": backlog.bytes, "fullness": round(backlog.fullness, 2)}
        passed = sum(backlog.fullness >= threshold for threshold in FULLNESS_THRESHOLDS)
        if passed == len(FULLNESS_THRESHOLDS) > self._fullness_thresholds_passed:
            logger.error("outbox is full, commands are refused", **fields)
        elif passed > self._fullness_thresholds_passed:
            logger.warning("outbox fills up, commands are refused when it is full", **fields)
        elif not passed and self._fullness_thresholds_passed:
            logger.info("outbox has room again", **fields)
        if passed > self._fullness_thresholds_passed or not passed:
            self._fullness_thresholds_passed = passed
