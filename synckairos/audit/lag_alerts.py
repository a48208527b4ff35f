"""Says aloud when the audit falls behind or its backlog fills up, once a threshold, and when that is over."""

from synckairos.audit import metrics
from synckairos.store.outbox import Backlog
from synckairos.telemetry import log

THRESHOLDS_S = (10, 60, 300, 1800)
"""Ages of the oldest entry, in seconds, each of which is announced once on the way up."""

FULLNESS = (0.5, 0.8, 1.0)
"""Parts of what may wait at all, each of which is announced once on the way up; at 1 changes are refused."""

logger = log.get_logger(__name__)


class LagAlerts:
    """Remembers which threshold was announced last."""

    def __init__(self) -> None:
        self._announced = 0
        self._filled = 0
        self._set_aside = 0

    def observe(self, backlog: Backlog) -> None:
        """Publish a measured backlog, and log what changed for the worse or is good again."""
        metrics.publish_backlog(backlog)
        age_s = backlog.oldest_age_ms / 1000
        reached = sum(age_s >= threshold for threshold in THRESHOLDS_S)
        if reached > self._announced:
            logger.warning("audit lags", entries=backlog.entries, oldest_age_s=round(age_s, 1))
            self._announced = reached
        elif not reached and self._announced:
            logger.info("audit has caught up", entries=backlog.entries)
            self._announced = 0
        self._observe_fullness(backlog)
        if backlog.set_aside > self._set_aside:
            logger.error("audit entries wait for somebody: see `synckairos audit failed`", entries=backlog.set_aside)
        self._set_aside = backlog.set_aside

    def _observe_fullness(self, backlog: Backlog) -> None:
        told = {"entries": backlog.entries, "bytes": backlog.bytes, "fullness": round(backlog.fullness, 2)}
        filled = sum(backlog.fullness >= part for part in FULLNESS)
        if filled == len(FULLNESS) > self._filled:
            logger.error("audit backlog is full, changes are refused", **told)
        elif filled > self._filled:
            logger.warning("audit backlog fills up, when it is full changes are refused", **told)
        elif not filled and self._filled:
            logger.info("audit backlog has room again", **told)
        if filled > self._filled or not filled:
            self._filled = filled
